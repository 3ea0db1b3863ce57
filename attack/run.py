"""The scenarios by name, in the order of the table."""

from collections.abc import Mapping

from attack.scenarios import (
    acknowledged_path,
    adoption,
    foreign_agents,
    foreign_ids,
    hostile_reports,
    paths,
    planted_names,
    replayed_reports,
    swaps,
)
from attack.trial import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: Mapping[str, Scenario] = {
    "acknowledged-path": acknowledged_path.SCENARIO,
    "planted-names": planted_names.SCENARIO,
    "hostile-reports": hostile_reports.SCENARIO,
    "paths": paths.SCENARIO,
    "adoption": adoption.SCENARIO,
    "foreign-agents": foreign_agents.SCENARIO,
    "replayed-reports": replayed_reports.SCENARIO,
    "foreign-ids": foreign_ids.SCENARIO,
    **swaps.SCENARIOS,
}
