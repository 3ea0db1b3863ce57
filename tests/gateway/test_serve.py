import fcntl
import subprocess
import sys
from pathlib import Path


def test_a_second_gateway_on_one_data_folder_is_refused_in_words(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    argv = [str(Path(sys.executable).parent / "mltm-gateway"), "serve", "--port", "0", "--data-dir", str(data)]
    with (data / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=50)

    assert done.returncode == 1
    assert "Another gateway serves" in done.stderr
    assert "Traceback" not in done.stderr
