"""Files of one account: who asks comes first, what is missing is found in the inbox, one at a time."""

from __future__ import annotations

import os
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from support import protobufs
from support.blob_server import BlobServer, Speaker, answer
from support.linked import wait_until

from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.proxy import parse
from orchestrator.messages.database import InboxError
from orchestrator.messages.entry import Entry
from orchestrator.messages.files import FileMessages
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.media_files import MediaFiles
from orchestrator.sandbox.crypto.certs import Authority
from orchestrator.sandbox.crypto.media import EncryptedMedia, encrypt
from orchestrator.worker.media import fetcher as module
from orchestrator.worker.media.account import InboxAttachments
from orchestrator.worker.media.fetcher import MOST_ASKED, Fetcher, Policy, When

LIMIT = 1 << 20
DAY = 86_400.0
PATIENCE = 60.0
Answer = tuple[int, Fault | None, str]
Fields = Mapping[str, object]
NO_FIELDS: Fields = {}


class Place:
    """An account's folder with an inbox, and a host that has the files."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder = folder
        self.files = MediaFiles(folder)
        self.inbox = Inbox.open(folder)
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.blobs: dict[str, Speaker] = {}
        self.data: dict[str, bytes] = {}
        self.server = BlobServer(authority, self._speaker)
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def _speaker(self, head: str) -> Speaker:
        name = head.split("/")[2].partition("?")[0]
        return self.blobs.get(name, answer("404 Not Found"))

    def asked(self) -> list[str]:
        """Return whose files the host was asked for, in order."""
        return [head.split("/")[2].partition("?")[0] for head in self.server.asked]

    def arrive(self, media: str, size: int = 1000, fields: Fields = NO_FIELDS, *, lies: bool = True) -> None:
        """Have a message with a file come in, and its file lie on the host."""
        data = os.urandom(size)
        sealed = encrypt(data, "image")
        self.data[media] = data
        if lies:
            self.blobs[media] = self._counted(answer(body=sealed.blob))
        self.store(media, _image(media, sealed, fields))

    def store(self, media: str, message: protobufs.Proto) -> None:
        raw = protobufs.event(message, protobufs.info(media)).SerializeToString()
        entry = Entry("message", protobufs.ADA, protobufs.ADA, media, 1.0, raw, {"media": media})
        assert self.inbox.append(entry)

    def fetcher(self, when: When = "on_demand", *, limit: int = LIMIT, keep: float = DAY) -> Fetcher:
        return Fetcher(
            self.files,
            InboxAttachments(FileMessages(self.folder)),
            Policy(when, limit, keep),
            lambda: parse(self.server.url),
            lambda number, fault, about: self.answers.put((number, fault, about)),
        )

    def answer(self) -> Answer:
        return self.answers.get(timeout=PATIENCE)

    def wait_for(self, *media: str) -> None:
        wait_until(lambda: all(map(self.files.is_there, media)), "not all files came")
        assert [self.files.path(one).read_bytes() for one in media] == [self.data[one] for one in media]

    def _counted(self, speaker: Speaker) -> Speaker:
        def speak(stream: ssl.SSLSocket, over: threading.Event) -> None:
            with self._lock:
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
            speaker(stream, over)
            with self._lock:
                self.at_once -= 1

        return speak


def _image(media: str, sealed: EncryptedMedia, fields: Fields = NO_FIELDS) -> protobufs.Proto:
    values: dict[str, object] = {
        "directPath": f"/v/{media}?x=1",
        "mediaKey": sealed.key,
        "fileSHA256": sealed.sha256,
        "fileEncSHA256": sealed.blob_sha256,
        "fileLength": sealed.length,
        "URL": "https://evil.example/v?x",
    }
    return protobufs.Message(imageMessage=protobufs.e2e.ImageMessage(**{**values, **fields}))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_make(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
def place(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    monkeypatch.setattr("orchestrator.worker.media.fetch.PAUSES", (0.0, 0.0))
    place = Place(tmp_path, authority)
    with place.server, closing(place.inbox):
        yield place


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "media"]


def test_an_inbox_that_could_not_be_read_for_once_is_looked_through_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.arrive("1")
    fetcher = place.fetcher("always")
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise InboxError("the inbox cannot be read")

        patch.setattr(InboxAttachments, "after", fail)
        fetcher.arrived()
        wait_until(lambda: not threads(), "it looks for ever")
    assert place.asked() == []
    fetcher.tidy()
    place.wait_for("1")


def test_what_is_asked_for_comes_and_nothing_else(place: Place) -> None:
    for media in ("1", "2", "3"):
        place.arrive(media)
    fetcher = place.fetcher()
    fetcher.tidy()
    fetcher.ask(7, "2")
    assert place.answer() == (7, None, "")
    place.wait_for("2")
    fetcher.arrived()
    fetcher.ask(8, "2")
    assert place.answer() == (8, None, "")
    assert place.asked() == ["2"]
    wait_until(lambda: not threads(), "the thread did not end")


def test_several_who_ask_for_one_get_one_answer_each(place: Place) -> None:
    place.arrive("1", 100_000)
    fetcher = place.fetcher()
    for number in range(5):
        fetcher.ask(number, "1")
    assert sorted(place.answer() for _ in range(5)) == [(number, None, "") for number in range(5)]
    assert place.asked() == ["1"]


def test_too_many_at_once_are_told(place: Place) -> None:
    go = threading.Event()
    gone = answer("410 Gone")
    place.blobs["1"] = lambda stream, over: (go.wait(PATIENCE), gone(stream, over))[1]
    place.store("1", _image("1", encrypt(b"x", "image")))
    fetcher = place.fetcher()
    for number in range(MOST_ASKED + 1):
        fetcher.ask(number, "1")
    assert place.answer() == (MOST_ASKED, Fault.BUSY, "")
    go.set()
    assert {place.answer()[1] for _ in range(MOST_ASKED)} == {Fault.EXPIRED}


def test_never_means_never(place: Place) -> None:
    place.arrive("1")
    fetcher = place.fetcher("never")
    fetcher.tidy()
    fetcher.arrived()
    fetcher.ask(1, "1")
    assert place.answer() == (1, Fault.NEVER, "")
    wait_until(lambda: not threads(), "the thread did not end")
    assert place.asked() == []


def test_all_are_fetched_one_at_a_time_in_their_order(place: Place) -> None:
    names = [str(number) for number in range(1, 260)]
    for media in names[:-5]:
        place.arrive(media, 40)
    fetcher = place.fetcher("always")
    fetcher.tidy()
    place.wait_for("3")
    for media in names[-5:]:
        place.arrive(media, 40)
        fetcher.arrived()
    place.wait_for(*names)
    assert place.asked() == names
    assert place.most_at_once == 1


def test_who_asks_comes_first(place: Place) -> None:
    hold = threading.Event()
    for media in ("1", "2", "3", "4"):
        place.arrive(media)
    first = place.blobs["1"]
    place.blobs["1"] = lambda stream, over: (hold.wait(PATIENCE), first(stream, over))[1]
    fetcher = place.fetcher("always")
    fetcher.tidy()
    wait_until(lambda: place.asked() == ["1"], "the first was not begun")
    fetcher.ask(9, "4")
    hold.set()
    assert place.answer() == (9, None, "")
    place.wait_for("1", "2", "3", "4")
    assert place.asked() == ["1", "4", "2", "3"]


def test_after_a_restart_only_what_is_missing_is_fetched(place: Place) -> None:
    for media in ("1", "2", "3"):
        place.arrive(media, lies=media != "2")
    place.fetcher("always").tidy()
    place.wait_for("1", "3")
    assert place.files.fault("2") is Fault.EXPIRED
    place.arrive("4")
    (place.files.folder / "5.0.part").write_bytes(b"half")
    again = place.fetcher("always")
    again.tidy()
    place.wait_for("4")
    assert place.asked() == ["1", "2", "3", "4"]
    assert not (place.files.folder / "5.0.part").exists()
    # Whoever asks for one that had expired has it tried: its sender may have sent it again.
    again.ask(1, "2")
    assert place.answer()[:2] == (1, Fault.EXPIRED)


def test_what_the_network_did_not_let_through_is_tried_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.2,))
    for media in ("1", "2", "3", "4", "5", "6"):
        place.arrive(media)
    good = dict(place.blobs)
    place.blobs |= dict.fromkeys(("2", "3", "4", "5"), answer("503 Service Unavailable"))
    fetcher = place.fetcher("always")
    fetcher.tidy()
    wait_until(lambda: "4" in place.asked(), "the fourth was not tried")
    wait_until(lambda: place.asked().count("2") > 3, "there was no second pass")
    assert "6" not in place.asked()
    place.blobs |= good
    place.wait_for("1", "2", "3", "4", "5", "6")
    assert place.asked().count("1") == 1
    wait_until(lambda: not threads(), "the thread did not end")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"viewOnce": True}, Fault.UNFIT),
        ({"directPath": "//evil.example/v?x"}, Fault.UNFIT),
        ({"directPath": ""}, Fault.UNFIT),
        ({"mediaKey": b"short"}, Fault.UNFIT),
        ({"fileSHA256": b""}, Fault.UNFIT),
        ({"fileEncSHA256": b""}, Fault.UNFIT),
        ({"fileLength": LIMIT + 1}, Fault.TOO_LARGE),
        ({"fileLength": 2**64 - 1}, Fault.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("when", ["on_demand", "always"])
def test_what_a_message_may_not_ask_for_is_never_fetched(
    place: Place, when: When, fields: Fields, fault: Fault
) -> None:
    place.arrive("1", fields=fields)
    fetcher = place.fetcher(when)
    fetcher.tidy()
    fetcher.ask(3, "1")
    assert place.answer()[:2] == (3, fault)
    wait_until(lambda: not threads(), "the thread did not end")
    assert place.asked() == []


def test_a_message_that_is_no_message_and_one_that_is_not_there(place: Place) -> None:
    place.store("1", protobufs.Message(conversation="no file"))
    entry = Entry("message", protobufs.ADA, protobufs.ADA, "x", 1.0, b"\xff\xff\xff", {"media": "2"})
    place.inbox.append(entry)
    fetcher = place.fetcher()
    for number, media in enumerate(("1", "2", "3")):
        fetcher.ask(number, media)
    assert [place.answer()[:2] for _ in range(3)] == [(0, Fault.UNFIT), (1, Fault.UNFIT), (2, Fault.UNKNOWN)]


def test_without_an_inbox_there_is_nothing(tmp_path: Path) -> None:
    answers: queue.Queue[Answer] = queue.Queue()
    fetcher = Fetcher(
        MediaFiles(tmp_path),
        InboxAttachments(FileMessages(tmp_path)),
        Policy("always", LIMIT, DAY),
        lambda: None,
        lambda *given: answers.put(given),
    )
    fetcher.tidy()
    fetcher.ask(1, "17")
    assert answers.get(timeout=PATIENCE) == (1, Fault.UNKNOWN, "")
    assert list(tmp_path.iterdir()) == []


def test_an_inbox_that_cannot_be_read_is_told_and_nothing_is_deleted(place: Place) -> None:
    place.arrive("1")
    fetcher = place.fetcher()
    fetcher.ask(1, "1")
    assert place.answer() == (1, None, "")
    place.inbox.close()
    for path in place.folder.glob("inbox.sqlite3*"):
        path.write_bytes(b"no database at all" * 1000)
    again = place.fetcher("always")
    again.tidy()
    again.ask(2, "2")
    assert place.answer()[:2] == (2, Fault.NO_ROOM)
    assert place.files.is_there("1")


def test_files_go_with_their_messages(place: Place) -> None:
    for media in ("1", "2"):
        place.arrive(media)
    fetcher = place.fetcher("always")
    fetcher.tidy()
    place.wait_for("1", "2")
    place.inbox._connection.execute("DELETE FROM entries WHERE media = '1'")
    fetcher.tidy()
    wait_until(lambda: not place.files.is_there("1"), "the file is still there")
    assert place.files.is_there("2")
    os.utime(place.files.path("2"), (time.time() - 2 * DAY,) * 2)
    on_demand = place.fetcher()
    on_demand.tidy()
    wait_until(lambda: not place.files.is_there("2"), "the file is still there")


def test_what_would_be_deleted_again_is_not_fetched(place: Place) -> None:
    for media in ("1", "2"):
        place.arrive(media)
    place.inbox._connection.execute("UPDATE entries SET stored_at = 1 WHERE media = '1'")
    place.fetcher("always").tidy()
    place.wait_for("2")
    wait_until(lambda: not threads(), "the thread did not end")
    assert place.asked() == ["2"]


def test_an_account_that_fetches_nothing_has_no_thread_for_that(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", fail)
    for when in get_args(When):
        if when != "always":
            place.fetcher(when).tidy()


def test_a_bug_is_answered_and_does_not_end_the_rest(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.arrive("1")

    def broken(*_: object) -> None:
        raise ZeroDivisionError("what somebody wrote")

    with monkeypatch.context() as patch:
        patch.setattr(MediaFiles, "is_there", broken)
        fetcher = place.fetcher()
        fetcher.ask(1, "1")
        assert place.answer()[:2] == (1, Fault.UNREACHABLE)
    assert "ZeroDivisionError" in caplog.text
    assert "what somebody wrote" not in caplog.text
    fetcher.ask(2, "1")
    assert place.answer() == (2, None, "")


def test_nothing_of_a_message_reaches_the_log(
    place: Place, caplog: pytest.LogCaptureFixture, ask: Callable[[Place, str], Answer]
) -> None:
    caplog.set_level("DEBUG")
    place.arrive("1", lies=False)
    place.arrive("2", fields={"directPath": "/../secret-place?x"})
    for media in ("1", "2"):
        assert "secret" not in ask(place, media)[2]
    with closing(Reader.open(place.folder)) as reader:
        (entry,) = reader.find("1")
    assert "secret" not in caplog.text
    assert "/v/" not in caplog.text
    assert protobufs.ADA not in caplog.text
    assert entry.id not in [record.getMessage() for record in caplog.records]


@pytest.fixture
def ask() -> Callable[[Place, str], Answer]:
    def ask(place: Place, media: str) -> Answer:
        place.fetcher().ask(1, media)
        return place.answer()

    return ask
