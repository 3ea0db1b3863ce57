"""The scenarios by name, in the order of the table."""

from collections.abc import Mapping

from attack.scenarios.agents import (
    acknowledged_path,
    adoption,
    foreign_agents,
    hostile_reports,
    long_names,
    many_ranges,
    moved_address,
    replayed_reports,
    shared_agent,
    worst_batches,
)
from attack.scenarios.folders import (
    another_uid,
    bind_sources,
    bundle_forgery,
    container,
    file_modes,
    linked_outputs,
    opened_inbox,
    planted_names,
    shared_folders,
    swaps,
)
from attack.scenarios.load import (
    brimful_disk,
    full_disk,
    login_flood,
    slow_clients,
)
from attack.scenarios.requests import (
    bombs,
    browser,
    fetched_addresses,
    foreign_ids,
    log_lines,
    login_guesses,
    markup,
    odd_requests,
    paths,
    plain_addresses,
    removed_user,
    sbatch_options,
    shown_secrets,
)
from attack.trial import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: Mapping[str, Scenario] = {
    "acknowledged-path": acknowledged_path.SCENARIO,
    "planted-names": planted_names.SCENARIO,
    "bind-sources": bind_sources.SCENARIO,
    "container": container.SCENARIO,
    "hostile-reports": hostile_reports.SCENARIO,
    "paths": paths.SCENARIO,
    "adoption": adoption.SCENARIO,
    "sbatch-options": sbatch_options.SCENARIO,
    "bombs": bombs.SCENARIO,
    "shown-secrets": shown_secrets.SCENARIO,
    "fetched-addresses": fetched_addresses.SCENARIO,
    "markup": markup.SCENARIO,
    "browser": browser.SCENARIO,
    "foreign-agents": foreign_agents.SCENARIO,
    "replayed-reports": replayed_reports.SCENARIO,
    "log-lines": log_lines.SCENARIO,
    "foreign-ids": foreign_ids.SCENARIO,
    "bundle-forgery": bundle_forgery.SCENARIO,
    "opened-inbox": opened_inbox.SCENARIO,
    "login-guesses": login_guesses.SCENARIO,
    "login-flood": login_flood.SCENARIO,
    "shared-folders": shared_folders.SCENARIO,
    "moved-address": moved_address.SCENARIO,
    **removed_user.SCENARIOS,
    "slow-clients": slow_clients.SCENARIO,
    "full-disk": full_disk.SCENARIO,
    "linked-outputs": linked_outputs.SCENARIO,
    "file-modes": file_modes.SCENARIO,
    "plain-addresses": plain_addresses.SCENARIO,
    "shared-agent": shared_agent.SCENARIO,
    "brimful-disk": brimful_disk.SCENARIO,
    "many-ranges": many_ranges.SCENARIO,
    "another-uid": another_uid.SCENARIO,
    "odd-requests": odd_requests.SCENARIO,
    "long-names": long_names.SCENARIO,
    "worst-batches": worst_batches.SCENARIO,
    **swaps.SCENARIOS,
}
