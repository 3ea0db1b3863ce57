"""The swap fuzzer: whoever owns a folder swaps what is in it, while another party works there."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attack.accounts import Account, give, make_accounts
from attack.guards import replace
from attack.product import processes
from attack.swaps.supplies import SECRET, SPOOL_ID
from attack.trial import Scenario, Trial

__all__ = ["SCENARIOS"]

_HANG_S, _CONTROL_HANG_S = 20.0, 0.1
_TASK_ID = "0" * 31 + "1"


@dataclass(frozen=True)
class _Case:
    """Who works where, and who swaps. places: below the trial's folder. outside: what links lead to, by its owner."""

    hands: str
    works: str
    swaps: str
    places: Sequence[str]
    depth: int
    outside_of: str  #: whose folder the links lead to; "root": readable for everybody
    supply: str = ""
    kept: Sequence[str] = ()
    idle_s: float = 0.0  #: whoever swaps rests so long at most, where the other party starts anew after each change
    prepare: Callable[["_Stage"], None] | None = None


@dataclass
class _Stage:
    """The folders of a trial."""

    trial: Trial
    accounts: dict[str, Account]
    spool: Path = field(init=False)
    inbox: Path = field(init=False)
    outside: Path = field(init=False)

    def __post_init__(self) -> None:
        self.spool, self.inbox = self.trial.folder / "spool", self.trial.folder / "inboxes" / "inbox"
        self.outside = self.trial.folder / "outside"

    def make(self, case: _Case) -> None:
        """Make both parties' homes, the spool, the inbox, and what the links lead to."""
        os.umask(0o022)
        for name, account in self.accounts.items():
            (self.trial.folder / name).mkdir()
            give(self.trial.folder / name, account, 0o700)
        for place in (self.spool, self.spool / "agent"):
            place.mkdir()
            give(place, self.accounts["agent"], 0o700)
        (self.spool / "agent" / "spool_id").write_text(SPOOL_ID, encoding="ascii")
        give(self.spool / "agent" / "spool_id", self.accounts["agent"], 0o600)
        self._make_inbox(case)
        if case.prepare is not None:
            case.prepare(self)
        self.make_outside(case)

    def _make_inbox(self, case: _Case) -> None:
        """The gateway's own; where it works itself, somebody else's, who shares a group with it."""
        group = self.accounts["agent"].groups[0]
        owner, mode = (
            (self.accounts["agent"], 0o2770) if case.works == "gateway" else (self.accounts["gateway"], 0o2750)
        )
        self.inbox.parent.mkdir()
        give(self.inbox.parent, owner, 0o755)
        for place in (self.inbox, self.inbox / "tmp", self.inbox / "new"):
            place.mkdir()
            give(place, owner, mode, group=group)

    def make_outside(self, case: _Case) -> None:
        """A folder with a file of each name that a party looks for."""
        keep = self.outside / "keep"
        keep.mkdir(parents=True)
        if case.outside_of != "gateway":  # the gateway's has nothing but what it looks at
            for name in ("canary", "foreign", "out.000000", "keep/canary"):
                (self.outside / name).write_bytes(SECRET)
            (self.outside / "entrypoint.py").write_bytes(b"print(1)\n")
        if case.outside_of != "root":
            for path in (self.outside, keep, *self.outside.rglob("*")):
                give(path, self.accounts[case.outside_of], 0o700)


def _make_outputs(stage: _Stage) -> None:
    """A task with outputs in a folder of its own, and a log."""
    folder = stage.spool / "tasks" / _TASK_ID
    for place in ("outputs/models/deep", "logs/a01", "control"):
        (folder / place).mkdir(parents=True)
    for name in ("outputs/models/canary", "outputs/models/deep/one", "outputs/two", "logs/a01/out.000000"):
        (folder / name).write_bytes(b"honest\n")
    for path in (stage.spool / "tasks", folder, *folder.rglob("*")):
        give(path, stage.accounts["agent"], 0o700)


def _make_drop(stage: _Stage) -> None:
    (stage.spool / "drop").mkdir()
    give(stage.spool / "drop", stage.accounts["agent"], 0o700)


_INBOX, _BUILDING, _NEW = "inboxes/inbox", "inboxes/inbox/tmp", "inboxes/inbox/new"
_TASK = f"spool/tasks/{_TASK_ID}"
_CASES = {
    "publisher": _Case(
        "attack.swaps.publishing:publish", "gateway", "agent",
        ("inboxes", _INBOX, _BUILDING, _NEW, _BUILDING), 1, "gateway",
    ),
    "address": _Case(
        "attack.swaps.publishing:write_address", "gateway", "agent", (_INBOX,), 0, "gateway", kept=("tmp", "new")
    ),
    "bundles": _Case(
        "attack.swaps.taking:take_bundles", "agent", "gateway", (_NEW,), 2, "agent", supply="put_bundles"
    ),
    "drops": _Case(
        "attack.swaps.taking:take_drops", "agent", "agent", ("spool/drop", "spool/taking"), 2, "root",
        supply="put_drops", idle_s=0.001, prepare=_make_drop,
    ),
    "outputs": _Case(
        "attack.swaps.taking:list_and_read", "agent", "agent",
        (_TASK, f"{_TASK}/outputs", f"{_TASK}/logs", f"{_TASK}/outputs/models", f"{_TASK}/logs/a01"), 0, "agent",
        kept=("control",), prepare=_make_outputs,
    ),
}  # fmt: skip


def _run(trial: Trial, case: _Case) -> None:
    accounts = make_accounts("gateway", "agent", shared=[("gateway", "agent")])
    stage = _Stage(trial, accounts)
    stage.make(case)
    home, log = trial.folder / case.works, trial.folder / "processes.log"
    works = {
        "home": str(home), "spool": str(stage.spool), "inbox": str(stage.inbox), "outside": str(stage.outside),
        "task_id": _TASK_ID, "hang_s": _CONTROL_HANG_S if trial.guard else _HANG_S,
    }  # fmt: skip
    told, counter = home / "told", trial.folder / case.swaps / "counter"
    hands = processes.start(
        accounts[case.works], trial.guard, ["call", case.hands, json.dumps(works)], home=home, log=log
    )
    processes.wait_until(lambda: told.exists() or hands.poll() is not None, "the hands work")
    swapper = _start_swapper(stage, case, counter, log)
    try:
        _wait(trial, swapper, hands, told)
    finally:
        processes.end(swapper)
        was_free = processes.end(hands, within_s=2 * _HANG_S)
    _judge(trial, told, counter, was_free=was_free)


def _start_swapper(stage: _Stage, case: _Case, counter: Path, log: Path) -> subprocess.Popen[bytes]:
    home = stage.trial.folder / case.swaps
    supply = {"name": case.supply, "folder": str(stage.trial.folder / case.places[0])}
    swaps = {
        "places": [str(stage.trial.folder / place) for place in case.places], "depth": case.depth,
        "kept": list(case.kept),
        "outside_folder": str(stage.outside), "outside_file": str(stage.outside / "canary"),
        "supply": {**supply, "outside_file": str(stage.outside / "canary")} if case.supply else None,
        "idle_s": case.idle_s,
        "seed": f"{stage.trial.seed} {case.hands}", "swaps": stage.trial.tries, "counter": str(counter),
    }  # fmt: skip
    words = ["call", "attack.swaps.swapper:run", json.dumps(swaps)]
    return processes.start(stage.accounts[case.swaps], "", words, home=home, log=log)


def _wait(trial: Trial, swapper: subprocess.Popen[bytes], hands: subprocess.Popen[bytes], told: Path) -> None:
    """Until all swaps are done, or a control has succeeded often enough."""

    def is_over() -> bool:
        if hands.poll() is not None:
            raise RuntimeError(f"the hands ended: {(trial.folder / 'processes.log').read_text()[-2000:]}")
        if swapper.poll():
            raise RuntimeError(f"the swapper ended: {(trial.folder / 'processes.log').read_text()[-2000:]}")
        is_enough = bool(trial.needs) and told.exists() and _count(told) >= trial.needs
        return is_enough or swapper.poll() is not None

    processes.wait_until(is_over, "the swaps are done", within_s=1800, pause_s=0.1)


def _count(told: Path) -> int:
    course = json.loads(told.read_text(encoding="utf-8"))
    return int(course["harm_count"])


def _judge(trial: Trial, told: Path, counter: Path, *, was_free: bool) -> None:
    course, tally = json.loads(told.read_text(encoding="utf-8")), trial.tally
    tally.tries += int(counter.read_text(encoding="ascii"))
    tally.reached += [*course["harm"], *["the same again"] * (course["harm_count"] - len(course["harm"]))]
    hangs = course["hangs"] + (not was_free)
    tally.counts |= {"rounds of work": course["rounds"], "of them done": course["worked"], "hangs": hangs}
    if not trial.guard:
        tally.reached += ["it hung"] * hangs


def take_guard_out() -> None:
    """Links are followed, a pipe is waited for, and an agent does not ask whose a file is."""
    import agent.intake.private_copy as copies
    import mltm.runtime.hostile_files as files

    vars(files)["_FOLDER"] &= ~os.O_NOFOLLOW
    vars(files)["READ"] &= ~(os.O_NOFOLLOW | os.O_NONBLOCK)
    vars(files)["NEW_FILE"] &= ~(os.O_NOFOLLOW | os.O_EXCL)
    replace(files, "make_private_name", lambda stem, suffix="": f"{stem}.new{suffix}")
    replace(copies, "_check_source", lambda *_: None)

    import gateway.services.spool_address as addresses  # last: what it imports has no guards by now

    replace(addresses, "_sweep", lambda *_: None)


def _build(name: str, tries_to: str) -> Scenario:
    return Scenario(
        threats="1.2, T6" if name in {"publisher", "address"} else "T6",
        tries_to=f"swap files, folders, links and pipes while {tries_to}",
        run=lambda trial: _run(trial, _CASES[name]),
        take_guard_out=take_guard_out,
        tries=20_000,
        control_tries=50_000,
        control_needs=100,
    )


SCENARIOS = {
    "swaps-publisher": _build("publisher", "the gateway publishes and removes bundles"),
    "swaps-address": _build("address", "the gateway writes its address into the spool"),
    "swaps-bundles": _build("bundles", "the agent takes bundles"),
    "swaps-drops": _build("drops", "the agent takes drops"),
    "swaps-outputs": _build("outputs", "the agent lists and reads outputs and logs"),
}
