"""The environment of a call to Slurm, which becomes that of the job: programs are found by whole paths only."""

import pytest

from agent.slurm.commands import build_environment


@pytest.mark.parametrize(
    ("given", "path", "expected"),
    [
        ("/usr/bin:/bin", None, "/usr/bin:/bin"),
        (":/usr/bin", None, "/usr/bin"),
        ("/usr/bin:", None, "/usr/bin"),
        (".:/usr/bin::bin:../x:~/bin", None, "/usr/bin"),
        ("/usr/bin", "/opt/slurm/bin:", "/opt/slurm/bin:/usr/bin"),
        ("/usr/bin", "bin", "/usr/bin"),
        ("", None, "/usr/bin:/bin"),
        (".", None, "/usr/bin:/bin"),
    ],
)
@pytest.mark.parametrize("is_submission", [True, False])
def test_path_has_whole_paths_only(given: str, path: str | None, expected: str, is_submission: bool) -> None:
    assert build_environment({"PATH": given}, path=path, is_submission=is_submission)["PATH"] == expected
