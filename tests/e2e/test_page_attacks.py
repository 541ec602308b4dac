"""Who attacks an operator's browser: by what they write, by files they send, by websites of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect
from support.browser import Screens, browsing
from support.page_running import PageWorld

from orchestrator.accounts.states import State

NEEDLE: Final = "<img src=x onerror=\"document.title='it ran'\"><script>document.title='it ran'</script>"
CANARY: Final = "/api/canary"
RUN: Final = f"fetch('{CANARY}'); new Image().src='{CANARY}'; document.title='it ran';"
SVG: Final = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'
HTML: Final = f'<!doctype html><title>x</title><body onload="{RUN}"><script>{RUN}</script>'
XHTML: Final = (
    f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title>'
    f"<script>{RUN}</script></head><body/></html>"
)
XSLT: Final = (
    '<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#s"?><!DOCTYPE d ['
    '<!ATTLIST xsl:stylesheet id ID #REQUIRED>]><d><xsl:stylesheet id="s" version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
    f'<xsl:template match="/"><html><script>{RUN}</script></html></xsl:template></xsl:stylesheet></d>'
)
PDF: Final = (
    f"%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.launchURL('{CANARY}'))>>"
    "/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
)
POLYGLOT: Final = f"GIF89a=1;{RUN}//"
FILES: Final = {
    "svg": (SVG, "image/svg+xml", "a.svg"),
    "html": (HTML, "text/html", "a.html"),
    "xhtml": (XHTML, "application/xhtml+xml", "a.xhtml"),
    "xslt": (XSLT, "application/xml", "a.xml"),
    "pdf": (PDF, "application/pdf", "a.pdf"),
    "polyglot": (POLYGLOT, "image/gif", "a.gif"),
    "html as a picture": (HTML, "image/png", "a.png"),
    "header": (HTML, "text/html\r\nX-Evil: 1", "a\r\nX-Evil: 1.html"),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PageWorld]:
    with PageWorld(tmp_path, 12, consumers=True) as running:
        yield running


@pytest.fixture
def website() -> Iterator[tuple[dict[str, str], int]]:
    """A website of somebody else: its pages by path, and its port. Every name of this machine leads there."""
    pages: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield pages, server.server_port
        server.shutdown()
        thread.join()


def enter(page: Page, world: PageWorld) -> None:
    page.goto(world.login())
    expect(page.locator("#table tr[data-name]").first).to_be_visible()


@browsing
def test_what_others_write_is_shown_as_text(world: PageWorld, screens: Screens) -> None:
    name = next(name for name, view in world.accounts.views.items() if view.state == State.CONNECTED)
    world.accounts.more[name].tags = [NEEDLE]
    world.do(world.accounts.change, name, state=State.FAILED, kind="crash", reason=f"it said {NEEDLE}",
             phone=NEEDLE)  # fmt: skip
    rows = world.running.running.services.dispatcher.rows
    rows["billing"] |= {"why": NEEDLE}
    world.running.running.services.flows._times.failed("billing", NEEDLE)
    page = screens.open()
    enter(page, world)
    views = [f"/?view={view}" for view in ("codes", "deliveries", "sending", "fleet")]
    filters = ["/?q=%3Cimg%20src=x%20onerror=1%3E", "/?tag=%3Cscript%3E1%3C/script%3E"]
    for address in ("/", f"/?account={name}", *views, *filters):
        page.goto(world.origin + address)
        expect(page.locator("#app")).to_be_visible()
        expect(page.locator("main > section").filter(visible=True)).to_be_visible()
        if address == "/":
            expect(page.locator("#table")).to_contain_text(NEEDLE[:20])
        if "account" in address:
            expect(page.get_by_label("Details of an account")).to_contain_text(f"it said {NEEDLE}")
        assert "it ran" not in page.title()
        assert page.locator("img[src='x']").count() == 0
        assert page.locator("script:not([src])").count() == 0


@pytest.mark.parametrize("kind", FILES)
@browsing
def test_a_file_that_somebody_sent_never_runs(world: PageWorld, screens: Screens, kind: str) -> None:
    data, mime_type, file_name = FILES[kind]
    account = next(iter(world.accounts.views))
    path = "/api/media/4711"
    feed = world.running.running.services.feed
    world.do(feed.add_file, "4711", account, data.encode(), mime_type=mime_type, file_name=file_name)
    page = screens.open()
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    enter(page, world)
    screens.watches = False  # what a browser refuses, it says in the console
    # The address itself: the browser keeps the file, and shows nothing of it.
    with page.expect_download() as kept:
        page.evaluate("(path) => { location.href = path; }", path)
    assert Path(kept.value.path()).read_bytes() == data.encode()
    # In a page of the same origin that has no policy, as an attacker would like to have it.
    bait = f"{world.origin}/bait"
    page.route(bait, lambda route: route.fulfill(body="<title>bait</title>", content_type="text/html"))
    page.goto(bait)
    for tag, attribute in (
        ("iframe", "src"),
        ("object", "data"),
        ("embed", "src"),
        ("img", "src"),
        ("script", "src"),
    ):
        with page.expect_response(lambda response: response.url.endswith(path)) as answered:
            page.evaluate(
                "([tag, attribute, path]) => { const one = document.createElement(tag);"
                " one[attribute] = path; document.body.append(one); }",
                [tag, attribute, path],
            )
        headers = answered.value.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
        assert "x-evil" not in headers
    page.evaluate("() => new Promise((done) => setTimeout(done))")
    assert page.title() == "bait"
    assert not [url for url in asked if CANARY in url]


def visit(screens: Screens, port: int, host: str = "localhost") -> Page:
    """Open a website of somebody else in the browser that is logged in."""
    page = screens.contexts[0].new_page()
    page.goto(f"http://{host}:{port}/")
    return page


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
@browsing
def test_no_other_website_shows_the_page_in_a_frame(
    world: PageWorld, screens: Screens, website: tuple[dict[str, str], int], host: str
) -> None:
    pages, port = website
    pages["/"] = f"<title>bait</title><iframe src='{world.origin}/'></iframe>"
    enter(screens.open(), world)
    screens.watches = False
    page = visit(screens, port, host)
    frame = page.frames[-1]
    assert frame is not page.main_frame
    assert frame.locator("#app").count() == 0
    assert not [name for name in world.accounts.views if name in frame.locator("body").inner_text()]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
@browsing
def test_no_other_website_acts_in_an_operators_name(
    world: PageWorld, screens: Screens, website: tuple[dict[str, str], int], host: str
) -> None:
    pages, port = website
    name = next(name for name, view in world.accounts.views.items() if view.state == State.CONNECTED)
    target = f"{world.origin}/api/accounts/{name}/stop"
    pages["/"] = f"""<title>bait</title>
        <form id=plain method=post enctype=text/plain action='{target}'>
        <input name='{{"a":"' value='"}}'></form>
        <form id=usual method=post action='{target}'></form>"""
    enter(screens.open(), world)
    screens.watches = False
    for form in ("plain", "usual"):
        page = visit(screens, port, host)
        with page.expect_response(lambda response: response.url == target) as answered:
            page.evaluate("(id) => document.getElementById(id).submit()", form)
        assert answered.value.status in (401, 403)
    page = visit(screens, port, host)
    for more in ("mode: 'no-cors'", "headers: {'Content-Type': 'application/json'}"):
        options = f"{{method: 'POST', credentials: 'include', {more}}}"
        page.evaluate(f"(url) => fetch(url, {options}).then(() => 0, () => 0)", target)
    assert world.accounts.views[name].state == State.CONNECTED
    assert not [one for one in world.accounts.asked if one[1] == "stop"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
@browsing
def test_no_other_website_follows_the_stream_or_reads_anything(
    world: PageWorld, screens: Screens, website: tuple[dict[str, str], int], host: str
) -> None:
    pages, port = website
    pages["/"] = "<title>bait</title>"
    enter(screens.open(), world)
    screens.watches = False
    page = visit(screens, port, host)
    for path in ("/page/stream", "/api/accounts/stream"):
        heard = page.evaluate(
            """(url) => new Promise((done) => {
                const source = new EventSource(url, { withCredentials: true });
                for (const kind of ["open", "hello", "accounts", "message", "error"]) {
                    source.addEventListener(kind, () => { source.close(); done(kind); });
                }
            })""",
            world.origin + path,
        )
        assert heard == "error"
    for path in ("/api/accounts", "/page/session", "/page/strips"):
        read = page.evaluate(
            "(url) => fetch(url, {credentials: 'include'}).then((answer) => answer.text(), () => null)",
            world.origin + path,
        )
        assert read is None
    # A link to a picture of a code shows nothing, either.
    shown = page.evaluate(
        """(url) => new Promise((done) => {
            const image = new Image();
            image.onload = () => done(true);
            image.onerror = () => done(false);
            image.src = url;
        })""",
        f"{world.origin}/api/accounts/{next(iter(world.accounts.views))}/qr.png",
    )
    assert shown is False


@browsing
def test_a_page_of_another_website_has_no_hold_on_the_window_of_the_page(
    world: PageWorld, screens: Screens, website: tuple[dict[str, str], int]
) -> None:
    pages, port = website
    pages["/"] = f"<title>bait</title><a id=go target=_blank rel=opener href='{world.origin}/'>go</a>"
    enter(screens.open(), world)
    screens.watches = False
    page = visit(screens, port)
    with page.expect_popup() as opened:
        page.locator("#go").click()
    popup = opened.value
    expect(popup.get_by_label("Views")).to_be_attached()
    popup.wait_for_function("() => window.opener === null")
