"""A real browser: Debian's chromium, driven by playwright. `Browser` is one for all tests of a worker.

Each test gets contexts of its own, which share nothing. Whatever a page does that it must not do fails the
test: an error in the console, an exception, a request to another host, something that its policy refuses.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, Request, expect
from playwright.sync_api import sync_playwright as playwright

P = ParamSpec("P")
T = TypeVar("T")

MUST_BROWSE: Final = "ORCHESTRATOR_TESTS_MUST_BROWSE"
"""The variable with which tests fail, and are not skipped, where there is no chromium."""
PATIENCE: Final = 90_000.0
"""Milliseconds for what takes some on an idle machine."""
DESKTOP: Final = (1280, 800)
PHONE: Final = (390, 844)
AXE: Final = Path(__file__).parent / "axe" / "axe.min.js"
SERIOUS: Final = frozenset({"serious", "critical"})
_OPTIONS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--force-color-profile=srgb",
)
_TELL_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`refused by the policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
});
"""


def chromium() -> str | None:
    """Return where the browser is, None without one."""
    return shutil.which("chromium")


class Browser:
    """A chromium, and the thread that everything of playwright's runs in.

    playwright leaves an event loop behind in the thread that uses it, and no other test could run one there.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "browser")
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None

    def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in the browser's thread, and return what it returns."""
        return self._thread.submit(work, *args, **kwargs).result()

    def start(self) -> None:
        """Start the browser, unless it runs already. Call it in the browser's thread.

        A browser that has crashed is replaced by another one.
        """
        if self._chromium is not None and self._chromium.is_connected():
            return
        if self._playwright is None:
            expect.set_options(timeout=PATIENCE)
            self._playwright = playwright().start()
        arguments = [*_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        self._chromium = self._playwright.chromium.launch(
            executable_path=chromium(), args=arguments, timeout=PATIENCE
        )

    @property
    def version(self) -> str:
        """Which chromium that is."""
        assert self._chromium is not None
        return self._chromium.version

    def context(self, **options: Any) -> BrowserContext:  # noqa: ANN401 - those of playwright
        """Return a context that shares nothing with others. Call this in the browser's thread."""
        self.start()
        assert self._chromium is not None
        context = self._chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        context.set_default_navigation_timeout(PATIENCE)
        return context

    def stop(self) -> None:
        """End the browser."""
        self.do(self._stop)
        self._thread.shutdown()

    def _stop(self) -> None:
        if self._chromium is not None:
            self._chromium.close()
        if self._playwright is not None:
            self._playwright.stop()


class Screens:
    """The contexts of a test, and what their pages did that they must not do.

    Args:
        browser: The browser.

    Attributes:
        wrong: What must not be, a sentence each.
        refused: Ends of addresses of which an error may come, as a test has it.
        watches: Whether anything is a fault. A test turns this off before it attacks.
        contexts: The contexts, the first opened first.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.contexts: list[BrowserContext] = []
        self.wrong: list[str] = []
        self.refused: set[str] = {"/page/session"}
        self.watches = True

    def open(
        self, size: tuple[int, int] = DESKTOP, *, dark: bool = False, touch: bool = False, scale: float = 1
    ) -> Page:
        """Return an empty page in a context of its own.

        Args:
            size: The width and the height of the window.
            dark: Whether the person prefers dark colors.
            touch: Whether the screen is touched.
            scale: Pixels of the screen for one of the page.
        """
        context = self._browser.context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            has_touch=touch,
            is_mobile=touch,
            device_scale_factor=scale,
            locale="en-US",
        )
        self.contexts.append(context)
        context.add_init_script(_TELL_VIOLATIONS)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._note(f"an exception: {error}"))
        page.on("crash", lambda _: self._note("the page crashed"))
        context.on("request", functools.partial(self._see, page))
        return page

    def _note(self, what: str) -> None:
        if self.watches:
            self.wrong.append(what)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        where = urlsplit(message.location.get("url", "")).path
        if message.text.startswith("Failed to load resource") and any(map(where.endswith, self.refused)):
            return
        self._note(f"in the console: {message.text} ({message.location.get('url')})")

    def _see(self, page: Page, request: Request) -> None:
        there, here = urlsplit(request.url), urlsplit(page.url)
        if there.scheme in ("data", "blob") or not here.netloc:
            return
        if there.netloc != here.netloc:
            self._note(f"a request to another host: {request.url}")

    def close(self) -> None:
        """Close all pages. Call it in the browser's thread."""
        for context in self.contexts:
            context.close()

    def check(self) -> None:
        """Check that no page did what it must not do.

        Raises:
            AssertionError: One did.
        """
        assert not self.wrong, "\n".join(self.wrong)


def findings(page: Page, **options: Any) -> list[str]:  # noqa: ANN401 - those of axe
    """Return what axe-core finds on a page that is serious: the rule, and where."""
    # Not as a script of the page, which its policy would refuse.
    page.evaluate(f"() => {{ {AXE.read_text()}; window.axe = axe; }}")
    found = page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def browsing(test: Callable[P, None]) -> Callable[P, None]:
    """Have a test run in the browser's thread. It takes the fixture `screens`."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        screens = kwargs["screens"]
        assert isinstance(screens, Screens)
        screens._browser.do(test, *args, **kwargs)
        screens.check()

    return run


def skip_without_chromium() -> None:
    """Skip a test where there is no browser, unless there must be one."""
    if chromium() is None:
        why = "there is no chromium: `apt-get install chromium`"
        if os.environ.get(MUST_BROWSE):
            pytest.fail(why)
        pytest.skip(why)
