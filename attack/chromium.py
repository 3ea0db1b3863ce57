"""A real browser, as an account of its own: it opens addresses, and says which of them ran a script or asked further.

`visit` runs in a process of its own: playwright drives Debian's Chromium, and nothing of the product is imported.
"""

import functools
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from playwright.sync_api import BrowserContext, Dialog, Error, Page, sync_playwright

from attack.accounts import Account
from attack.product import processes
from lab.packages import BROWSER_PROGRAMS, ensure_tools, find_program

__all__ = ["open_all", "visit"]

_SETTLE_MS = 15  #: after the page has loaded: what runs by a timer or by the focus
_OPEN_WITHIN_MS = 20_000
_WITHIN_S = 1800.0


def open_all(
    account: Account, home: Path, urls: Sequence[str], *, headers: Mapping[str, str], printed: str
) -> list[list[str]]:
    """Open each address as a document; return what each did. home: the account's. printed: what a script would log.

    Chromium is installed if it is missing. Raises LabError if it cannot be.
    """
    ensure_tools(BROWSER_PROGRAMS, what="A browser")
    program = find_program("chromium")
    wanted = {"urls": list(urls), "headers": dict(headers), "printed": printed, "program": program, "home": str(home)}
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
        context = browser.new_context(extra_http_headers=wanted["headers"], service_workers="block")
        told = [_open(context, url, wanted["printed"]) for url in wanted["urls"]]
        browser.close()
    json.dump(told, sys.stdout)


def _open(context: BrowserContext, url: str, printed: str) -> list[str]:
    """What a page did, opened in a tab of its own."""
    did: list[str] = []
    page = context.new_page()
    page.on("dialog", functools.partial(_note_dialog, did))
    page.on("console", lambda message: did.append("it ran a script") if message.text == printed else None)
    page.on("popup", lambda _: did.append("it opened a window"))
    _load(page, url)
    if page.url not in {url, "about:blank"} and not page.url.startswith(url):
        did.append(f"it led to {page.url[:80]}")
    page.close()
    return did


def _note_dialog(did: list[str], dialog: Dialog) -> None:
    did.append("it showed a dialog")
    dialog.dismiss()


def _load(page: Page, url: str) -> None:
    try:
        page.goto(url, timeout=_OPEN_WITHIN_MS)
        page.wait_for_timeout(_SETTLE_MS)
    except Error as error:
        if "Download is starting" not in error.message and "net::ERR_ABORTED" not in error.message:
            raise
