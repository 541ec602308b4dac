"""Pictures of the page: each view on a desktop and a phone, light and dark, with few accounts and many.

Run as ``python -m benchmarks.screenshots [--out FOLDER] [--accounts 3 300] [--only VIEW] [--docs]``. The page
is the real one, with accounts that exist in memory only (`support.page_world`); the same ones each time. A
picture is named by the number of accounts, the view and the screen: ``300-accounts-phone-dark.png``. With
``--docs`` the two pictures of the documentation are made anew, in docs/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page
from support.browser import DESKTOP, PHONE, Browser, Screens
from support.page_running import PageWorld

from orchestrator.accounts.states import State

MOST_BYTES = 150_000
"""Bytes of a picture in the documentation."""
BEATS_SECONDS = 25.0
"""Until all processes have said twice what they use: only then the page knows their share of the CPU."""
_CODES = "() => [...document.querySelectorAll('#view-codes img')].some((one) => one.naturalWidth > 0)"
VIEWS = ("accounts", "codes", "deliveries", "sending", "fleet", "details", "add")
DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass(frozen=True, slots=True)
class Screen:
    """What somebody looks at the page with.

    Attributes:
        name: For the name of the picture.
        size: The width and height of its window.
        dark: Whether the person prefers dark colors.
        touch: Whether the screen is touched.
    """

    name: str
    size: tuple[int, int]
    dark: bool = False
    touch: bool = False


SCREENS = (
    Screen("desktop", DESKTOP),
    Screen("desktop-dark", DESKTOP, dark=True),
    Screen("phone", PHONE, touch=True),
    Screen("phone-dark", PHONE, dark=True, touch=True),
)


@contextmanager
def pages(world: PageWorld, browser: Browser, screen: Screen, scale: float = 1) -> Iterator[Page]:
    """Open the page of a world; what it does that it must not do is an error."""
    screens = Screens(browser)
    page = screens.open(screen.size, dark=screen.dark, touch=screen.touch, scale=scale)
    page.goto(world.login())
    page.wait_for_selector("#app:not([hidden])")
    try:
        yield page
    finally:
        screens.close()
    screens.check()


def show(world: PageWorld, page: Page, view: str) -> None:
    """Go to a view, and wait until it is there."""
    name = next(name for name, one in world.accounts.views.items() if one.state == State.CONNECTED)
    if view in ("accounts", "details", "add"):
        page.goto(f"{world.origin}/" + (f"?account={name}" if view == "details" else ""))
    else:
        page.goto(f"{world.origin}/?view={view}")
    page.wait_for_selector("#app:not([hidden])")
    if view == "add":
        page.locator(".add-account").click()
    if view == "codes":
        page.wait_for_function(_CODES)
    # The stream stays open, so that the network is never idle.
    page.wait_for_timeout(2000)


def make(folder: Path, counts: Sequence[int], views: Sequence[str]) -> list[Path]:
    """Make pictures; return where they are."""
    browser = Browser()
    made = []
    try:
        for count in counts:
            with (
                tempfile.TemporaryDirectory() as own,
                PageWorld(Path(own), count, consumers=True, beats=True) as world,
            ):
                time.sleep(BEATS_SECONDS)
                for screen in SCREENS:
                    for view in views:
                        path = folder / f"{count}-{view}-{screen.name}.png"
                        browser.do(_take, world, browser, screen, view, path)
                        made.append(path)
    finally:
        browser.stop()
    return made


def _take(
    world: PageWorld, browser: Browser, screen: Screen, view: str, path: Path, scale: float = 1
) -> None:
    with pages(world, browser, screen, scale) as page:
        show(world, page, view)
        page.screenshot(path=path)


def make_docs() -> list[Path]:
    """Make the pictures of the documentation; return where they are."""
    browser = Browser()
    made = [DOCS / "page.png", DOCS / "page-phone.png"]
    try:
        with (
            tempfile.TemporaryDirectory() as own,
            PageWorld(Path(own), 300, consumers=True, beats=True) as world,
        ):
            time.sleep(BEATS_SECONDS)
            browser.do(_take, world, browser, SCREENS[0], "accounts", made[0])
            browser.do(_take, world, browser, SCREENS[3], "codes", made[1])
    finally:
        browser.stop()
    return made


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--accounts", type=int, nargs="+", default=[3, 300])
    parser.add_argument("--only", choices=VIEWS, nargs="+", default=list(VIEWS), metavar="VIEW")
    parser.add_argument("--docs", action="store_true", help="make the pictures of the documentation anew")
    options = parser.parse_args()
    if options.docs:
        made = make_docs()
    else:
        options.out.mkdir(parents=True, exist_ok=True)
        made = make(options.out, options.accounts, options.only)
    for path in made:
        size = path.stat().st_size
        print(f"{path}: {size:,} bytes" + (" (too large for docs/)" if size > MOST_BYTES else ""))


if __name__ == "__main__":
    main()
