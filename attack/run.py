"""The scenarios by name, in the order of the table."""

from collections.abc import Mapping

from attack.scenarios import (
    acknowledged_path,
    adoption,
    bind_sources,
    bombs,
    bundle_forgery,
    fetched_addresses,
    foreign_agents,
    foreign_ids,
    full_disk,
    hostile_reports,
    log_lines,
    login_flood,
    login_guesses,
    long_names,
    markup,
    moved_address,
    paths,
    planted_names,
    removed_user,
    replayed_reports,
    sbatch_options,
    shared_folders,
    shown_secrets,
    slow_clients,
    swaps,
    worst_batches,
)
from attack.trial import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: Mapping[str, Scenario] = {
    "acknowledged-path": acknowledged_path.SCENARIO,
    "planted-names": planted_names.SCENARIO,
    "bind-sources": bind_sources.SCENARIO,
    "hostile-reports": hostile_reports.SCENARIO,
    "paths": paths.SCENARIO,
    "adoption": adoption.SCENARIO,
    "sbatch-options": sbatch_options.SCENARIO,
    "bombs": bombs.SCENARIO,
    "shown-secrets": shown_secrets.SCENARIO,
    "fetched-addresses": fetched_addresses.SCENARIO,
    "markup": markup.SCENARIO,
    "foreign-agents": foreign_agents.SCENARIO,
    "replayed-reports": replayed_reports.SCENARIO,
    "log-lines": log_lines.SCENARIO,
    "foreign-ids": foreign_ids.SCENARIO,
    "bundle-forgery": bundle_forgery.SCENARIO,
    "login-guesses": login_guesses.SCENARIO,
    "login-flood": login_flood.SCENARIO,
    "shared-folders": shared_folders.SCENARIO,
    "moved-address": moved_address.SCENARIO,
    "removed-user": removed_user.SCENARIO,
    "slow-clients": slow_clients.SCENARIO,
    "full-disk": full_disk.SCENARIO,
    "long-names": long_names.SCENARIO,
    "worst-batches": worst_batches.SCENARIO,
    **swaps.SCENARIOS,
}
