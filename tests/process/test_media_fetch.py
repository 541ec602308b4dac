"""Fetching a file from a host that misbehaves: what is tried again, what is not, and that nothing is left."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from support.blob_server import BlobServer, Speaker, answer, cut, raw, silence

from orchestrator.accounts.attachments import Fault, MissingError
from orchestrator.accounts.proxy import parse
from orchestrator.messages.media import Kind, Reference
from orchestrator.messages.media_files import MediaFiles
from orchestrator.sandbox.crypto.certs import Authority
from orchestrator.sandbox.crypto.media import encrypt
from orchestrator.worker.media import transfer
from orchestrator.worker.media.fetch import TRIES, fetch

ID = "4611686018427387904"
LIMIT = 1 << 20
DATA = os.urandom(200_003)
SEALED = encrypt(DATA, "document")
BLOB = SEALED.blob
REFERENCE = Reference(
    "document", "/v/blob?ccb=11-4", SEALED.key, SEALED.sha256, SEALED.blob_sha256, SEALED.length
)
GOOD = answer(body=BLOB)
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_make(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
def files(tmp_path: Path) -> Iterator[MediaFiles]:
    found = MediaFiles(tmp_path)
    yield found
    left = {one.name for one in found.folder.iterdir()} if found.folder.exists() else set()
    assert left <= {ID}, "something is left of a try"


@pytest.fixture
def get(authority: Authority, files: MediaFiles, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Fetch from a server that says these things, one after the other; return what it was asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))

    def get(*speakers: Speaker, reference: Reference = REFERENCE, limit: int = LIMIT) -> list[str]:
        with BlobServer(authority, speakers) as server:
            try:
                fetch(files, ID, reference, limit=limit, proxy=parse(server.url), wait=lambda _: None)
            except MissingError as error:
                error.add_note(f"asked {len(server.asked)} times")
                raise
            return server.asked

    return get


def fault(get: Callable[..., list[str]], *speakers: Speaker, **options: object) -> tuple[Fault, int, str]:
    """Return why it failed, how often it was tried, and the words."""
    with pytest.raises(MissingError) as caught:
        get(*speakers, **options)
    (note,) = caught.value.__notes__
    return caught.value.fault, int(note.split()[1]), caught.value.about


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 131_072 - 16, 200_000])
def test_a_file_of_any_size_arrives(
    get: Callable[..., list[str]], files: MediaFiles, kind: Kind, size: int
) -> None:
    data = os.urandom(size)
    sealed = encrypt(data, kind)
    reference = Reference(kind, "/v/blob?x=1", sealed.key, sealed.sha256, sealed.blob_sha256, size)
    (asked,) = get(answer(body=sealed.blob), reference=reference)
    assert files.path(ID).read_bytes() == data
    assert asked.startswith("GET /v/blob?x=1&hash=")
    assert "\r\nHost: mmg.whatsapp.net\r\n" in asked
    assert "\r\nAccept-Encoding: identity\r\n" in asked


def test_a_size_that_was_not_said_or_not_right_is_no_obstacle(
    get: Callable[..., list[str]], files: MediaFiles
) -> None:
    for size in (0, 5, LIMIT):
        get(GOOD, reference=replace(REFERENCE, size=size))
        assert files.path(ID).read_bytes() == DATA


@pytest.mark.parametrize(
    "speaker",
    [
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BLOB), BLOB)),
        raw(HEAD + b"Connection: close\r\n\r\n" + BLOB),
        raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % len(BLOB) + BLOB),
        answer("200 OK", BLOB, "Content-Encoding: identity", "X: " + "y" * 8000),
    ],
    ids=["chunked", "until the end", "with hints", "a long head"],
)
def test_every_form_of_a_right_answer_is_understood(
    get: Callable[..., list[str]], files: MediaFiles, speaker: Speaker
) -> None:
    get(speaker)
    assert files.path(ID).read_bytes() == DATA


PASSING = {
    "500": answer("500 Internal Server Error", b"sorry"),
    "502": answer("502 Bad Gateway"),
    "503": answer("503 Service Unavailable", b"", "Retry-After: 100000"),
    "429": answer("429 Too Many Requests"),
    "hangs up": raw(b""),
    "no HTTP": raw(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "half a head": raw(HEAD + b"Content-Le"),
    "two lengths": answer("200 OK", BLOB, "Content-Length: 3"),
    "a length that is none": raw(HEAD + b"Content-Length: -5\r\n\r\n" + BLOB),
    "a length with a sign": raw(HEAD + b"Content-Length: +5\r\n\r\n" + BLOB),
    "a length of many digits": raw(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + BLOB),
    "a head without end": raw(HEAD, again=b"X: " + b"y" * 1000 + b"\r\n"),
    "hints without end": raw(b"", again=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50),
    "too short": answer(body=BLOB[:-1], length=len(BLOB)),
    "cut in the middle": cut(HEAD + b"Content-Length: %d\r\n\r\n" % len(BLOB) + BLOB[:1000]),
    "cut without a length": cut(HEAD + b"Connection: close\r\n\r\n" + BLOB[:1000]),
    "half a chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\nabc" % len(BLOB)),
    "a wrong chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"),
    "an unknown coding": raw(HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + BLOB),
}


@pytest.mark.parametrize("speaker", PASSING.values(), ids=PASSING)
def test_what_may_be_better_next_time_is_tried_again(
    get: Callable[..., list[str]], files: MediaFiles, speaker: Speaker
) -> None:
    assert len(get(speaker, GOOD)) == 2
    assert files.path(ID).read_bytes() == DATA
    files.path(ID).unlink()
    why, tries, about = fault(get, speaker)
    assert (why, tries) == (Fault.UNREACHABLE, TRIES)
    assert about.isprintable()


LASTING: dict[str, tuple[Speaker, Fault]] = {
    "403": (answer("403 Forbidden"), Fault.EXPIRED),
    "404": (answer("404 Not Found", b"<html>"), Fault.EXPIRED),
    "410": (answer("410 Gone"), Fault.EXPIRED),
    "400": (answer("400 Bad Request"), Fault.UNREACHABLE),
    "401": (answer("401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="x"'), Fault.UNREACHABLE),
    "204": (answer("204 No Content"), Fault.UNREACHABLE),
    "206": (answer("206 Partial Content", BLOB[:100]), Fault.UNREACHABLE),
    **{
        f"{status} to {where}": (answer(f"{status} Elsewhere", b"", f"Location: {where}"), Fault.UNREACHABLE)
        for status in (301, 302, 303, 307, 308)
        for where in ("https://mmg.whatsapp.net/v/other", "http://127.0.0.1/", "file:///etc/passwd")
    },
    "gzip": (answer("200 OK", gzip.compress(BLOB), "Content-Encoding: gzip"), Fault.UNREACHABLE),
    "gzip of zeros": (
        answer("200 OK", gzip.compress(bytes(1 << 24)), "Content-Encoding: gzip"),
        Fault.UNREACHABLE,
    ),
    "br": (answer("200 OK", BLOB, "Content-Encoding: br"), Fault.UNREACHABLE),
    "too large by its length": (answer(length=LIMIT + 27), Fault.TOO_LARGE),
    "far too large by its length": (answer(length=10**16), Fault.TOO_LARGE),
    "without end": (raw(HEAD + b"\r\n", again=bytes(65536)), Fault.TOO_LARGE),
    "chunks without end": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", again=b"8000\r\n" + bytes(32768) + b"\r\n"),
        Fault.TOO_LARGE,
    ),
    "empty": (answer(), Fault.ALTERED),
    "shorter": (answer(body=BLOB[:-16]), Fault.ALTERED),
    "shorter by a byte": (answer(body=BLOB[:-1]), Fault.ALTERED),
    "longer": (answer(body=BLOB + bytes(16)), Fault.ALTERED),
    "only the code": (answer(body=BLOB[-10:]), Fault.ALTERED),
    "changed at the start": (answer(body=bytes([BLOB[0] ^ 1]) + BLOB[1:]), Fault.ALTERED),
    "changed at the end": (answer(body=BLOB[:-1] + bytes([BLOB[-1] ^ 1])), Fault.ALTERED),
    "an error page": (answer(body=b"<html>no</html>" * 100), Fault.ALTERED),
    "not encrypted": (answer(body=DATA), Fault.ALTERED),
}


@pytest.mark.parametrize(("speaker", "wanted"), LASTING.values(), ids=LASTING)
def test_what_stays_wrong_is_tried_once(
    get: Callable[..., list[str]], files: MediaFiles, speaker: Speaker, wanted: Fault
) -> None:
    why, tries, _ = fault(get, speaker, GOOD)
    assert (why, tries) == (wanted, 1)
    assert not files.is_there(ID)


def other_bytes(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"key": other_bytes(SEALED.key, 0)}, "authentication code"),
        ({"kind": "image"}, "authentication code"),
        ({"sha256": other_bytes(SEALED.sha256, 0)}, "its hash"),
        ({"sealed_sha256": other_bytes(SEALED.blob_sha256, 31)}, "encrypted form"),
    ],
)
def test_a_message_that_does_not_fit_the_file_is_told(
    get: Callable[..., list[str]], change: dict[str, object], about: str
) -> None:
    why, tries, said = fault(get, GOOD, reference=replace(REFERENCE, **change))  # type: ignore[arg-type]
    assert (why, tries) == (Fault.ALTERED, 1)
    assert about in said


@pytest.mark.parametrize("size", [LIMIT - 200, LIMIT - 16, LIMIT - 1, LIMIT])
def test_the_limit_is_exact(get: Callable[..., list[str]], files: MediaFiles, size: int) -> None:
    sealed = encrypt(bytes(size), "video")
    reference = Reference("video", "/v/x?y", sealed.key, sealed.sha256, sealed.blob_sha256)
    get(answer(body=sealed.blob), reference=reference, limit=size)
    assert files.path(ID).stat().st_size == size
    files.path(ID).unlink()
    assert fault(get, answer(body=sealed.blob), reference=reference, limit=size - 1)[0] is Fault.TOO_LARGE


@pytest.mark.parametrize(
    "reference",
    [
        replace(REFERENCE, direct_path="https://evil.example/v?x"),
        replace(REFERENCE, key=b""),
        replace(REFERENCE, size=LIMIT + 1),
    ],
)
def test_what_is_wrong_in_the_message_is_not_even_asked_for(
    get: Callable[..., list[str]], reference: Reference
) -> None:
    assert fault(get, GOOD, reference=reference)[1] == 0


def test_silence_is_not_borne_for_ever(
    get: Callable[..., list[str]], files: MediaFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer.Clock.__init__, "__defaults__", (0.5, time.monotonic))
    assert len(get(silence, GOOD)) == 2
    assert files.path(ID).read_bytes() == DATA


def test_drops_do_not_stretch_the_time(
    get: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.messages.media.patience", lambda *_: 3.0)
    drip = raw(HEAD + b"Content-Length: 200000\r\n\r\n", again=b"x", pause=0.05)
    why, _, about = fault(get, drip)
    assert why is Fault.UNREACHABLE
    assert "no answer in time" in about


def test_another_host_is_not_believed(
    authority: Authority, files: MediaFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority.load_or_make(tmp_path / "stranger")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    with BlobServer(stranger, [GOOD]) as server, pytest.raises(MissingError) as caught:
        fetch(files, ID, REFERENCE, limit=LIMIT, proxy=parse(server.url), wait=lambda _: None)
    assert "not trusted" in caught.value.about
    assert server.asked == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_does_not_take_it_is_told(
    get: Callable[..., list[str]], files: MediaFiles, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(files, "finish", fail)
    assert fault(get, GOOD)[:2] == (Fault.NO_ROOM, 1)


def test_a_file_larger_than_the_process_may_write_is_told(get: Callable[..., list[str]]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert fault(get, GOOD)[:2] == (Fault.NO_ROOM, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_last_bytes_of_a_disk_are_left_to_the_session(
    get: Callable[..., list[str]], files: MediaFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free", lambda: 64 << 20)
    assert fault(get, GOOD)[:2] == (Fault.NO_ROOM, 0)


def test_nobody_listens(files: MediaFiles, authority: Authority) -> None:
    with BlobServer(authority, [GOOD]) as server:
        pass
    with pytest.raises(MissingError) as caught:
        fetch(files, ID, REFERENCE, limit=LIMIT, proxy=parse(server.url), wait=lambda _: None)
    assert caught.value.fault is Fault.UNREACHABLE
    assert "cannot be reached" in caught.value.about
