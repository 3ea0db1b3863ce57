from pathlib import Path

import pytest
from pydantic import BaseModel

from mltm.contract.parse_config import parse_config
from mltm.contract.task_config import InfraConfig, Resources, TaskConfig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "task-config.md"


@pytest.mark.parametrize("shape", [TaskConfig, InfraConfig, Resources])
def test_every_field_of_a_tasks_config_stands_in_the_docs(shape: type[BaseModel]) -> None:
    page = PAGE.read_text()

    assert [name for name in shape.model_fields if f"`{name}`" not in page] == []


def test_the_example_in_the_docs_is_taken() -> None:
    text = PAGE.read_text()
    example = text[text.rindex("\n    {") :]

    assert parse_config(example.encode()).rerun_limit == 2
