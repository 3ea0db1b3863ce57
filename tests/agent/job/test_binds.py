"""What an attempt of a task binds into its container, held against what any attempt of it can write there."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.job.container import build_container_argv
from agent.settings import AgentSettings
from mltm.contract.spool_layout import Spool
from tests.agent.job.planning import folder_of, make_settings

_FLAGS = {"exec", "--nv", "--contain", "--pid", "--ipc"}


@dataclass(frozen=True)
class Bound:
    """The host's side of one container. Apptainer makes and binds `tmp` and `var_tmp` in its work folder."""

    workdir: Path
    sources: frozenset[Path]
    writable: frozenset[Path]


def read_binds(argv: list[str], image: Path) -> Bound:
    """Read Apptainer's options; one that is not known here fails the test, so that none is overlooked."""
    options = [item for item in argv[1 : argv.index(str(image))] if item not in _FLAGS]
    given_options = list(zip(options[::2], options[1::2], strict=True))
    assert {name for name, _ in given_options} == {"--home", "--pwd", "--workdir", "--bind"}
    (workdir,) = [Path(value) for name, value in given_options if name == "--workdir"]
    temporary = {workdir / "tmp", workdir / "var_tmp"}
    binds = [value.split(":") for name, value in given_options if name in {"--home", "--bind"}]
    sources = {Path(bind[0]) for bind in binds} | {workdir} | temporary
    writable = {Path(bind[0]) for bind in binds if bind[2:] != ["ro"]} | temporary
    return Bound(workdir, frozenset(sources), frozenset(writable))


def bind(settings: AgentSettings, attempt: int, *, has_dataset: bool, with_gpus: bool) -> Bound:
    image, dataset = Path("/images/i.sif"), Path("/datasets/d.csv") if has_dataset else None
    argv = build_container_argv(
        settings, folder_of(settings), attempt, image=image, dataset=dataset, command=["python3", "--bind"],
        names=["A"], with_gpus=with_gpus,
    )  # fmt: skip
    return read_binds(argv, image)


ATTEMPTS = st.integers(1, 120)
BINDS = st.lists(st.sampled_from(["/scratch:/scratch", "/localscratch:/tmp", "/opt/site:/opt/site:ro"]), unique=True)


@given(former=ATTEMPTS, attempt=ATTEMPTS, binds=BINDS, has_dataset=st.booleans(), with_gpus=st.booleans())
def test_nothing_is_bound_from_below_what_any_attempt_can_write(
    former: int, attempt: int, binds: list[str], has_dataset: bool, with_gpus: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        settings = make_settings(Path(root), binds=binds)
    before, now = (bind(settings, n, has_dataset=has_dataset, with_gpus=with_gpus) for n in (former, attempt))

    below = [(place, source) for place in before.writable for source in now.sources if place in source.parents]
    assert below == []
    assert now.workdir not in before.writable
    assert (now.workdir == before.workdir) is (former == attempt)


@given(attempt=ATTEMPTS, binds=BINDS)
def test_no_record_and_nothing_of_the_agent_is_below_what_an_attempt_can_write(attempt: int, binds: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        settings = make_settings(Path(root), binds=binds)
    bound = bind(settings, attempt, has_dataset=True, with_gpus=False)

    for kept in (folder_of(settings).attempt(attempt).claim, Spool(settings.spool).notes, Spool(settings.spool).tasks):
        assert bound.writable.isdisjoint({kept, *kept.parents})
