from pathlib import Path

import pytest

from mltm.wire.downloads import place_inside
from mltm.wire.errors import MltmError


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", ".", "a/\x00"])
def test_an_output_cannot_lead_out_of_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(MltmError, match="is outside the folder, so it was not downloaded"):
        place_inside(tmp_path, path)
