"""Brings about what the mixed load seldom does, while a plan waits for it: a point's name, and what to do."""

from collections.abc import Callable

from chaos.load.stream import FORESTALLED, KINDS, LATE, ROTTEN, Kind
from chaos.trial import Trial
from mltm.contract.spool_layout import Spool

__all__ = ["PROVOCATIONS", "provoke"]

_MIXED = {kind.name: kind for kind in KINDS}


def _ask_for(kind: Kind) -> Callable[[Trial], None]:
    return lambda trial: trial.stream.ask_for(kind)


def _plant_torn_report(trial: Trial) -> None:
    """A report as a power loss leaves it: its name is there, its bytes are not."""
    (Spool(trial.house.spool).outbox / "0000000000-000000000001.json").write_bytes(b'{"spool_id":')


PROVOCATIONS: dict[str, Callable[[Trial], None]] = {
    "agent.active": _ask_for(ROTTEN),
    "agent.reject": _ask_for(ROTTEN),
    "agent.keep-manifest": _ask_for(ROTTEN),
    "agent.complete": _ask_for(FORESTALLED),
    "agent.control": _ask_for(FORESTALLED),
    "agent.amend": _ask_for(LATE),
    "agent.scancel": _ask_for(_MIXED["stopped"]),
    "gateway.hold": _ask_for(_MIXED["held"]),
    "agent.report-set-aside": _plant_torn_report,
}


def provoke(point: str, trial: Trial) -> None:
    """Do what makes a process pass the point soon; nothing if the mixed load passes it anyway."""
    provocation = PROVOCATIONS.get(point)
    if provocation is not None:
        provocation(trial)
