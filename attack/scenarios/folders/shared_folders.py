"""A site's natural mistakes with the folders of a spool: agent and gateway do not start on them, and say why."""

import re
from collections.abc import Callable
from pathlib import Path

from attack.accounts import Account, give, make_accounts
from attack.guards import replace
from attack.product import processes
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO", "make_inbox", "prepare"]

_REFUSED = "refused: "
_Mistake = Callable[[Path, dict[str, Account]], None]


def run(trial: Trial) -> None:
    """Each mistake on folders of its own. A try is harmed if the product takes the folders, or gives no reason."""
    accounts = make_accounts("gateway", "ann", "ben", shared=[("gateway", "ann", "ben")])
    mistakes = list(_MISTAKES.items())
    for number in range(trial.tries):
        name, (who, mistake) = mistakes[number % len(mistakes)]
        folder = trial.folder / str(number)
        _make(folder, accounts)
        mistake(folder, accounts)
        words = ["call", f"{__name__}:{'prepare' if who == 'ann' else 'make_inbox'}", str(folder)]
        said = processes.call(accounts[who], trial.guard, words, home=trial.folder)
        is_explained = re.search(rf"{_REFUSED}.*{folder}.*(Run: chmod|belongs to|Put the inbox)", said, re.DOTALL)
        trial.tally.count("" if is_explained else f"{name}: {said.strip()[:100] or 'the folders were taken'}")


def _make(folder: Path, accounts: dict[str, Account]) -> None:
    """Everything as it should be: two folders, each in a folder of its own account."""
    group = accounts["ann"].groups[0]
    folder.mkdir(mode=0o755)
    for name, owner in (("mine", "ann"), ("theirs", "gateway")):
        (folder / name).mkdir()
        give(folder / name, accounts[owner], 0o755)
    (folder / "mine/spool").mkdir()
    give(folder / "mine/spool", accounts["ann"], 0o700)
    for place in ("theirs/inbox", "theirs/inbox/tmp", "theirs/inbox/new"):
        (folder / place).mkdir()
        give(folder / place, accounts["gateway"], 0o2750, group=group)


def _open(place: str, mode: int, owner: str = "") -> _Mistake:
    """Give a folder this mode, the group of all, and another owner."""

    def make(folder: Path, accounts: dict[str, Account]) -> None:
        of = owner or ("ann" if place.startswith("mine") else "gateway")
        give(folder / place, accounts[of], mode, group=accounts["ann"].groups[0])

    return make


_MISTAKES: dict[str, tuple[str, _Mistake]] = {
    "everybody may write to the spool": ("ann", _open("mine/spool", 0o777)),
    "one group may write to the spool": ("ann", _open("mine/spool", 0o2770)),
    "everybody may write above the spool": ("ann", _open("mine", 0o777)),
    "one group may write above the spool": ("ann", _open("mine", 0o2775)),
    "somebody else owns what is above the spool": ("ann", _open("mine", 0o755, "ben")),
    "everybody may write to new": ("ann", _open("theirs/inbox/new", 0o777)),
    "one group may write to new": ("ann", _open("theirs/inbox/new", 0o2770)),
    "one group may write to the inbox": ("ann", _open("theirs/inbox", 0o2770)),
    "everybody may write above the inbox": ("ann", _open("theirs", 0o777)),
    "somebody else owns new": ("ann", _open("theirs/inbox/new", 0o755, "ben")),
    "the gateway makes an inbox where everybody may write": ("gateway", _open("theirs", 0o777)),
    "the gateway makes an inbox where one group may write": ("gateway", _open("theirs", 0o2775)),
    "the gateway makes an inbox in somebody else's folder": ("gateway", _open("theirs", 0o777, "ben")),
}


def prepare(text: str) -> None:
    """In a process of the agent's account: what it does with its folders at its start."""
    from agent.errors import SpoolError
    from agent.settings import AgentSettings
    from agent.spool.setup import prepare_spool
    from mltm.runtime.clock import Clock

    folder = Path(text)
    settings = AgentSettings(
        spool=folder / "mine/spool", inbox=folder / "theirs/inbox", cluster="atena", credential_file=folder / "x"
    )
    try:
        prepare_spool(settings, Clock())
    except SpoolError as error:
        print(f"{_REFUSED}{error}")


def make_inbox(text: str) -> None:
    """In a process of the gateway's account: `mltm-gateway spool make`."""
    from gateway.errors import InvalidError
    from gateway.services.inbox_folder import make_inbox as make

    try:
        make(Path(text) / "theirs" / "inbox2", None)
    except InvalidError as error:
        print(f"{_REFUSED}{error}")


def take_guard_out() -> None:
    """Nobody looks at the folders above, or at groups."""
    import gateway.services.inbox_folder  # noqa: F401 - they have to be there to be changed
    from mltm.runtime import folder_trust

    replace(folder_trust, "find_weakness", lambda *_: "")


SCENARIO = Scenario(
    threats="3b.1",
    tries_to="use folders that others can write or replace",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(_MISTAKES),
    control_tries=len(_MISTAKES),
    control_needs=len(_MISTAKES) // 2,
)
