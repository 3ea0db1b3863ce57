"""Gateway and agent as two real accounts: the layout that the commands make, what others can do, natural mistakes."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.intake.bundles import BundleIntake
from agent.settings import AgentSettings
from agent.spool.setup import prepare_spool
from agent.spool.spool_key import write_spool_key
from gateway.errors import InvalidError
from gateway.services.inbox_folder import judge_inbox, make_inbox
from gateway.services.publisher import publish_bundle, remove_taken
from gateway.services.spool_address import write_address
from gateway.store.outbox import OutboxEntry
from gateway.values import InboxKey
from mltm.contract.ids import TaskId
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.proofs import parse_address
from mltm.contract.spool_layout import Inbox, Spool
from mltm.runtime.clock import Clock
from tests.accounts import Account, make_home, shared_ground

pytestmark = pytest.mark.root

GROUP = 65510
GATEWAY, AGENT, OTHER = Account(65501, (GROUP,)), Account(65502, (GROUP,)), Account(65503)
TASK, KEY, SCRIPT = TaskId("a" * 32), b"k" * 32, b"print(1)\n"


@dataclass(frozen=True)
class Site:
    """What the two accounts have made."""

    ground: Path
    inbox: Inbox
    settings: AgentSettings
    spool_id: str
    source: Path

    def entry(self) -> OutboxEntry:
        listed = BundleFile(name="entrypoint.py", size=len(SCRIPT), sha256=hashlib.sha256(SCRIPT).hexdigest())
        manifest = Manifest(
            task_id=TASK, owner="alice", cluster="c", submitted_at=datetime(2026, 11, 29, tzinfo=UTC),
            script_name="s.py", config={"script_path": "s.py"}, files=[listed],
        )  # fmt: skip
        return OutboxEntry(TASK, "waiting", self.inbox.root, manifest, self.spool_id, KEY)

    def publish(self) -> None:
        publish_bundle(self.entry(), self.source, self.inbox)

    def scan(self) -> list[str]:
        return BundleIntake(Spool(self.settings.spool), self.settings, Clock()).scan()


@pytest.fixture
def ground() -> Iterator[Path]:
    with shared_ground() as folder:
        yield folder


@pytest.fixture
def site(ground: Path) -> Site:
    gateways, agents = make_home(ground, "gateway", GATEWAY), make_home(ground, "agent", AGENT)
    source = make_home(ground, "source", GATEWAY, 0o700)
    (source / "entrypoint.py").write_bytes(SCRIPT)
    os.chown(source / "entrypoint.py", GATEWAY.uid, -1)
    inbox = GATEWAY.run(lambda: make_inbox(gateways / "inbox", str(GROUP)))
    settings = AgentSettings(
        spool=agents / "spool", inbox=inbox.root, cluster="c", credential_file=agents / "credential"
    )

    def start() -> str:
        identity = prepare_spool(settings, Clock())
        write_spool_key(identity.spool, KEY.hex(), Clock())
        return str(identity.spool_id)

    return Site(ground, inbox, settings, AGENT.run(start), source)


TRIES: dict[str, Callable[[Path], object]] = {
    "list": lambda path: list(path.iterdir()),
    "write": lambda path: (path / "x").write_text("x"),
    "make": lambda path: (path / "y").mkdir(),
    "move": lambda path: path.rename(path.with_name("moved")),
    "chmod": lambda path: path.chmod(0o777),
}


def try_all(paths: list[Path]) -> list[str]:
    """Everything that an account can do to these paths and must not."""
    done = []
    for path in paths:
        for name, step in TRIES.items():
            try:
                step(path)
            except OSError:
                continue
            done.append(f"{name} {path}")
    return done


def test_a_task_goes_from_one_account_to_the_other(site: Site) -> None:
    GATEWAY.run(site.publish)
    assert AGENT.run(site.scan) == []
    copied = Spool(site.settings.spool).task(TASK).input / "entrypoint.py"
    assert (copied.read_bytes(), copied.stat().st_uid) == (SCRIPT, AGENT.uid)

    GATEWAY.run(lambda: remove_taken(TASK, site.inbox))
    assert list(site.inbox.new.iterdir()) == []
    assert GATEWAY.run(lambda: judge_inbox(site.inbox.root)) == "ok"


def test_the_gateways_new_address_reaches_the_agent(site: Site) -> None:
    GATEWAY.run(lambda: write_address(InboxKey(site.inbox.root, site.spool_id, KEY), "https://new"))
    raw = AGENT.run(site.inbox.address.read_bytes)
    assert parse_address(raw, site.spool_id, KEY) == "https://new"


def test_neither_account_can_change_the_others_folder_and_a_third_sees_nothing(site: Site) -> None:
    GATEWAY.run(site.publish)
    AGENT.run(site.scan)
    spool, inbox = Spool(site.settings.spool), site.inbox
    bundle = inbox.bundle(TASK)
    gateways = [inbox.root, inbox.new, inbox.building, bundle, bundle / "files"]
    agents = [spool.root, *spool.agent_folders, spool.task(TASK).path, spool.task(TASK).control]

    assert AGENT.run(lambda: try_all(gateways)) == [
        f"list {path}" for path in (inbox.root, inbox.new, bundle, bundle / "files")
    ]
    assert GATEWAY.run(lambda: try_all(agents)) == []
    assert OTHER.run(lambda: try_all([*gateways, *agents])) == []
    assert AGENT.run(lambda: try_all([inbox.root.parent])) == [f"list {inbox.root.parent}"]
    assert GATEWAY.run(lambda: try_all([spool.root.parent])) == [f"list {spool.root.parent}"]


def test_an_intruder_in_the_shared_group_can_do_no_more_than_read(site: Site) -> None:
    GATEWAY.run(site.publish)
    intruder = replace(OTHER, groups=(GROUP,))
    spool = Spool(site.settings.spool)

    assert not [done for done in intruder.run(lambda: try_all([site.inbox.root, site.inbox.new])) if "list" not in done]
    assert intruder.run(lambda: try_all([spool.root, *spool.agent_folders])) == []


def make_shared(place: Path, mode: int) -> None:
    """One folder for both: gateway's and agent's parts in one group, as a site does it by itself."""
    for folder in (place, place / "in", place / "in" / "new", place / "in" / "tmp"):
        folder.mkdir()
        os.chown(folder, AGENT.uid, GROUP)
        folder.chmod(mode)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0o777, "Everybody may write to"),
        (0o2777, "Everybody may write to"),
        (0o2770, f"The group {GROUP} may write to"),
    ],
)
def test_one_folder_for_both_accounts_is_refused_in_words(ground: Path, mode: int, message: str) -> None:
    home = make_home(ground, "agent", AGENT)
    make_shared(home / "spool", mode)
    settings = AgentSettings(spool=home / "spool", cluster="c", credential_file=home / "credential")

    with pytest.raises(SpoolError, match=message):
        AGENT.run(lambda: prepare_spool(settings, Clock()))
    assert "Make an inbox of its own" in GATEWAY.run(lambda: judge_inbox(home / "spool" / "in"))


@pytest.mark.parametrize("mode", [0o777, 0o2770, 0o770])
@pytest.mark.parametrize("place", ["", "new"])
def test_an_inbox_that_others_can_write_is_refused_by_both(site: Site, mode: int, place: str) -> None:
    folder = site.inbox.root / place
    os.chown(folder, -1, GROUP)
    folder.chmod(mode)

    with pytest.raises(SpoolError, match=r"The inbox .* is not safe: others could put tasks into it\. .* Run: chmod"):
        AGENT.run(lambda: prepare_spool(site.settings, Clock()))
    assert "Run: mltm-gateway spool make" in GATEWAY.run(lambda: judge_inbox(site.inbox.root))
    GATEWAY.run(lambda: make_inbox(site.inbox.root, str(GROUP)))  # the mend
    AGENT.run(lambda: prepare_spool(site.settings, Clock()))


@pytest.mark.parametrize(("place", "mode"), [("", 0o2770), ("new", 0o2770), ("new", 0o777), ("..", 0o777)])
def test_an_inbox_that_became_writable_after_the_start_is_not_read(site: Site, place: str, mode: int) -> None:
    GATEWAY.run(site.publish)
    folder = site.inbox.root / place
    before = folder.stat().st_mode
    folder.chmod(mode)

    (message,) = AGENT.run(site.scan)
    assert message.startswith("No task is accepted: others could put tasks there. ")
    assert "may write to" in message
    assert not Spool(site.settings.spool).task(TASK).path.exists()

    folder.chmod(before)
    assert AGENT.run(site.scan) == []
    assert Spool(site.settings.spool).task(TASK).manifest.exists()


def test_a_folder_above_that_others_can_write_is_refused_by_both(site: Site) -> None:
    for home, act in ((site.inbox.root.parent, "inbox"), (site.settings.spool.parent, "spool")):
        home.chmod(0o777)
        with pytest.raises(SpoolError, match=f"The {act} .* is not safe.*Everybody may write to {home}"):
            AGENT.run(lambda: prepare_spool(site.settings, Clock()))
        home.chmod(0o755)
    AGENT.run(lambda: prepare_spool(site.settings, Clock()))


def test_a_group_that_the_site_trusts_may_write_above_the_spool(site: Site) -> None:
    home = site.settings.spool.parent
    os.chown(home, -1, GROUP)
    home.chmod(0o2775)
    with pytest.raises(SpoolError, match=f"The group {GROUP} may write to .* trusted_groups"):
        AGENT.run(lambda: prepare_spool(site.settings, Clock()))
    trusting = site.settings.model_copy(update={"trusted_groups": [str(GROUP)]})
    AGENT.run(lambda: prepare_spool(trusting, Clock()))


def test_an_account_that_is_not_in_the_group_is_told_so(site: Site) -> None:
    outside = replace(AGENT, groups=())
    with pytest.raises(SpoolError, match=r"does not exist, or this account may not look into it.*log in again"):
        outside.run(lambda: prepare_spool(site.settings, Clock()))
    with pytest.raises(InvalidError, match="not in the group"):
        OTHER.run(lambda: make_inbox(make_home_of(site), str(GROUP)))


def make_home_of(site: Site) -> Path:
    return site.ground / "nowhere"


def test_a_root_that_cannot_be_written_is_refused_in_words(ground: Path) -> None:
    home = make_home(ground, "agent", GATEWAY)
    settings = AgentSettings(spool=home / "spool", cluster="c", credential_file=ground / "credential")
    with pytest.raises(SpoolError, match="Access is denied"):
        AGENT.run(lambda: prepare_spool(settings, Clock()))


def test_inbox_and_spool_in_each_other_are_refused(site: Site) -> None:
    inside = site.settings.model_copy(update={"inbox": site.settings.spool / "in"})
    with pytest.raises(SpoolError, match="lie in each other"):
        AGENT.run(lambda: prepare_spool(inside, Clock()))


def test_an_inbox_of_somebody_else_is_not_taken(site: Site) -> None:
    with pytest.raises(InvalidError, match="belongs to"):
        AGENT.run(lambda: make_inbox(site.inbox.root, str(GROUP)))
    assert "belongs to the uid" in OTHER.run(lambda: judge_inbox(site.settings.spool.parent))


def test_an_old_spool_moves_to_two_folders(ground: Path, site: Site) -> None:
    """Version 0.1 told sites to make one folder, sticky, with a group. It still starts; then the inbox moves out."""
    place = make_home(ground, "old", AGENT) / "spool"
    make_shared(place, 0o2770)
    place.chmod(0o3770)
    old = AgentSettings(spool=place, cluster="c", credential_file=site.settings.credential_file)
    AGENT.run(lambda: prepare_spool(old, Clock()))
    moved = old.model_copy(update={"inbox": site.inbox.root})
    assert AGENT.run(lambda: prepare_spool(moved, Clock())).spool.root == place
