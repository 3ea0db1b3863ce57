"""What the pages point at is there: files, headings, and the paths of code that they name."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
_FOLDERS = ("agent", "bench", "chaos", "docs", "examples", "gateway", "lab", "mltm", "singularity", "systemd", "tests")
PAGES = sorted(
    page.relative_to(CHECKOUT)
    for page in [*CHECKOUT.glob("*.md"), *(found for name in _FOLDERS for found in (CHECKOUT / name).rglob("*.md"))]
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAMED = re.compile(rf"`((?:{'|'.join(_FOLDERS)})/[\w./-]+)`")


def read_prose(page: Path) -> str:
    """A page without its blocks of code."""
    text = re.sub(r"(?ms)^```.*?^```$", "", (CHECKOUT / page).read_text())
    return re.sub(r"(?m)^    .*$", "", text)


@cache
def list_anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"(?m)^#{1,6} +(.+?) *$", read_prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        anchors.add(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
        found[anchor] += 1
    return frozenset(anchors)


def list_broken_links(page: Path) -> list[str]:
    broken = []
    for link in _LINK.findall(read_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (CHECKOUT / page.parent / unquote(name)).resolve() if name else CHECKOUT / page
        is_there = target.exists() and target.is_relative_to(CHECKOUT)
        if not is_there or (anchor and anchor not in list_anchors(target.relative_to(CHECKOUT))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    assert list_broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = _NAMED.findall(read_prose(page))

    assert [path for path in named if not (CHECKOUT / path).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = CHECKOUT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text())}
    pages = {CHECKOUT / page for page in PAGES if page.parent == Path("docs")} - {index}

    assert sorted(str(page) for page in pages - listed) == []


def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "CHECKOUT", tmp_path)
    (tmp_path / "other.md").write_text("# Rule 1: intent before `sbatch`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#rule-1-intent-before-sbatch) [b](gone.md) [c](other.md#rule-2) [d](https://example.org)\n"
    )

    assert list_broken_links(Path("page.md")) == ["gone.md", "other.md#rule-2"]
