import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.webhooks.address import Address


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://crm.example/hook", Address("crm.example", 80, False, b"/hook", b"crm.example")),
        ("https://crm.example", Address("crm.example", 443, True, b"/", b"crm.example")),
        (
            "https://crm.example:443/a?b=c&d=%20e",
            Address("crm.example", 443, True, b"/a?b=c&d=%20e", b"crm.example"),
        ),
        ("http://CRM.example:8080/?q", Address("crm.example", 8080, False, b"/?q", b"crm.example:8080")),
        ("http://[::1]:8000/x#part", Address("::1", 8000, False, b"/x", b"[::1]:8000")),
        ("http://[::1]", Address("::1", 80, False, b"/", b"[::1]")),
        (
            "http://bücher.example/ü ö",
            Address("xn--bcher-kva.example", 80, False, b"/%C3%BC%20%C3%B6", b"xn--bcher-kva.example"),
        ),
        ("https://me:p%40ss@h/", Address("h", 443, True, b"/", b"h", b"Basic bWU6cEBzcw==")),
        ("https://me@h/", Address("h", 443, True, b"/", b"h", b"Basic bWU6")),
    ],
)
def test_urls(url: str, wanted: Address) -> None:
    assert Address.of(url) == wanted


@pytest.mark.parametrize(
    "url", ["", "needle", "ftp://needle/", "http://", "http:///needle", "http://needle:99999/", "http://[needle/",
            "http://" + "ü" * 300 + "needle/", "http://needle:x/"],
)  # fmt: skip
def test_what_is_none_is_told_without_it(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - each has words of its own
        Address.of(url)
    assert "needle" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(min_size=0, max_size=40), st.text(max_size=40))
def test_whatever_a_path_has_the_request_has_one_line(path: str, query: str) -> None:
    try:
        address = Address.of(f"http://h/{path}?{query}")
    except ValueError:
        return
    request = b"POST %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (address.target, address.authority)
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(request)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    assert event.target == address.target
    assert [name for name, _ in event.headers] == [b"host"]
