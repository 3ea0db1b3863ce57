from pathlib import Path

import pytest

from mltm.runtime import mounts
from mltm.runtime.mounts import find_file_system, is_seen_whole, read_file_system

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:50 / /home rw - nfs4 server:/home rw,vers=4.2
24 22 0:51 / /scratch rw shared:2 master:3 - lustre 10.0.0.1@tcp:/s rw
25 24 0:52 / /scratch/local\040disk rw - xfs /dev/vdb rw
26 22 0:53 / /gpfs rw - gpfs g rw
27 22 0:54 / /bee rw - beegfs b rw
28 22 0:55 / /fuse rw - fuse.sshfs s rw
29 22 0:56 / /run rw - tmpfs tmpfs rw
30 29 0:57 / /run rw - cifs //s/run rw
31 22 0:58 / /new rw - somethingfs x rw
broken line
"""
PLACES = [
    ("/srv/spool", "ext4", True),
    ("/home/ana/spool", "nfs4", False),
    ("/homes/spool", "ext4", True),
    ("/scratch/spool", "lustre", False),
    ("/scratch/local disk/spool", "xfs", True),
    ("/gpfs/spool", "gpfs", False),
    ("/bee", "beegfs", False),
    ("/fuse/spool", "fuse.sshfs", False),
    ("/run/spool", "cifs", False),
    ("/new/spool", "somethingfs", False),
]


@pytest.mark.parametrize(("place", "kind", "whole"), PLACES)
def test_the_file_system_of_a_place_says_whether_inotify_sees_everything(place: str, kind: str, *, whole: bool) -> None:
    found = find_file_system(Path(place), MOUNTS)

    assert (found, is_seen_whole(found)) == (kind, whole)


def test_an_unknown_file_system_is_polled() -> None:
    assert not is_seen_whole(find_file_system(Path("/srv"), ""))


def test_the_way_to_a_file_may_lead_over_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    (tmp_path / "mountinfo").write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:50 / {real} rw - nfs4 s:/ rw\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "mountinfo")

    assert read_file_system(link / "spool") == "nfs4"


def test_without_proc_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "none")

    assert read_file_system(tmp_path) == ""
