from pathlib import Path

from gateway.settings import GatewaySettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gateway.md"


def test_every_field_of_the_config_stands_in_the_docs() -> None:
    page = PAGE.read_text()

    assert [name for name in GatewaySettings.model_fields if f"`{name}`" not in page] == []
