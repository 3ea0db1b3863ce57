"""What is done to the task of a case, and when: each is a generator that yields what it waits for."""

from collections.abc import Iterator

from lab.slurm.controls import freeze, kill_slurmctld, kill_slurmd, resume_node, set_node_down, start_slurmd, thaw
from lab.slurm.daemons import start_slurmctld
from tests.ends.stage import BEAT_STILL_S, Condition, Play, Stage, lasting

Steps = Iterator[Condition]
LAST = frozenset({"forgotten while it ran", "started twice"})


def undisturbed(stage: Stage) -> Steps:
    stage.hand_in()
    yield stage.has_ended()


def killed_from_outside(number: int) -> Play:
    def play(stage: Stage) -> Steps:
        stage.hand_in()
        yield stage.has_started()
        stage.signal_code(number)

    return play


def cancelled_pending(stage: Stage) -> Steps:
    stage.hand_in()
    yield stage.is_in_slurm("PENDING")
    stage.ask("cancel")
    yield lambda: not stage.list_jobs()


def cancelled_running(stage: Stage) -> Steps:
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    stage.ask("cancel")


def by_scancel(*options: str, while_in: str = "RUNNING") -> Play:
    def play(stage: Stage) -> Steps:
        stage.hand_in()
        if while_in == "RUNNING":
            yield stage.has_started()
        yield stage.is_in_slurm(while_in)
        stage.slurm("scancel", *options, stage.job_id)

    return play


def suspended(stage: Stage) -> Steps:
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    stage.slurm("scontrol", "suspend", stage.job_id)
    yield stage.is_told("paused: Slurm has suspended the job.")
    stage.slurm("scontrol", "resume", stage.job_id)
    stage.go()


def requeue_refused(stage: Stage) -> Steps:
    """Our jobs are submitted with --no-requeue."""
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    assert "disabled" in stage.slurm("scontrol", "requeue", stage.job_id, may_fail=True)
    stage.go()


def requeued(stage: Stage) -> Steps:
    """An admin insists; the second start then waits two minutes, for the old credential, unless it is hurried."""
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    stage.slurm("scontrol", "update", f"jobid={stage.job_id}", "requeue=1")
    stage.slurm("scontrol", "requeue", stage.job_id)

    def has_started_again() -> bool:
        stage.slurm("scontrol", "update", f"jobid={stage.job_id}", "starttime=now", may_fail=True)
        return bool(list(stage.control.glob("dup.01.*"))) or bool(stage.task.row["final"])

    yield has_started_again


def requeued_and_held(stage: Stage) -> Steps:
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    stage.slurm("scontrol", "update", f"jobid={stage.job_id}", "requeue=1")
    stage.slurm("scontrol", "requeuehold", stage.job_id)
    yield stage.has_ended()


def held_by_scontrol(stage: Stage) -> Steps:
    stage.hand_in()
    yield stage.is_in_slurm("PENDING")
    stage.slurm("scontrol", "hold", stage.job_id)
    stage.set_partition("up")
    yield stage.is_told("JobHeldAdmin")
    assert not stage.read_marks()
    stage.slurm("scontrol", "release", stage.job_id)


def held_by_us(stage: Stage) -> Steps:
    """Held while Slurm refuses it: once Slurm would take it, it is not handed over before the release."""
    stage.hand_in()
    yield stage.is_told("Slurm does not take jobs now")
    stage.ask("hold")
    yield stage.is_told("held: Held; release it to let it start.")
    stage.set_partition("up")
    yield lasting(8)
    assert not stage.job_id, "it was handed to Slurm while it was held"
    stage.ask("release")


def partition_comes_back(message: str) -> Play:
    def play(stage: Stage) -> Steps:
        stage.hand_in()
        yield stage.is_told(message)
        stage.set_partition("up")

    return play


def cancelled_when_told(message: str) -> Play:
    """What never starts by itself: its user reads why, and cancels it."""

    def play(stage: Stage) -> Steps:
        stage.hand_in()
        yield stage.is_told(message)
        stage.ask("cancel")
        yield lambda: not stage.list_jobs()

    return play


def limit_is_freed(stage: Stage) -> Steps:
    """Another task of the same user is all that the limit allows."""
    other = stage.hand_in()
    yield stage.has_started(other)
    mine = stage.hand_in()
    yield stage.is_told("Limit", mine)
    assert not stage.read_marks(mine)
    stage.go(mine)
    stage.go(other)
    yield stage.has_ended(other)


def slurmd_killed(stage: Stage) -> Steps:
    """The job outlives its node's slurmd."""
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    yield stage.among["node lost, job alive"].has_started()
    kill_slurmd(stage.lab, "n2")
    stage.go()


def node_lost_with_job_alive(stage: Stage) -> Steps:
    """Slurm says NODE_FAIL of a job that is alive: while it beats, nothing is said of its end."""
    stage.hand_in()
    yield stage.among["slurmd killed, job alive"].is_over
    set_node_down(stage.lab, "n2")
    yield stage.is_in_slurm("NODE_FAIL")
    yield stage.is_told("finishing")
    yield lasting(BEAT_STILL_S + 5)
    stage.go()
    yield stage.has_ended()
    start_slurmd(stage.lab, "n2")


def node_taken_down(stage: Stage) -> Steps:
    """An admin does it while slurmd is well, so that Slurm ends the job."""
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    set_node_down(stage.lab, "n3")
    yield stage.has_ended()
    resume_node(stage.lab, "n3")


def node_dead(stage: Stage) -> Steps:
    yield stage.among["node taken down"].is_over
    stage.hand_in()
    yield stage.has_started()
    yield stage.is_in_slurm("RUNNING")
    kill_slurmd(stage.lab, "n3", with_jobs=True)
    set_node_down(stage.lab, "n3")
    yield stage.has_ended()
    start_slurmd(stage.lab, "n3")


def forgotten_while_it_ran(stage: Stage) -> Steps:
    """Slurm then kills the one copy, and a second one is refused by its node.

    Where the first one is dead by then, Slurm says FAILED; where it is not, its node cancels the job (22.05 to 26.05).
    """
    yield lambda: _are_over(stage)
    stage.set_partition("down")
    stage.hand_in()
    yield stage.has_ended()


def started_twice(stage: Stage) -> Steps:
    """slurmctld is killed before it has saved that two jobs run.

    The last play, because all is forgotten that was set at run time. The first copy's node does not register before
    the second one runs elsewhere, otherwise it is killed.
    """
    forgotten = stage.among["forgotten while it ran"]
    yield lambda: _are_over(stage)
    stage.slurm("scontrol", "update", "partitionname=cpu", "nodes=n2", "state=down")
    stage.hand_in()
    yield lambda: forgotten.tasks
    saved = stage.lab.dir / "state" / "job_state"
    names = [f"mltm-{each.task.task_id}-a01".encode() for each in (stage, forgotten)]
    yield lambda: all(name in saved.read_bytes() for name in names)
    while_pending = saved.read_bytes()
    for last in (stage, forgotten):
        last.set_partition("up")
    yield lambda: all(each.read_marks() for each in (stage, forgotten))
    kill_slurmctld(stage.lab)
    saved.write_bytes(while_pending)
    freeze(stage.lab, "slurmd-n2")
    start_slurmctld(stage.lab)  # slurm.conf says that the partitions are up, and have all nodes
    yield lambda: list(stage.control.glob("dup.01.*"))
    stage.go()
    yield stage.has_ended()
    thaw(stage.lab, "slurmd-n2")


def _are_over(stage: Stage) -> bool:
    return all(other.is_over() for name, other in stage.among.items() if name not in LAST)
