"""Settings that would let user code out of its container are refused, each with a sentence that says what to change."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import agent
from agent.check.checks import judge_isolation
from agent.errors import SettingsError
from agent.job.isolation import check_isolation, find_ways_out
from agent.job.launch import Launch, Refusal, plan_launch
from agent.job.links import list_lookups
from agent.settings import AgentSettings, read_settings
from agent.uplink.credential import Credential
from tests.agent.job.planning import SEED, folder_of, make_config, make_settings

PROGRAMS = Path(agent.__file__).parent


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A node where everything belongs to us: /home/ana, a credential, scratch folders."""
    for name in ("secret", "home/.ssh", "home/.config/mltm", "home/.cache/models", "home/data", "bin", "scratch/a"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "slurm.conf").touch()
    make_settings(tmp_path)
    return tmp_path


def surroundings(site: Path) -> Mapping[str, str]:
    return {"HOME": str(site / "home"), "PATH": f"/usr/bin:{site}/bin", "SLURM_CONF": f"{site}/slurm.conf"}


def settings_of(site: Path, **changes: object) -> AgentSettings:
    return make_settings(site, **{"credential_file": site / "secret" / "credential", **changes})


def ways_out(settings: AgentSettings, site: Path, *, is_shared: bool = False) -> list[str]:
    return find_ways_out(settings, surroundings(site), is_shared=is_shared)


BINDS = [
    ("{site}:/all", "gives every task the spool {site}/spool. Bind a folder without it."),
    ("/:/host:ro", "gives every task the spool {site}/spool."),
    ("{site}/spool", "gives every task the spool {site}/spool."),
    ("{site}/spool/agent", "gives every task the spool {site}/spool."),
    ("{site}/spool/tasks/1/outputs:/o:ro", "gives every task the spool {site}/spool."),
    ("{site}/scratch/../spool/in:/o:ro", "gives every task the spool {site}/spool."),
    ("/opt,{site}:/all:ro", "gives every task the spool {site}/spool."),
    ("{site}/secret:/s:ro", "gives every task the agent's credential {site}/secret/credential."),
    ("{site}/link:/s:ro", "gives every task the agent's credential {site}/secret/credential."),
    ("/proc:/host/proc:ro", "gives every task what starts programs outside of containers, /proc."),
    ("/proc/sys:/host:ro", "gives every task what starts programs outside of containers, /proc."),
    ("/run", "gives every task what starts programs outside of containers, /run/munge."),
    ("/run/munge:/run/munge:ro", "gives every task what starts programs outside of containers, /run/munge."),
    ("/run/user/1000", "gives every task what starts programs outside of containers, /run/user."),
    ("/var/tmp", "gives every task what all programs of the node share, /var/tmp."),
    ("/dev", "gives every task what all programs of the node share, /dev/shm."),
    ("{site}/home:/h:ro", "gives every task the home folder of the agent's user, {site}/home."),
    ("{site}/home/.ssh:/h:ro", "gives every task keys of the agent's user, {site}/home/.ssh."),
    ("{site}/home/.config/mltm:/h:ro", "gives every task keys of the agent's user, {site}/home/.config."),
    ("{site}/home/.local:/h", "lets every task change settings of the agent's user, {site}/home/.local."),
    ("{site}/datasets:/d", "lets every task write to {site}/datasets."),
    ("{site}/datasets:/d:rw", "Bind it read-only: {site}/datasets:/d:ro."),
    ("{site}/images", "lets every task write to {site}/images."),
    ("{site}/bin:/b", "lets every task change a folder of PATH, {site}/bin. Bind it read-only: {site}/bin:/b:ro."),
    ("{site}/slurm.conf:/etc/slurm.conf", "lets every task change slurm.conf {site}/slurm.conf."),
    ("{programs}:/agent", "lets every task change the agent's program {programs}."),
    ("{programs}/job:/agent", "lets every task change the agent's program {programs}."),
    ("data:/data", "has a path that does not begin with /"),
    ("{site}/scratch:data", "has a path that does not begin with /"),
    ("", "has a path that does not begin with /"),
    ("{site}/scratch:/d:ro:x", "cannot be read"),
    ("{site}/scr\\atch:/d", "cannot be read"),
    ("{site}/scratch:/d:r", "has the unknown option 'r'"),
]  # fmt: skip


@pytest.mark.parametrize(("bind", "message"), BINDS)
def test_a_bind_that_opens_a_way_out_is_refused_at_the_start_and_by_check(site: Path, bind: str, message: str) -> None:
    known = {"site": site, "programs": PROGRAMS}
    settings = settings_of(site, binds=[bind.format(**known)])

    with pytest.raises(SettingsError) as raised:
        check_isolation(settings, surroundings(site), is_shared=False)
    findings = judge_isolation(settings, surroundings(site))

    assert message.format(**known) in str(raised.value)
    assert [finding.grade for finding in findings] == ["FAIL"]
    assert message.format(**known) in findings[0].message
    assert find_ways_out(settings.model_copy(update={"runtime": "none"}), {}, is_shared=False) == []


@pytest.mark.parametrize(
    "bind",
    [
        "{site}/datasets:/d:ro", "{site}/spool-2:/d", "{site}/spool/images:/i:ro", "/localscratch:/tmp",
        "{site}/scratch", "/opt/site", "/usr/lib:/usr/lib:ro", "{site}/home/data", "{site}/home/.cache/models:/m",
        "{site}/bin:/b:ro", "/dev/infiniband", "/run/site.socket", "{site}/scratch:/a,{site}/scratch:/b",
        "{site}/scratch/d.sqsh:/d:image-src=/,ro",
        "{site}/scratch/a:/a,{site}/scratch/b:/b", "{site}/scratch:/a:ro,{site}/scratch/a:/b",
    ],
)  # fmt: skip
def test_other_binds_may_be_used(site: Path, bind: str) -> None:
    settings = settings_of(site, binds=[bind.format(site=site)])

    assert find_ways_out(settings, surroundings(site), is_shared=True) == []
    assert [finding.grade for finding in judge_isolation(settings, surroundings(site))] == ["ok"]


def test_a_bind_from_below_what_another_lets_tasks_write_is_refused(site: Path) -> None:
    (site / "elsewhere").mkdir()
    (site / "scratch" / "a" / "now").symlink_to(site / "elsewhere")
    (site / "by").symlink_to(site / "scratch" / "a" / "now")

    for inner in ("scratch/a", "scratch/none", "scratch/a/now", "by"):  # the last two lead out of scratch, through it
        found = ways_out(settings_of(site, binds=[f"{site}/scratch:/scratch", f"{site}/{inner}:/d:ro"]), site)

        assert [f"replace {site}/{inner} by a link" in message for message in found] == [True], inner


@pytest.mark.parametrize(
    "changes",
    [
        {"images_dir": "images"},
        {"datasets_dir": "datasets"},
        {"images": {"sklearn_sample_latest": "images/x.sif"}},
        {"slurm": {"conf": "slurm.conf"}},
    ],
)
def test_a_path_that_would_depend_on_where_a_job_starts_is_refused(site: Path, changes: dict[str, object]) -> None:
    (message,) = ways_out(settings_of(site, **changes), site)

    assert "is not an absolute path" in message


@pytest.mark.parametrize("field", ["images_dir", "datasets_dir"])
@pytest.mark.parametrize("place", ["spool/tasks/1/outputs", "by", "scratch/d"])
def test_a_catalogue_that_tasks_can_write_to_is_refused(site: Path, field: str, place: str) -> None:
    (site / "by").symlink_to(site / "spool" / "tasks" / "1" / "outputs")

    found = ways_out(settings_of(site, binds=[f"{site}/scratch:/s"], **{field: site / place}), site)

    assert found
    assert all(str(site / place) in message or "lets every task write" in message for message in found)


def test_programs_are_not_looked_for_where_tasks_write(site: Path) -> None:
    folder = site / "spool" / "tasks" / "1" / "work"
    settings = settings_of(site)

    (message,) = find_ways_out(settings, {"PATH": f"/usr/bin:{folder}:"}, is_shared=False)

    assert message == (
        f"a folder of PATH, {folder} leads through {site}/spool/tasks, where tasks can write. Choose another place."
    )


def test_the_config_file_is_not_for_tasks_to_change(site: Path) -> None:
    text = f'spool = "{site}/spool"\ncluster = "c"\ncredential_file = "{site}/secret/credential"\n'
    (site / "scratch" / "agent.toml").write_text(f'{text}binds = ["{site}/scratch"]\n')

    (message,) = find_ways_out(read_settings(site / "scratch" / "agent.toml"), surroundings(site), is_shared=False)

    assert f"lets every task change the agent's config file {site}/scratch/agent.toml" in message


@pytest.mark.parametrize("field", ["spool", "credential_file", "ca_file"])
def test_no_link_that_tasks_can_replace_leads_to_what_the_agent_uses(site: Path, field: str) -> None:
    (site / "real").mkdir()
    (site / "scratch" / "link").symlink_to(site / "real")

    (message,) = ways_out(
        settings_of(site, binds=[f"{site}/scratch"], **{field: site / "scratch" / "link" / "x"}), site
    )

    assert f"{site}/scratch/link/x leads through {site}/scratch, where tasks can write" in message


def refusal_of(settings: AgentSettings) -> Refusal:
    planned = plan_launch(make_config(SEED), folder_of(settings), 1, settings)
    assert isinstance(planned, Refusal), planned
    return planned


ENTRIES = [
    ("spool/tasks/1/outputs/d.csv", "it leads to the spool"),
    ("spool/agent/spool_id", "it leads to the spool"),
    ("spool", "it leads to the spool"),
    (".", "it leads to the spool"),
    ("secret", "it leads to the agent's credential"),
    ("scratch/d.csv", "where tasks can put a link in its place"),
    ("/proc/sys/kernel", "it leads to what starts programs outside of containers"),
]


@pytest.mark.parametrize(("target", "message"), ENTRIES)
@pytest.mark.parametrize("kind", ["image", "dataset"])
def test_a_link_in_the_catalogue_that_leads_where_no_task_may_be_is_refused(
    site: Path, target: str, message: str, kind: str
) -> None:
    settings = settings_of(site, binds=[f"{site}/scratch:/s"])
    place = Path(target) if target.startswith("/") else site / target
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    entry = site / {"image": "images/sklearn_sample_latest.sif", "dataset": "datasets/wine_classification.csv"}[kind]
    entry.unlink()
    entry.symlink_to(place)
    if kind == "image":  # images_dir holds files only
        settings = settings.model_copy(update={"images": {"sklearn_sample_latest": entry}})

    refusal = refusal_of(settings)

    assert f"{entry} cannot be given to a task: it leads" in refusal.message
    assert message in refusal.message
    assert refusal.field.rpartition(".")[2] == {"image": "image_name", "dataset": "dataset_name"}[kind]
    assert refusal.permanent


def test_a_datasets_folder_above_the_spool_does_not_give_the_spool_as_a_dataset(site: Path) -> None:
    config = make_config({**SEED, "dataset_name": "spool"})
    settings = settings_of(site, datasets_dir=site)

    planned = plan_launch(config, folder_of(settings), 1, settings)

    assert isinstance(planned, Refusal)
    assert "it leads to the spool" in planned.message


def test_links_of_the_site_itself_may_be_used(site: Path) -> None:
    real = site / "archive"
    real.mkdir()
    shutil.move(site / "datasets" / "wine_classification.csv", real / "v1.csv")
    (site / "datasets" / "wine_classification.csv").symlink_to("../archive/v1.csv")
    settings = settings_of(site)

    assert isinstance(plan_launch(make_config(SEED), folder_of(settings), 1, settings), Launch)


def test_every_name_on_the_way_of_a_link_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to("../b")
    (tmp_path / "b").symlink_to(tmp_path / "c")
    (tmp_path / "loop").symlink_to("loop")

    found = [place for place in list_lookups(tmp_path / "a" / "up" / "x") if place.is_relative_to(tmp_path)]
    assert [str(place.relative_to(tmp_path)) for place in found if place != tmp_path] == ["a", "a/up", "b", "c", "c/x"]
    assert len(list(list_lookups(tmp_path / "loop"))) < 100


NONE: dict[str, object] = {"runtime": "none", "images_dir": None, "images": {}}


def test_an_agent_for_all_users_refuses_to_run_without_a_container(site: Path) -> None:
    (message,) = ways_out(settings_of(site, **NONE), site, is_shared=True)

    assert "can read the agent's credential" in message
    assert 'Set runtime = "apptainer"' in message
    assert "--owner NAME" in message
    assert "shared_without_container = true" in message
    assert ways_out(settings_of(site, **NONE), site) == []
    assert ways_out(settings_of(site, shared_without_container=True, **NONE), site, is_shared=True) == []


@pytest.mark.parametrize(
    ("owner", "allowed", "grade", "message"),
    [
        ("", False, "FAIL", "This agent runs the tasks of all users, so it needs a container."),
        ("", True, "warn", "This agent runs the tasks of all users."),
        ("ana", False, "warn", 'Runtime "none" does not keep user code in'),
    ],
)
def test_check_says_what_runtime_none_means(site: Path, owner: str, allowed: bool, grade: str, message: str) -> None:
    settings = settings_of(site, shared_without_container=allowed, **NONE)
    known = Credential(agent_id="a", credential="s", cluster="c", owner=owner, gateway_name="g")
    settings.credential_file.write_text(known.model_dump_json())
    settings.credential_file.chmod(0o600)

    (finding,) = judge_isolation(settings, surroundings(site))

    assert (finding.grade, finding.what) == (grade, "isolation")
    assert message in finding.message
