"""An agent reports what no honest one says, so that lists and pages fail for everybody, for good."""

import json
from collections.abc import Iterator

from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_HUGE: tuple[object, ...] = (
    "9" * 5000, "-1", 10**30, -(10**30), 2**63, 1e308, float("nan"), float("inf"), "", " ", "\u0000", "\ud800",
    "x" * 2_000_000,
    [], {}, [[[]]], None, True, "1_0", "٣", "1e5", "0x10", "+1", "7_1", "7+0", "[1-3]", "'; DROP TABLE task; --",
    "<script>", "\x1b[2J", "9999-99-99T99:99:99Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
)  # fmt: skip
_FIELDS = (
    "job_id", "state", "attempt", "exit_code", "signal", "elapsed_s", "node", "slurm_state", "message", "words",
    "started_at", "ended_at", "at", "note", "evidence", "closed", "taken", "manifest", "epoch", "seq", "task_id",
)  # fmt: skip


def run(trial: Trial) -> None:
    """Report; then an administrator and the owner look at everything."""
    with open_house(trial) as house:
        agent, task_id = house.forge_agents("ann")["ann"], house.submit("ann")
        agent.report(task_id, "running", job_id="4711")
        cases = [("job_id", value) for value in _HUGE] + [(f, v) for f in _FIELDS for v in _HUGE if f != "job_id"]
        rest = cases[len(_HUGE) :]
        trial.rng.shuffle(rest)
        for number in range(trial.tries):
            field, value = (cases[: len(_HUGE)] + rest)[number % len(cases)]
            wrong = [*_send(agent, task_id, field, value), *_look(house, task_id)]
            trial.tally.count(f"after {field} = {str(value)[:40]!a}: {wrong[0]}" if wrong else "")


def _send(agent: ForgedAgent, task_id: str, field: str, value: object) -> Iterator[str]:
    report = agent.build_report(task_id, "running", **{field: value})
    body = json.dumps({"reports": [report]}).encode("utf-8", "surrogatepass")
    answer = agent.ask("POST", "/v1/agent/reports", data=body, headers={"Content-Type": "application/json"})
    if answer.status_code >= 500:
        yield f"the report was answered {answer.status_code}"


def _look(house: House, task_id: str) -> Iterator[str]:
    for user, path in (
        ("eve", "/v1/tasks"), ("eve", "/tasks"), ("ann", "/v1/tasks"), ("ann", f"/v1/tasks/{task_id}"),
        ("ann", f"/job_status/{task_id}"),
    ):  # fmt: skip
        status = house.ask(user, "GET", path).status_code
        if status != 200:
            yield f"GET {path} of {user} was answered {status}"


def take_guard_out() -> None:
    """A contract without a pattern for job ids, and lists that one damaged row fails."""
    from mltm.contract import limits

    replace(limits, "JobIdText", str)  # before a model is built with it

    from gateway.store import answers

    replace(answers, "_build_any", answers._build)
    replace(answers, "render_job_id", lambda text: int(text) if text and text.isdigit() else text)


SCENARIO = Scenario(
    threats="1.5",
    tries_to="report what breaks everybody's lists and pages",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(_HUGE) * len(_FIELDS),
    control_tries=3,
)
