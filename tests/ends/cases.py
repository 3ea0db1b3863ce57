"""The table: every end of a job, what brings it about, and what its user is shown."""

import signal

from tests.ends import plays
from tests.ends.stage import Case

__all__ = ["ACCOUNTED_CASES", "CASES", "PENDING_PARTITIONS"]

WAIT = "while not told_to_go(): time.sleep(0.1)\nmark('end')"
SLEEP = "time.sleep(300)"
SAVE = f"signal.signal(15, lambda *_: (mark('saved'), sys.exit(0)))\n{SLEEP}"
IGNORE = f"signal.signal(15, signal.SIG_IGN)\n{SLEEP}"
EAT = f"eaten = bytearray(500 << 20)\n{SLEEP}"
ONE_MINUTE = {"time_limit": "1"}
BEFORE, TIME_UP = "It was cancelled before it started", "reached its time limit"
TERM, KILL = "ended by signal 15", "ended by signal 9"

CASES = (
    Case("exit 0", "mark('end')", "succeeded", "^$", "start end", plays.undisturbed),
    Case("exit 7", "sys.exit(7)", "failed", "exit code 7", "start", plays.undisturbed),
    Case("kills itself", "os.kill(os.getpid(), 9)", "failed", KILL, "start", plays.undisturbed),
    Case("ends itself by TERM", "os.kill(os.getpid(), 15)", "failed", TERM, "start", plays.undisturbed),
    Case("killed from outside", SLEEP, "failed", KILL, "start", plays.killed_from_outside(signal.SIGKILL)),
    Case("TERM from outside", SLEEP, "failed", TERM, "start", plays.killed_from_outside(signal.SIGTERM)),
    Case("time limit", SLEEP, "timeout", TIME_UP, "start", plays.undisturbed, resources=ONE_MINUTE),
    Case("time limit, caught", SAVE, "timeout", TIME_UP, "start saved", plays.undisturbed, resources=ONE_MINUTE),
    Case("over memory", EAT, "failed", "more memory than it asked for", "start", plays.undisturbed),
    Case("cancelled pending", WAIT, "cancelled", BEFORE, "", plays.cancelled_pending, partition="down"),
    Case("cancelled", SLEEP, "cancelled", "It was cancelled.", "start", plays.cancelled_running),
    Case("cancelled, caught", SAVE, "cancelled", "It was cancelled.", "start saved", plays.cancelled_running),
    Case("cancelled, ignored", IGNORE, "cancelled", "It was cancelled.", "start", plays.cancelled_running),
    Case(
        "scancel pending", WAIT, "cancelled", "Its job was cancelled in Slurm before it started: by somebody", "",
        plays.by_scancel(while_in="PENDING"), partition="down",
    ),
    Case("scancel", SLEEP, "cancelled", "It was cancelled.", "start", plays.by_scancel()),
    Case("scancel, caught", SAVE, "cancelled", "It was cancelled.", "start saved", plays.by_scancel()),
    Case("scancel -f TERM", SLEEP, "failed", TERM, "start", plays.by_scancel("-f", "--signal=TERM")),
    Case("scancel -f TERM, caught", SAVE, "failed", TERM, "start saved", plays.by_scancel("-f", "--signal=TERM")),
    Case("scancel -f KILL", SLEEP, "cancelled", "It was cancelled.", "start", plays.by_scancel("-f", "--signal=KILL")),
    Case("suspended", WAIT, "succeeded", "^$", "start end", plays.suspended),
    Case("requeue refused", WAIT, "succeeded", "^$", "start end", plays.requeue_refused),
    Case("requeued", SLEEP, "failed", TERM, "start", plays.requeued),
    Case("requeued, caught", SAVE, "failed", TERM, "start saved", plays.requeued),
    Case("requeued and held", SLEEP, "failed", TERM, "start", plays.requeued_and_held),
    Case(
        "held by scontrol", "mark('end')", "succeeded", "^$", "start end", plays.held_by_scontrol,
        ("attention: .*Slurm's reason: JobHeldAdmin",), partition="held",
    ),
    Case(
        "held by us", "mark('end')", "succeeded", "^$", "start end", plays.held_by_us,
        ("held: Held; release it to let it start",), partition="refusing",
    ),
    Case(
        "partition down", "mark('end')", "succeeded", "^$", "start end", plays.partition_comes_back("PartitionDown"),
        ("pending waiting_for_slurm: .*Slurm's reason: PartitionDown",), partition="closed",
    ),
    Case(
        "longer than the partition allows", WAIT, "cancelled", BEFORE, "",
        plays.cancelled_when_told("PartitionTimeLimit"),
        ("pending attention: .*ask for less. Slurm's reason: PartitionTimeLimit",), partition="short",
        resources={"time_limit": "2"},
    ),
    Case(
        "more nodes than the partition has", WAIT, "cancelled", BEFORE, "",
        plays.cancelled_when_told("PartitionNodeLimit"),
        ("pending attention: .*Slurm's reason: PartitionNodeLimit",), partition="short", resources={"nodes": 2},
    ),
    Case(
        "partition inactive", "mark('end')", "succeeded", "^$", "start end", plays.partition_comes_back("inactive"),
        ("submitting waiting_for_slurm: Slurm does not take jobs now: .*inactive or drain",), partition="inactive",
    ),
    Case(
        "slurmd killed, job alive", WAIT, "succeeded", "^$", "start end", plays.slurmd_killed, partition="cut",
    ),
    Case(
        "node lost, job alive", WAIT, "succeeded", "^$", "start end", plays.node_lost_with_job_alive,
        ("finishing",), partition="cut",
    ),
    Case("node taken down", SLEEP, "node_fail", "Its node failed", "start", plays.node_taken_down, partition="dead"),
    Case("node dead", SLEEP, "node_fail", "Its node failed", "start", plays.node_dead, partition="dead"),
    Case(
        "forgotten while it ran", SLEEP, "lost|cancelled", "left no exit record|^It was cancelled.$", "start",
        plays.forgotten_while_it_ran, partition="gpu",
    ),
    Case("started twice", WAIT, "succeeded", "^$", "start end", plays.started_twice, partition="cpu"),
)  # fmt: skip
LIMIT = "submitting waiting_for_limit: A limit of the site is reached: "
ACCOUNTED_CASES = (
    Case(
        "QOS submit limit", WAIT, "succeeded", "^$", "start end", plays.limit_is_freed,
        (f"{LIMIT}QOSMaxSubmitJobPerUserLimit",), resources={"qos": "tight"},
    ),
    Case(
        "association's submit limit", WAIT, "succeeded", "^$", "start end", plays.limit_is_freed,
        (f"{LIMIT}AssocMaxSubmitJobLimit",), account="small",
    ),
    Case(
        "QOS run limit", WAIT, "succeeded", "^$", "start end", plays.limit_is_freed,
        ("pending waiting_for_limit: .*Slurm's reason: QOSMaxJobsPerUserLimit",),
        resources={"qos": "single"},
    ),
)  # fmt: skip
# Each with the state that it begins in.
PENDING_PARTITIONS = {
    "down": "DOWN", "held": "DOWN", "closed": "DOWN", "refusing": "INACTIVE", "inactive": "INACTIVE",
}  # fmt: skip
