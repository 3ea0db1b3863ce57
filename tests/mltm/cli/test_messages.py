import stat
from pathlib import Path

import pytest

from mltm.contract.problems import FieldProblem
from mltm.contract.states import State
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import write_submission
from tests.mltm.client.fake_gateway import TASK_ID, TOKEN, FakeGateway, Fault, Log, build_task


def test_login_is_kept_for_its_user_only_and_used(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    ran = mltm(
        "login", gateway.url + "/", "-u", "ada", "--password-stdin", stdin="right\n", MLTM_TOKEN=None, MLTM_URL=None
    )
    assert ran.out == f"Logged in to {gateway.url} as ada.\n"
    (stored,) = (tmp_path / "config" / "mltm").iterdir()
    assert stored.name == "credentials.json"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert mltm("whoami", MLTM_TOKEN=None, MLTM_URL=None).out == "ada (user); clusters: atena02\n"


def test_an_empty_password_is_not_sent(mltm: Mltm) -> None:
    ran = mltm("login", "-u", "ada", "--password-stdin", stdin="", MLTM_TOKEN=None)
    assert (ran.code, ran.err.splitlines()[0]) == (2, "mltm: The password is empty.")


def test_a_wrong_password_keeps_nothing(mltm: Mltm, tmp_path: Path) -> None:
    ran = mltm("login", "-u", "ada", "--password-stdin", stdin="wrong\n", MLTM_TOKEN=None)
    assert (ran.code, ran.err.splitlines()[0]) == (77, "mltm: User name or password is wrong.")
    assert not (tmp_path / "config").exists()


def log_in(mltm: Mltm) -> None:
    assert mltm("login", "-u", "ada", "--password-stdin", stdin="right\n").code == 0


def test_a_logout_ends_the_stored_token_at_its_gateway(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    log_in(mltm)
    ran = mltm("logout", MLTM_TOKEN="another", MLTM_URL="http://127.0.0.1:1")

    assert (ran.code, ran.out, ran.err) == (0, "Logged out.\n", "")
    (ended,) = gateway.asked("DELETE", "/v1/tokens/current")
    assert ended.headers["Authorization"] == f"Bearer {TOKEN}"
    assert list((tmp_path / "config" / "mltm").iterdir()) == []
    assert mltm("logout").out == "You were not logged in.\n"


@pytest.mark.parametrize("status", [404, 503])
def test_a_token_that_could_not_be_ended_is_forgotten_and_said(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path, status: int
) -> None:
    log_in(mltm)
    gateway.faults = [Fault("DELETE", "/v1/tokens/current", status=status) for _ in range(50)]
    ran = mltm("--patience", "0", "logout")

    assert (ran.code, ran.out) == (0, "Logged out.\n")
    assert "The gateway did not end the token: The gateway is starting." in ran.err
    assert "mltm-gateway token revoke" in ran.err
    assert list((tmp_path / "config" / "mltm").iterdir()) == []


def test_a_logout_with_a_token_that_has_ended_or_a_damaged_file_is_a_logout(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path
) -> None:
    log_in(mltm)
    gateway.faults = [Fault("DELETE", "/v1/tokens/current", status=401)]
    assert (mltm("logout").out, mltm("whoami", MLTM_TOKEN=None).code) == ("Logged out.\n", 77)

    (tmp_path / "config" / "mltm" / "credentials.json").write_text("{")
    assert mltm("logout").out == "Logged out.\n"
    assert len(gateway.asked("DELETE", "/v1/tokens/current")) == 1


def test_a_login_without_an_address_asks_for_it(mltm: Mltm) -> None:
    ran = mltm("login", "-u", "ada", "--password-stdin", stdin="right\n", MLTM_URL=None)
    assert (ran.code, ran.err) == (
        2,
        "mltm: The gateway's address is missing.\n  Give it: mltm login https://host:8008\n",
    )


def test_unreachable_names_the_address_and_the_way_out(mltm: Mltm) -> None:
    ran = mltm("--url", "http://127.0.0.1:1", "--patience", "0", "whoami")
    first, second = ran.err.splitlines()
    assert first == "mltm: Cannot connect to the gateway at 127.0.0.1:1 (Connection refused)."
    assert second == "  Is the gateway running, and is the address right? It is set by `mltm login`, --url or MLTM_URL."


def test_a_sites_own_hint_stands_behind_the_way_out(mltm: Mltm) -> None:
    ran = mltm("--url", "http://127.0.0.1:1", "--patience", "0", "whoami", MLTM_HINT="Ask Ana.")
    assert ran.err.endswith("It is set by `mltm login`, --url or MLTM_URL. Ask Ana.\n")
    assert "Ask Ana." not in mltm("whoami", MLTM_TOKEN="stale", MLTM_HINT="Ask Ana.").err


def test_a_stale_token_says_to_log_in(mltm: Mltm) -> None:
    ran = mltm("whoami", MLTM_TOKEN="stale")
    assert ran.err == "mltm: The token is missing or not valid.\n  Run `mltm login`.\n"


def test_wrong_fields_stand_one_a_line(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    fields = (
        FieldProblem(field="runner_location", given="'atena3'", allowed="one of atena02", hint="Did you mean atena02?"),
        FieldProblem(field="dataset_name", allowed="no such dataset"),
    )
    fault = Fault("POST", "/v1/tasks", status=422, detail="Wrong config.", next_step="Mend it.", fields=fields)
    gateway.faults = [fault]
    ran = mltm("submit", *write_submission(tmp_path))
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "mltm: Wrong config.",
        "  runner_location: one of atena02 (given: 'atena3'). Did you mean atena02?",
        "  dataset_name: no such dataset.",
        "  Mend it.",
    ]


def test_a_wrong_config_is_said_before_anything_is_sent(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    config, script = write_submission(tmp_path)
    config.write_text(config.read_text().replace("runner_location", "runer_location"))
    ran = mltm("submit", config, script)
    assert ran.err.startswith("mltm: Nothing was sent, because the submission is not valid.\n")
    assert "runer_location: no such field. Did you mean runner_location?" in ran.err
    assert gateway.seen == []


def test_a_missing_file_is_named(mltm: Mltm, tmp_path: Path) -> None:
    _, script = write_submission(tmp_path)
    ran = mltm("submit", tmp_path / "none.json", script)
    assert ran.err == f"mltm: {tmp_path / 'none.json'}: No such file or directory.\n  Check the path.\n"


def test_a_missing_script_is_named_before_it_is_compared_with_the_config(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path
) -> None:
    config, _ = write_submission(tmp_path)
    ran = mltm("submit", config, tmp_path / "nope.py")
    assert ran.err == f"mltm: {tmp_path / 'nope.py'}: No such file or directory.\n  Check the path.\n"
    assert gateway.seen == []


def test_trying_again_is_told(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.faults = [Fault("GET", "/v1/me", status=503, detail="The gateway is starting.")]
    ran = mltm("whoami")
    assert (ran.code, ran.err) == (0, "The gateway is starting. Trying again in 0.1 s.\n")


@pytest.mark.parametrize("part", [TASK_ID[:8], TASK_ID[-6:], TASK_ID.upper()])
def test_a_task_is_found_by_a_part_of_its_id(mltm: Mltm, gateway: FakeGateway, part: str) -> None:
    gateway.looks = {TASK_ID: [build_task(State.RUNNING)], "f" * 32: [build_task(State.RUNNING, "f" * 32)]}
    assert f"task:       {TASK_ID}\n" in mltm("status", part).out


def test_a_part_that_fits_two_tasks_or_none_is_refused(mltm: Mltm, gateway: FakeGateway) -> None:
    twins = ["0197aaaa" + digit * 24 for digit in "12"]
    gateway.looks = {one: [build_task(State.RUNNING, one)] for one in twins}
    assert mltm("status", "0197aaaa").err.startswith("mltm: 2 of your newest 200 tasks match 0197aaaa.")
    assert mltm("status", "abcdef").err.startswith("mltm: None of your newest 200 tasks matches abcdef.")


def test_a_failed_task_shows_its_last_words(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.FAILED)]
    gateway.logs = {1: [Log(((0, b"epoch 1\nValueError: \x1b[31mno data\x1b[0m\n"),))]}
    ran = mltm("status", TASK_ID, "--wait")
    assert ran.err.splitlines()[1:] == [
        "  | epoch 1",
        "  | ValueError: no data",
        f"Task {TASK_ID} failed. Log: mltm log {TASK_ID}; outputs: mltm get {TASK_ID} -o FOLDER",
    ]


def test_a_piped_log_is_the_scripts_bytes(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.SUCCEEDED)]
    gateway.logs = {1: [Log(((0, b"\x1b[1mbold\r\n"), (500, b"end\n")))]}
    for more in ((), ("-f",)):
        ran = mltm("log", TASK_ID, *more)
        assert ran.out == "\x1b[1mbold\r\nend\n"
        assert ran.err == "[490 bytes in the middle of the log were dropped on the cluster]\n"


def test_following_says_where_an_attempt_begins(mltm: Mltm, gateway: FakeGateway) -> None:
    one, two = ({"attempt": number, "state": "failed"} for number in (1, 2))
    gateway.looks[TASK_ID] = [
        build_task(State.RUNNING, attempts=[one]), build_task(State.SUCCEEDED, attempts=[one, two])
    ]  # fmt: skip
    gateway.logs = {1: [Log(((0, b"one\n"),))], 2: [Log(((0, b"two\n"),))]}
    ran = mltm("log", TASK_ID, "-f")
    assert (ran.out, ran.err) == ("one\ntwo\n", "[attempt 2 begins]\n")


def test_an_output_that_is_not_there_is_named(mltm: Mltm, tmp_path: Path) -> None:
    ran = mltm("get", TASK_ID, "model.bin", "-o", tmp_path)
    assert (ran.code, ran.err.splitlines()[0]) == (2, "mltm: The task has no output 'model.bin'.")


def test_empty_answers_say_so(mltm: Mltm, tmp_path: Path) -> None:
    assert mltm("list").err == "No tasks.\n"
    assert mltm("outputs", TASK_ID).err == "No outputs.\n"
    assert mltm("get", TASK_ID, "-o", tmp_path).err == "No outputs.\n"


def test_piped_lists_have_tabs_and_no_head(mltm: Mltm, gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING, script_path="my\ttrain.py")]
    gateway.outputs = {"a\nb": b"xy"}
    assert mltm("list").out == f"{TASK_ID}\trunning\t2026-11-24 01:00:00\tatena02\tmy train.py\n"
    assert mltm("outputs", TASK_ID).out == "a b\t2 B\t2026-11-24 01:00:00\n"
