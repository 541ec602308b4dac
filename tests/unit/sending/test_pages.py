"""What a page says of itself, and where the link of a text ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sending.forms import MAX_LINK
from orchestrator.sending.pages import MAX_DESCRIPTION, MAX_PAGE, MAX_TITLE, Page, first_link, read

URL = "https://shop.example/a/b?c=d"


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("", None), ("no link", None), ("http://", None), ("https://.", None), ("ftp://example.com/x", None),
        ("www.example.com", None), ("javascript:alert(1)", None), ("file:///etc/passwd", None),
        ("see https://example.com.", "https://example.com"),
        ("HTTPS://Example.com/X?y=z#q, and http://second.example", "HTTPS://Example.com/X?y=z#q"),
        ("(https://en.wikipedia.example/wiki/A_(b))", "https://en.wikipedia.example/wiki/A_(b)"),
        ("[https://example.com/]!", "https://example.com/"),
        ("<https://example.com/a>", "https://example.com/a"),
        ("https://example.com/ä?ö", "https://example.com/ä?ö"),
        ("https://a\\@b", "https://a"),
        ("https://example.com/" + "x" * 3000, None),
    ],
)  # fmt: skip
def test_the_first_link_of_a_text_is_found(text: str, link: str | None) -> None:
    assert first_link(text) == link


@given(st.text() | st.from_regex(r"https?://[ -~]{0,50}"))
def test_a_link_is_a_part_of_its_text(text: str) -> None:
    link = first_link(text)
    if link is not None:
        assert link in text
        assert link.lower().startswith(("http://", "https://"))
        assert len(link) <= MAX_LINK


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("", None), ("<p>Hello</p>", None), ("<title></title>", None), ("<title>Cut", None),
        ("<title>A &amp; B\n</title>", Page("A & B")),
        ("<title lang='en'>A</title><title>B</title>", Page("A")),
        ('<meta property="og:title" content="T"><title>A</title>', Page("T")),
        ("<META CONTENT='T' NAME='twitter:title'>", Page("T")),
        ('<title>A</title><meta name="description" content="D &quot;x&quot;">', Page("A", 'D "x"')),
        ('<title>A</title><meta property="og:description" content="O"><meta name="description" content="D">',
         Page("A", "O")),
        ('<title>A</title><meta property="og:image" content="/i.png">',
         Page("A", None, "https://shop.example/i.png")),
        ('<title>A</title><meta property="og:image" content="//cdn.example/i.png?a=1&amp;b=2">',
         Page("A", None, "https://cdn.example/i.png?a=1&b=2")),
        ('<title>A</title><meta property="og:image" content="file:///etc/passwd">', Page("A")),
        ('<title>A</title><meta property="og:image" content="data:image/png;base64,x">', Page("A")),
        ('<title>A</title><meta property="og:image" content="http://[">', Page("A")),
        ("<title>\u202eA\u200b\x00 &#x202e;&#0;B</title>", Page("A \ufffdB")),
    ],
)  # fmt: skip
def test_a_page_says_what_it_is(page: str, found: Page | None) -> None:
    assert read(page.encode(), URL) == found


def test_old_encodings_are_read() -> None:
    page = '<meta http-equiv="x" content="text/html; charset=ISO-8859-1"><title>Grüße</title>'
    assert read(page.encode("latin-1"), URL) == Page("Grüße")
    assert read("<title>Grüße</title>".encode("latin-1"), URL) == Page("Gr\ufffd\ufffde")
    assert read(b'<meta charset="utf-7"><title>+AGE-</title>', URL) == Page("+AGE-")


def test_what_is_shown_has_bounds() -> None:
    page = f"<title>{'x' * 900}</title><meta name=description content='{'y' * 1900}'>"
    found = read(page.replace("name=description", 'name="description"').encode(), URL)
    assert found is not None
    assert found.description is not None
    assert (len(found.title), len(found.description)) == (MAX_TITLE, MAX_DESCRIPTION)
    assert read(b" " * MAX_PAGE + b"<title>A</title>", URL) is None
    assert "xxx" not in repr(found)


PARTS = [
    "<meta ", "<title>", "</title>", ">", "<", 'content="', "'", '"', "=", "a", "&#", "property=", "og:image",
    "http://[", " ",
]  # fmt: skip


@given(
    st.binary(max_size=500)
    | st.lists(st.sampled_from(PARTS), max_size=60).map(lambda parts: "".join(parts).encode())
)
def test_any_bytes_are_read(data: bytes) -> None:
    found = read(data, URL)
    if found is not None:
        assert found.title.isprintable()
        assert (found.description or "").isprintable()
        assert found.image is None or found.image.startswith(("http://", "https://"))
