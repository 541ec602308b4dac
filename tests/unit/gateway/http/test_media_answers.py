from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.http import sniffing
from orchestrator.gateway.http.routes.media import disposition, part


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a/*", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", sniffing.OTHER),
        (b"OggS\x00", "audio/ogg"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x00\x00\x00\x18ftyp3gp5", "video/3gpp"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/mp4"),
        (b"\x00\x00\x00\x18ftypheic", sniffing.OTHER),
        (b"<svg xmlns=", sniffing.OTHER),
        (b"<!doctype html>", sniffing.OTHER),
        (b"%PDF-1.7", sniffing.OTHER),
        (b"PK\x03\x04", sniffing.OTHER),
        (b"", sniffing.OTHER),
    ],
)
def test_a_file_is_what_its_first_bytes_say(head: bytes, kind: str) -> None:
    assert sniffing.media_type(head) == kind


@given(st.binary(max_size=100))
def test_no_file_is_anything_that_runs(head: bytes) -> None:
    assert sniffing.media_type(head) in sniffing.TYPES | {sniffing.OTHER}
    assert len(sniffing.TYPES) == 11
    assert all(
        kind.split("/")[0] in ("image", "audio", "video") and "svg" not in kind for kind in sniffing.TYPES
    )


@given(st.text(max_size=300) | st.none() | st.integers())
def test_a_name_never_gets_out_of_its_header(name: object) -> None:
    header = disposition(name, "17")
    assert re.fullmatch(r"attachment; filename=\"17\"(; filename\*=UTF-8''[A-Za-z0-9._~%-]+)?", header)


@given(
    st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True), st.integers(0, 2000)
)
def test_a_range_lies_within_the_file(wanted: str, size: int) -> None:
    found = part(wanted, size)
    if found is not None:
        begin, end = found
        assert 0 <= begin <= end <= size
