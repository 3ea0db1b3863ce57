"""The command mltm-gateway: what it does, and its errors in words with a next step, never a traceback."""

import errno
import io
import json
import os
import pwd
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from gateway.cli import main
from gateway.front.sockets import _explain_listening
from gateway.settings import GatewaySettings
from tests.gateway.process import serving

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command over settings in tmp_path; exit code, stdout, stderr."""
    settings = tmp_path / "gateway.toml"
    settings.write_text(f'data_dir = "{tmp_path}/data"\n')
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str, stdin: str = "", config: Path = settings) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mltm-gateway", *arguments, "--config", str(config)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
            return (code, *capsys.readouterr())
        return (0, *capsys.readouterr())

    return call


def add_user(run: Run, name: str = "alice", *options: str) -> tuple[int, str, str]:
    return run("user", "add", name, "--password-stdin", *options, stdin="a long password\n")


def test_users_tokens_and_codes_are_made(run: Run, tmp_path: Path) -> None:
    assert add_user(run)[0] == 0
    assert add_user(run, "root", "--role", "admin")[0] == 0
    users = json.loads(run("user", "list", "--json")[1])
    assert [(row["username"], row["role"]) for row in users] == [("alice", "user"), ("root", "admin")]

    made = json.loads(run("token", "create", "alice", "--json")[1])
    assert made["token"].startswith("mltm_")
    assert made["token"] not in run("token", "list", "alice")[1]
    assert run("token", "revoke", made["token_id"])[0] == 0

    code = run("agent", "code", "--cluster", "atena02", "--spool", str(tmp_path), "--owner", "alice", "--json")
    assert json.loads(code[1])["code"].startswith("enrol_")
    assert run("agent", "list")[:2] == (0, "none\n")
    assert run("migrate")[1] == "nothing to do: the database is up to date\n"
    assert run("check")[0] == 0
    assert run("restored")[0] == 0
    assert run("user", "remove", "alice")[0] == 0


def test_every_act_is_in_the_security_log_with_the_unix_user_and_without_secrets(run: Run, tmp_path: Path) -> None:
    add_user(run)
    token = json.loads(run("token", "create", "alice", "--json")[1])
    run("token", "revoke", token["token_id"])
    run("user", "passwd", "alice", "--password-stdin", stdin="another password\n")
    code = run("agent", "code", "--cluster", "atena02", "--spool", str(tmp_path), "--owner", "alice")[1].strip()
    run("user", "list")
    run("user", "remove", "alice")
    text = (tmp_path / "data" / "security.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]

    assert [line["event"] for line in lines] == [
        "user_added", "token_created", "token_revoked", "password_set", "code_created", "user_removed",
    ]  # fmt: skip
    assert {(line["unix_user"], line["address"]) for line in lines} == {(pwd.getpwuid(os.getuid()).pw_name, "local")}
    assert len({line["of_user_id"] for line in lines if "of_user_id" in line}) == 1
    assert [secret for secret in (token["token"], code, "a long password", "another password") if secret in text] == []
    assert (lines[-1]["tokens"], lines[-1]["codes"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("user", "add", "../alice", "--password-stdin"), "'../alice' is not a valid name"),
        (("user", "add", "bob", "--role", "king", "--password-stdin"), "--role is 'king'. It can be user or admin"),
        (("user", "add", "bob", "--password-stdin"), "at least 8 characters"),
        (("user", "remove", "nobody"), "There is no user 'nobody'"),
        (("token", "create", "nobody"), "There is no user 'nobody'"),
        (("token", "revoke", "none"), "none"),
        (("agent", "revoke", "none"), "There is no agent 'none', or it is revoked"),
        (("agent", "code", "--cluster", "a", "--spool", "s"), "Give --owner NAME, or --shared"),
        (("agent", "code", "--cluster", "a b", "--spool", "s", "--shared"), "'a b' is not a valid name"),
        (("agent", "code", "--cluster", "a", "--spool", "s", "--owner", "nobody"), "There is no user 'nobody'"),
    ],
)
def test_a_wrong_call_is_refused_in_words(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments, stdin="short\n")

    assert (code, out) == (1, "")
    assert err.startswith("mltm-gateway: ")
    assert message in err
    assert "Traceback" not in err
    assert "short\n" not in err


def test_a_new_password_that_names_the_user_the_gateway_or_a_cluster_is_refused(run: Run, tmp_path: Path) -> None:
    add_user(run)
    config = tmp_path / "gateway.toml"
    config.write_text(config.read_text() + 'name = "moria"\nclusters = ["atena02"]\npublic_url = "https://gondor"\n')
    for password in ("Alice 2026", "moria.moria", "atena02atena02", "gondor_99"):
        for command in (("user", "add", "alice"), ("user", "passwd", "alice")):
            code, _, err = run(*command, "--password-stdin", stdin=f"{password}\n")
            assert (code, "only names that a guesser tries first" in err) == (1, True), password
    assert run("user", "passwd", "alice", "--password-stdin", stdin="iloveyou2\n")[0] == 1


def test_a_new_gateway_has_no_user_no_token_and_no_agent(run: Run) -> None:
    assert run("migrate")[0] == 0

    assert json.loads(run("user", "list", "--json")[1]) == []
    assert json.loads(run("agent", "list", "--json")[1]) == []
    assert run("token", "list", "admin")[0] == 1


def test_a_user_twice_is_a_conflict_with_a_way_out(run: Run) -> None:
    add_user(run)
    code, _, err = add_user(run)

    assert code == 1
    assert "There is already a user 'alice'" in err
    assert "user passwd" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = 99999\n", "port"),
        ("prot = 8008\n", "wrong.toml: prot: no such setting. Did you mean port?"),
        ("[server]\nport = 1\n", "server: no such setting. docs/gateway.md lists every setting."),
        ("port = \n", "wrong.toml is not valid TOML: Invalid value (at line 1, column 8). A line looks like"),
        ('database = "postgresql://x"\n', "Only SQLite is"),
        ('tls_cert = "cert.pem"\n', "tls_cert and tls_key belong together"),
        ('name = "--x"\n', "name"),
    ],
)
def test_wrong_settings_are_named(run: Run, tmp_path: Path, text: str, message: str) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text)
    for command in (("user", "list"), ("serve",)):
        code, _, err = run(*command, config=wrong)
        assert (code, message in err, "Traceback" in err) == (1, True, False), err


@pytest.mark.parametrize(("name", "message"), [("none.toml", "No such file"), ("", "Is a directory")])
def test_a_settings_file_that_cannot_be_read_is_named(run: Run, tmp_path: Path, name: str, message: str) -> None:
    code, _, err = run("user", "list", config=tmp_path / name)

    assert (code, err.count("\n")) == (1, 1)
    assert f"Cannot read the settings file {tmp_path / name}: {message}" in err
    assert "Give the right path to --config" in err


def test_looking_makes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("check")

    assert code == 1
    assert f"{tmp_path}/data/gateway.sqlite does not exist. If this is the right data_dir" in out
    assert not (tmp_path / "data").exists()
    assert run("migrate")[0] == 0
    assert run("check")[0] == 0


def test_a_database_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    run("migrate")
    (tmp_path / "data" / "gateway.sqlite").write_text("something else\n" * 100)
    for command in (("user", "list"), ("check",), ("migrate",), ("serve",)):
        code, _, err = run(*command)
        assert (code, f"{tmp_path}/data/gateway.sqlite cannot be used now: file is not a database" in err) == (1, True)


def test_a_folder_that_cannot_be_made_is_named(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "proc.toml"
    config.write_text('data_dir = "/proc/x"\n')
    for command in (("user", "list"), ("migrate",), ("serve",)):
        code, _, err = run(*command, config=config)
        assert (code, "The data folder /proc/x cannot be used" in err, err.count("\n")) == (1, True, 1), err


def test_without_a_terminal_the_password_is_not_asked_for(run: Run) -> None:
    code, out, err = run("user", "add", "alice")

    assert (code, out) == (1, "")
    assert "--password-stdin" in err


def test_the_check_refuses_a_database_on_a_network_file_system(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("migrate")
    monkeypatch.setattr("gateway.check.read_file_system", lambda *_: "nfs4")
    code, out, _ = run("check")

    assert (code, "lies on nfs4" in out, "local disk" in out) == (1, True, True)


def test_the_check_says_open_modes_changes_none_and_notes_weak_settings(run: Run, tmp_path: Path) -> None:
    run("migrate")
    (tmp_path / "data").chmod(0o755)
    for _ in range(2):
        code, out, _ = run("check")
        assert (code, f"chmod 700 {tmp_path}/data" in out) == (1, True)

    (tmp_path / "data").chmod(0o700)
    config = tmp_path / "gateway.toml"
    config.write_text(config.read_text() + "token_days = 365\n")
    code, out, _ = run("check")
    assert (code, "note  token_days: A stolen login token works for 365 days." in out) == (0, True), out


def test_what_keeps_it_from_serving_is_said(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run("serve", "--port", str(port))
    assert code == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in err
    assert "Choose another --port" in err

    for host, message in (("192.0.2.1", "Cannot assign requested address"), ("no.such.invalid", "not known")):
        code, _, err = run("serve", "--host", host, "--port", "0")
        assert (code, message in err, "Set host to an address of this machine" in err) == (1, True, True), err

    (tmp_path / "file").write_text("")
    code, _, err = run("serve", "--data-dir", str(tmp_path / "file"))
    assert (code, "cannot be used" in err) == (1, True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("could not bind on any address out of [('192.0.2.1', 8008)]"), "Cannot assign requested address"),
        (OSError(errno.EADDRNOTAVAIL, "error while attempting to bind on address"), "Cannot assign requested address"),
        (OSError(errno.EADDRINUSE, "error while attempting to bind on address"), "Address already in use"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
    ],
    ids=["Python 3.13", "Python 3.11", "in use", "no name"],
)
def test_asyncios_errors_are_told_in_the_systems_words(error: OSError, message: str) -> None:
    told = _explain_listening(error, GatewaySettings(host="192.0.2.1", port=8008))

    assert str(told).startswith(f"Cannot listen on 192.0.2.1:8008: {message}.")


def test_the_process_serves_until_sigterm(tmp_path: Path) -> None:
    with serving("--port", "0", "--data-dir", str(tmp_path / "data")) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "gateway_stopping" in server.read_rest()


def test_a_security_log_that_cannot_be_written_is_said_beside_the_answer(run: Run, tmp_path: Path) -> None:
    add_user(run)
    config = tmp_path / "other.toml"
    config.write_text(f'data_dir = "{tmp_path}/data"\nsecurity_log = "{tmp_path}"\n')
    code, out, err = run("token", "create", "alice", config=config)
    structlog.reset_defaults()

    assert (code, out.count("\n"), out.startswith("mltm_")) == (0, 1, True)
    assert "security_log_not_written" in err


@pytest.mark.parametrize("password", ["x" * 1025, "ü" * 600, "long enough\x07", "\udcff" * 20])
def test_a_password_with_which_nobody_could_log_in_is_refused(run: Run, password: str) -> None:
    code, _, err = run("user", "add", "alice", "--password-stdin", stdin=f"{password}\n")

    assert (code, "The password cannot be used" in err, password in err) == (1, True, False)
