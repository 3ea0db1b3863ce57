"""The scenarios by name, in the order of the table."""

from collections.abc import Mapping

from attack.scenarios import acknowledged_path, foreign_ids, swaps
from attack.trial import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: Mapping[str, Scenario] = {
    "acknowledged-path": acknowledged_path.SCENARIO,
    "foreign-ids": foreign_ids.SCENARIO,
    **swaps.SCENARIOS,
}
