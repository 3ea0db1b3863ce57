"""A real browser, as an account of its own: it opens addresses, and says which of them ran a script or asked further.

`visit` runs in a process of its own: playwright drives Debian's Chromium, and nothing of the product is imported.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

from attack.accounts import Account
from attack.product import processes
from lab.packages import BROWSER_PROGRAMS, ensure_tools, find_program

__all__ = ["open_all", "visit"]

_SETTLE_MS = 15  #: after the page has loaded: what runs by a timer or by the focus
_OPEN_WITHIN_MS = 20_000
_WITHIN_S = 1800.0


def open_all(
    account: Account, home: Path, urls: Sequence[str], *, headers: Mapping[str, str], printed: str, needs: int
) -> list[list[str]]:
    """Open each address as a document; return what each did. home: the account's. printed: what a script would log.

    needs: after so many that did something it is enough; 0: open all.
    Chromium is installed if it is missing. Raises LabError if it cannot be.
    """
    ensure_tools(BROWSER_PROGRAMS, what="A browser")
    program = find_program("chromium")
    wanted = {
        "urls": list(urls), "headers": dict(headers), "printed": printed, "needs": needs, "program": program,
        "home": str(home),
    }  # fmt: skip
    (home / "wanted.json").write_text(json.dumps(wanted), encoding="utf-8")
    words = ["call", f"{__name__}:visit", str(home / "wanted.json")]
    said: list[list[str]] = json.loads(processes.call(account, "", words, home=home, within_s=_WITHIN_S))
    return said


def visit(place: str) -> None:
    """Open what the file asks for; print what each address did, as JSON."""
    wanted = json.loads(Path(place).read_text(encoding="utf-8"))
    tempfile.tempdir = os.environ["TMPDIR"] = wanted["home"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=wanted["program"], chromium_sandbox=True)
        page = browser.new_context(extra_http_headers=wanted["headers"]).new_page()
        did: list[str] = []
        page.on("console", lambda said: did.append("ran a script") if said.text == wanted["printed"] else None)
        page.on("popup", lambda _: did.append("opened a window"))
        told: list[list[str]] = []
        for url in wanted["urls"]:
            told.append(_open(page, did, url))
            if wanted["needs"] and sum(map(bool, told)) >= wanted["needs"]:
                break
        browser.close()
    json.dump(told, sys.stdout)


def _open(page: Page, did: list[str], url: str) -> list[str]:
    """What a page did. did: where its listeners write that."""
    did.clear()
    _load(page, url)
    return list(did)


def _load(page: Page, url: str) -> None:
    try:
        page.goto(url, timeout=_OPEN_WITHIN_MS)
        page.wait_for_timeout(_SETTLE_MS)
    except Error as error:
        if "Download is starting" not in error.message and "net::ERR_ABORTED" not in error.message:
            raise
