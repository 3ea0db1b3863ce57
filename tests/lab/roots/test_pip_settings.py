from pathlib import Path

from lab.roots.pip_settings import carry_pip_settings, parse_pip_config


def test_what_pip_lists_becomes_variables_and_the_last_word_counts() -> None:
    said = "global.cert='/a'\nglobal.extra-index-url='file:///b\\nfile:///c'\nuser.cert='/d'\n:env:.find-links='/e f'\n"

    assert parse_pip_config(said) == {
        "PIP_CERT": "/d",
        "PIP_EXTRA_INDEX_URL": "file:///b\nfile:///c",
        "PIP_FIND_LINKS": "/e f",
    }


def test_files_that_the_settings_name_are_carried_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "wheels").mkdir()
    said = {"PIP_CERT": f"{tmp_path}/ca.pem", "PIP_FIND_LINKS": f"file://{tmp_path}/wheels /not/there", "TOKEN": "/etc"}

    settings = carry_pip_settings(said)

    assert settings.paths == (tmp_path / "ca.pem", tmp_path / "wheels")
    assert set(settings.variables) == {"PIP_CERT", "PIP_FIND_LINKS"}
