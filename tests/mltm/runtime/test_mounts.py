"""The file system of a path, from the text of mountinfo."""

from pathlib import Path

import pytest

from mltm.runtime.mounts import find_file_system

MOUNTS = """\
30 22 0:44 / /home rw,relatime shared:9 - nfs4 server:/home rw
31 30 0:45 / /home/local\\040disk rw - xfs /dev/sdb1 rw
22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/mltm/gateway.sqlite", "ext4"),
        ("/home/ada/gateway.sqlite", "nfs4"),
        ("/home/local disk/gateway.sqlite", "xfs"),
        ("/homework/gateway.sqlite", "ext4"),
    ],
)
def test_the_file_system_of_a_path_is_found(path: str, kind: str) -> None:
    assert find_file_system(Path(path), MOUNTS) == kind
