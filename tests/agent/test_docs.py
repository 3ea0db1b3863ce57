from pathlib import Path

import pytest
from pydantic import BaseModel

from agent.settings import AgentSettings, InstanceType, Policy, SlurmSettings, Waits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agent.md"


@pytest.mark.parametrize("shape", [AgentSettings, InstanceType, Policy, SlurmSettings, Waits])
def test_every_field_of_the_config_stands_in_the_docs(shape: type[BaseModel]) -> None:
    page = PAGE.read_text()
    sections = {"policy", "slurm", "waits"}

    missing = [name for name in shape.model_fields if name not in sections and f"`{name}`" not in page]

    assert missing == []


def test_the_waits_in_the_docs_are_the_real_ones() -> None:
    page = " ".join(PAGE.read_text().split())

    wrong = [n for n, field in Waits.model_fields.items() if f"`{n}` {field.default}" not in page]

    assert wrong == []
