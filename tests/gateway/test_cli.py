"""The command mltm-gateway: what it does, and its errors in words with a next step, never a traceback."""

import io
import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from gateway.cli import main
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


def test_people_tokens_and_codes_are_made(run: Run, tmp_path: Path) -> None:
    assert add_user(run)[0] == 0
    assert add_user(run, "root", "--role", "admin")[0] == 0
    people = json.loads(run("user", "list", "--json")[1])
    assert [(row["username"], row["role"]) for row in people] == [("alice", "user"), ("root", "admin")]

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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("user", "add", "../alice", "--password-stdin"), "'../alice' is not a name"),
        (("user", "add", "bob", "--role", "king", "--password-stdin"), "--role is 'king'; it can be user or admin"),
        (("user", "add", "bob", "--password-stdin"), "at least 8 characters"),
        (("user", "remove", "nobody"), "There is no user 'nobody'"),
        (("token", "create", "nobody"), "There is no user 'nobody'"),
        (("token", "revoke", "none"), "none"),
        (("agent", "revoke", "none"), "There is no live agent 'none'"),
        (("agent", "code", "--cluster", "a", "--spool", "s"), "Give --owner NAME, or --shared"),
        (("agent", "code", "--cluster", "a b", "--spool", "s", "--shared"), "'a b' is not a name"),
        (("agent", "code", "--cluster", "a", "--spool", "s", "--owner", "nobody"), "There is no user 'nobody'"),
    ],
)
def test_a_wrong_call_is_refused_in_words(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run(*arguments, stdin="short\n")

    assert (code, out) == (1, "")
    assert err.startswith("mltm-gateway: ")
    assert words in err
    assert "Traceback" not in err
    assert "short\n" not in err


def test_a_user_twice_is_a_conflict_with_a_way_out(run: Run) -> None:
    add_user(run)
    code, _, err = add_user(run)

    assert code == 1
    assert "There is a user 'alice' already" in err
    assert "user passwd" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 99999\n", "port"),
        ("prot = 8008\n", "prot"),
        ("port = \n", "cannot read the settings file"),
        ('database = "postgresql://x"\n', "only SQLite is"),
        ('tls_cert = "cert.pem"\n', "tls_cert and tls_key belong together"),
        ('name = "--x"\n', "name"),
    ],
)
def test_wrong_settings_are_named(run: Run, tmp_path: Path, text: str, words: str) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text)
    for command in (("user", "list"), ("serve",)):
        code, _, err = run(*command, config=wrong)
        assert (code, words in err, "Traceback" in err) == (1, True, False), err


def test_a_settings_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    code, _, err = run("user", "list", config=tmp_path / "none.toml")

    assert code == 1
    assert "none.toml" in err


def test_what_keeps_it_from_serving_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # sdnotify 0.3.2 drops its socket unclosed where there is no systemd: a ResourceWarning, and none of ours.
    monkeypatch.setattr("gateway.serve.sdnotify.SystemdNotifier", Mock)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run("serve", "--port", str(port))
    assert code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in err
    assert "Choose another --port" in err

    (tmp_path / "file").write_text("")
    code, _, err = run("serve", "--data-dir", str(tmp_path / "file"))
    assert (code, "cannot be used" in err) == (1, True)


def test_the_process_serves_until_sigterm(tmp_path: Path) -> None:
    with serving("--port", "0", "--data-dir", str(tmp_path / "data")) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "gateway_stopping" in server.read_rest()
