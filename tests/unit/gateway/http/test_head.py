from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.http.head import MAX_FIELDS, MAX_HEAD, Head, RefusedError

Fields = list[tuple[bytes, bytes]]
HOST = (b"Host", b"127.0.0.1:8080")


def read(fields: Fields, target: bytes = b"/", version: str = "1.1", *, upgrades: bool = False) -> str | None:
    """Return the key of the refusal, None if the head is in order."""
    head = Head()
    try:
        head.add_target(target)
        for name, value in fields:
            head.add_field(name, value)
        head.finish(target, version, upgrades=upgrades)
    except RefusedError as error:
        return error.key
    return None


def test_an_ordinary_head_is_taken() -> None:
    assert read([HOST, (b"Content-Length", b"3"), (b"Accept", b"*/*")]) is None
    assert read([HOST, (b"transfer-encoding", b"Chunked")]) is None
    assert read([(b"host", b"[::1]:80")], b"/a?b=c", "1.0") is None


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [HOST, HOST],
        [HOST, (b"HOST", b"other")],
        [(b"Host", b"")],
        [(b"Host", b"a b")],
        [(b"Host", b"a/b")],
        [(b"Host", b"a@b")],
        [(b"Host", b"a,b")],
        [HOST, (b"Content-Length", b"3"), (b"Content-Length", b"3")],
        [HOST, (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")],
        [HOST, (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"3")],
        [HOST, (b"Transfer-Encoding", b"xchunked")],
        [HOST, (b"Transfer-Encoding", b"gzip, chunked")],
        [HOST, (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
    ],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(fields: Fields) -> None:
    assert read(fields) == "bad_http"


@pytest.mark.parametrize("target", [b"*", b"http://127.0.0.1/", b"127.0.0.1:80", b""])
def test_a_target_is_a_path(target: bytes) -> None:
    assert read([HOST], target) == "bad_http"


def test_chunks_are_not_of_1_0_and_other_versions_and_protocols_are_not_spoken() -> None:
    assert read([HOST, (b"Transfer-Encoding", b"chunked")], version="1.0") == "bad_http"
    for version in ("0.9", "2.0", "1.2"):
        assert read([HOST], version=version) == "bad_http"
    assert read([HOST], upgrades=True) == "bad_http"


def test_a_field_behind_the_body_is_refused() -> None:
    head = Head()
    head.add_field(*HOST)
    head.finish(b"/", "1.1", upgrades=False)
    with pytest.raises(RefusedError):
        head.add_field(b"Authorization", b"Bearer x")


def test_a_head_has_bounds() -> None:
    assert read([HOST, *[(b"a", b"b")] * (MAX_FIELDS - 1)]) is None
    assert read([HOST, *[(b"a", b"b")] * MAX_FIELDS]) == "head_too_large"
    assert read([HOST, (b"a", b"x" * MAX_HEAD)]) == "head_too_large"
    assert read([HOST], b"/" * (MAX_HEAD + 1)) == "head_too_large"


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=8), st.binary(max_size=40)
)
def test_whatever_comes_is_taken_or_refused(fields: Fields, target: bytes) -> None:
    assert read(fields, target) in (None, "bad_http", "head_too_large")
