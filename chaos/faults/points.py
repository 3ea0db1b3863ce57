"""The crash points: every step of a task's way, by name, and the function whose call is that step. Data only.

A test holds this table against the code: a function with an effect that is neither here nor in UNNAMED is found.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["NEVER_RETURN", "POINTS", "UNNAMED", "WRAPPER_AFTER_CLAIM", "Point", "Role"]

Role = Literal["agent", "gateway", "wrapper"]


@dataclass(frozen=True)
class Point:
    """One step. target: `module:function`, in the wrapper the function's name. only: an argument's type, or a word."""

    name: str
    role: Role
    target: str
    only: str = ""
    error: Literal["os", "database"] = "os"


def _full(package: str, target: str) -> str:
    """A target in its package, or in the runtime that both daemons share."""
    return target if target.startswith("mltm.") else f"{package}.{target}"


def _gateway(name: str, target: str, error: Literal["os", "database"] = "os") -> Point:
    return Point(f"gateway.{name}", "gateway", _full("gateway", target), error=error)


def _agent(name: str, target: str, only: str = "") -> Point:
    return Point(f"agent.{name}", "agent", _full("agent", target), only)


_GATEWAY = (
    _gateway("upload", "http.multipart:receive_parts"),
    _gateway("upload-part", "http.multipart:_append"),
    _gateway("upload-sync", "http.upload:_build_upload"),
    _gateway("upload-file-sync", "http.multipart:_sync"),
    _gateway("keep-files", "services.submissions:_keep_files"),
    _gateway("accept", "store.tasks:add_task", "database"),
    _gateway("accept-row", "store.tasks:insert_row", "database"),
    _gateway("commit", "store.database:Database._write", "database"),
    _gateway("folder-sync", "mltm.runtime.files:sync_folder"),
    _gateway("publish", "services.publisher:publish_bundle"),
    _gateway("publish-folder", "mltm.runtime.hostile_files:make_folder_at"),
    _gateway("publish-file", "mltm.runtime.hostile_files:write_new_at"),
    _gateway("publish-sync", "mltm.runtime.hostile_files:sync"),
    _gateway("publish-rename", "mltm.runtime.hostile_files:rename_at"),
    _gateway("clear", "mltm.runtime.hostile_files:remove_tree_at"),
    _gateway("published", "store.outbox:mark", "database"),
    _gateway("clear-taken", "services.publisher:remove_taken"),
    _gateway("report", "store.reports:_store_new", "database"),
    _gateway("merge", "store.reports:_merge", "database"),
    _gateway("merge-row", "store.reports:_write_row", "database"),
    _gateway("merge-attempt", "store.reports:_write_attempt", "database"),
    _gateway("merge-joined", "store.joined:save_joined", "database"),
    _gateway("history", "store.tasks:add_event", "database"),
    _gateway("cancel", "store.commands:request_cancel", "database"),
    _gateway("hold", "store.commands:request_hold", "database"),
    _gateway("command", "store.commands:add_command", "database"),
    _gateway("acknowledged", "store.commands:_close", "database"),
)

_AGENT = (
    _agent("copy", "intake.private_copy:copy_listed"),
    _agent("copy-file", "intake.private_copy:copy_file"),
    _agent("staging", "spool.staging:make_staged_task"),
    _agent("copy-control", "intake.bundles:BundleIntake._copy"),
    _agent("take", "spool.staging:publish_task"),
    _agent("take-in", "intake.bundles:BundleIntake._take"),
    _agent("complete", "intake.bundles:BundleIntake._complete"),
    _agent("active", "intake.bundles:BundleIntake._mark_active"),
    _agent("reject", "intake.bundles:BundleIntake._reject"),
    _agent("keep-manifest", "intake.bundles:BundleIntake._keep_manifest"),
    _agent("discard", "spool.staging:discard_folder"),
    _agent("intent", "spool.records:link_intent", "Submit"),
    _agent("launch-files", "job.launch:write_launch"),
    _agent("sbatch", "slurm.client:Slurm._submit_now"),
    _agent("sbatch-runs", "slurm.shell:_start", "sbatch"),
    _agent("submitted", "spool.records:write_submitted"),
    _agent("program", "slurm.client:Slurm._run"),
    _agent("note", "spool.records:link_note"),
    _agent("fence", "spool.records:link_fence"),
    _agent("scancel", "slurm.client:Slurm.cancel"),
    _agent("leftover", "spool.leftovers:note_leftover"),
    _agent("leftover-gone", "spool.leftovers:forget_leftover"),
    _agent("squeue", "slurm.client:Slurm.list_jobs"),
    _agent("close", "spool.records:link_intent", "Closed"),
    _agent("report", "spool.outbox:Outbox.put"),
    _agent("report-file", "spool.outbox:Outbox._write"),
    _agent("report-set-aside", "spool.outbox:Outbox._set_aside"),
    _agent("report-sent", "spool.outbox:Outbox.remove"),
    _agent("receipt", "spool.receipts:update_receipt"),
    _agent("observation", "spool.observations:save_observation"),
    _agent("tombstone", "spool.tombstones:write_tombstone"),
    _agent("retire", "spool.tombstones:deactivate_task"),
    _agent("forget", "spool.observations:forget_observation"),
    _agent("amend", "spool.records:link_amended"),
    _agent("bell", "daemon.bells:silence_bells"),
    _agent("control", "spool.commands:_make_control"),
    _agent("cancel", "spool.commands:record_command"),
    _agent("acknowledge", "uplink.command_poller:CommandPoller._acknowledge"),
    _agent("drop-take", "intake.drops:DropIntake._take"),
    _agent("drop-finish", "intake.drop_task:TakenDrops.make_task"),
    _agent("drop-control", "intake.drop_task:TakenDrops._write_control"),
    _agent("drop-script", "intake.drop_script:take_script_out"),
    _agent("drop-clean", "intake.drop_task:TakenDrops.clean_up"),
    _agent("drop-removal", "intake.drop_task:_remove_copied"),
    _agent("start", "spool.setup:prepare_spool"),
    _agent("epoch", "spool.setup:_take_epoch"),
    _agent("file-write", "mltm.runtime.files:_write_private"),
    _agent("file-link", "mltm.runtime.files:link_once"),
    _agent("file-replace", "mltm.runtime.files:replace"),
    _agent("file-move", "mltm.runtime.files:move"),
    _agent("file-remove", "mltm.runtime.files:remove"),
    _agent("folder", "mltm.runtime.files:make_folder"),
    _agent("folder-sync", "mltm.runtime.files:sync_folder"),
)

_BEFORE_CLAIM = (
    "read_arguments", "read_identity", "check_log", "read_lists", "check_paths", "reserve_record", "check_note",
)  # fmt: skip
_AFTER_CLAIM = (
    "take_claim", "link_record", "decide_claim", "start_log", "start_beat", "start_code", "wait_for_code", "end_log",
    "render_exit", "put_exit", "ring_bell", "finish", "leave",
)  # fmt: skip

WRAPPER_AFTER_CLAIM = frozenset(f"wrapper.{name}" for name in _AFTER_CLAIM)
_WRAPPER = tuple(Point(f"wrapper.{name}", "wrapper", name) for name in (*_BEFORE_CLAIM, *_AFTER_CLAIM))

POINTS: tuple[Point, ...] = (*_GATEWAY, *_AGENT, *_WRAPPER)
NEVER_RETURN = frozenset({"wrapper.finish", "wrapper.leave"})

#: Functions with an effect that is no step of a task's way, and why; whole modules only if there is no task.
UNNAMED: dict[str, str] = {
    "agent.uplink.credential": "Enrolment, before there are tasks.",
    "agent.intake.drop_script:_give_back": "Part of agent.drop-script.",
    "agent.intake.drops:DropIntake._continue": "It calls agent.drop-finish and agent.drop-clean.",
    "mltm.runtime.files:make_own_folder": "Part of agent.launch-files, where tasks run in containers.",
    "agent.uplink.client:_request": "A request's effect is at the gateway, whose points stand on the other side.",
    "agent.check.measurements": "What `mltm-agent check` tries on a spool; no task is touched.",
    "agent.check.node_race": "What `mltm-agent check` tries on a spool; no task is touched.",
    "agent.tasks.effects:Effects._close": "It calls agent.close.",
    "agent.tasks.effects:Effects._fence": "It calls agent.leftover and agent.fence.",
    "agent.tasks.effects:Effects._open": "It calls agent.intent.",
    "agent.tasks.effects:Effects.perform_action": "It calls the step of each action.",
    "agent.tasks.sbatch_calls:record_answer": "It calls agent.submitted.",
    "agent.spool.receipts:_write_receipt": "Part of agent.receipt.",
    "agent.slurm.shell:_signal_group": "It ends a command of Slurm's that was given up (the scenario `ambiguous`).",
    "agent.spool.gateway_binding": "Enrolment, before there are tasks.",
    "agent.spool.setup:_prepare_folder": "Part of agent.start, killed before and after.",
    "agent.spool.setup:_read_spool_id": "Part of agent.start.",
    "agent.spool.staging:sweep_staging": "Part of agent.start.",
    "agent.daemon.bells:_remove_stranger": "It removes what is not a bell.",
    "agent.daemon.watcher:hears_inotify": "A trial at the start, with a file of its own.",
    "gateway.security_log:_LogFile._write": "The security log: no task depends on it, and no request waits for it.",
    "gateway.private_files:create_private_file": "An empty file in staging; gateway.upload-part strikes after it.",
    "gateway.private_files:make_private_file": "The gateway's start.",
    "gateway.private_files:make_private_folder": "The gateway's start.",
    "gateway.services.inbox_folder:_make": "Administration: `mltm-gateway spool make`.",
    "gateway.store.agents:move_agent": "Administration.",
    "agent.spool.inbox:_make": "Part of agent.start.",
    "agent.spool.spool_key:write_spool_key": "Enrolment, before there are tasks.",
    "agent.intake.bundle_proof:BundleProof._check_owner": "Part of agent.copy-control, for a spool without a key only.",
    "gateway.app:_remove_leftovers": "At the gateway's start; it only removes what no row knows.",
    "gateway.services.publisher:_carry_out": "It calls gateway.publish and gateway.clear-taken.",
    "gateway.services.piece_files": "Bytes of logs and outputs, fetched again when they are gone.",
    "gateway.serve:_lock": "The gateway's start.",
    "gateway.store.agents:_use_code": "Enrolment.",
    "gateway.store.agents:add_code": "Enrolment.",
    "gateway.store.agents:enrol": "Enrolment.",
    "gateway.store.agents:save_heartbeat": "A heartbeat; the next one replaces it.",
    "gateway.store.agents:revoke_agent": "Administration.",
    "gateway.store.agents:touch": "A heartbeat; the next one replaces it.",
    "gateway.store.cache": "Bytes of logs and outputs, fetched again when they are gone.",
    "gateway.store.commands:_take_back": "Part of gateway.acknowledged, in the same transaction.",
    "gateway.store.commands:add_question": "It calls gateway.command.",
    "gateway.store.commands:_remove_expired": "Questions that nobody waits for; they decide nothing.",
    "gateway.store.migrate": "Migrations.",
    "gateway.store.users": "Administration.",
    "gateway.store.outbox:set_aside": "A damaged row; a person repairs it.",
    "gateway.store.outbox:try_damaged_again": "A damaged row; it is only made due again.",
    "gateway.store.reports:_refuse": "It calls gateway.accept-row, within gateway.report.",
    "wrapper:keep_log": "The log decides nothing; the wrapper lives on without it.",
    "wrapper:refuse": "Advice, then wrapper.leave.",
    "wrapper:remove_temporary": "After the exit record, where tasks run in containers; what stays decides nothing.",
    "wrapper:run_code": "From there on it is the user's process; killing that is a fault of its own.",
    "wrapper:step_aside": "Advice, then wrapper.leave.",
    "wrapper:touch_beat": "Advice; without it the agent waits until it stands still.",
    "wrapper:write_advice": "Advice, put in place by wrapper.link_record.",
}
