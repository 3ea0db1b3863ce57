from pathlib import Path

import pytest

from lab.cache import find_cache, make_key, make_once


def test_what_was_not_built_to_its_end_is_not_used(tmp_path: Path) -> None:
    target = tmp_path / "roots" / "one"

    def fail(private: Path) -> None:
        private.mkdir()
        (private / "half").touch()
        raise InterruptedError

    def build(private: Path) -> None:
        assert not private.exists()
        private.mkdir()
        (private / "whole").touch()

    with pytest.raises(InterruptedError):
        make_once(target, fail)
    assert not target.exists()

    assert make_once(target, build) == target
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert make_once(target, fail) == target


def test_the_cache_is_where_it_was_asked_for(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert find_cache(home) == tmp_path / ".cache" / "ml-task-manager"
    assert find_cache({**home, "XDG_CACHE_HOME": "/x"}) == Path("/x/ml-task-manager")
    assert find_cache({**home, "XDG_CACHE_HOME": "/x", "MLTM_CACHE": "/y"}) == Path("/y")


def test_a_key_tells_parts_apart() -> None:
    assert len({make_key("a", "b"), make_key("ab"), make_key("ab", ""), make_key("", "ab"), make_key(b"b", "a")}) == 5
