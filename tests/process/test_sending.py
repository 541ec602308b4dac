"""Messages that an account is to send: from the control socket into the outbox, and to its process."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support.fleet import PATIENCE, Fleet, asynchronous, until
from support.pictures import PNG

from orchestrator.accounts.events import Order
from orchestrator.accounts.settings import AccountSettings, Sending
from orchestrator.accounts.states import State
from orchestrator.errors import NoSuchAccount, NotRunning, OrchestratorError
from orchestrator.messages.outbox import Outbox, OutboxReader
from orchestrator.sending.forms import Content, Media, Text
from orchestrator.sending.row import State as RowState
from orchestrator.service.aside import Aside
from orchestrator.service.outbox import sends, waiting
from orchestrator.store.layout import OUTGOING

TO = "+4915100000042"
TEXT = "Where is the \N{PARTY POPPER}?\nHere."
ADA = "269139479534551@lid"
LONGEST = "\N{PARTY POPPER}" * 4096
HELLO = {"to": TO, "kind": "text", "text": TEXT}
USUAL = Sending()
OWN = "4915100000001:7@s.whatsapp.net"
SESSION = (
    "CREATE TABLE whatsmeow_device (jid, lid, noise_key, identity_key)",
    "CREATE TABLE whatsmeow_message_secrets (our_jid, chat_jid, sender_jid, message_id, key)",
    f"INSERT INTO whatsmeow_device VALUES ('{OWN}', NULL, x'00', x'00')",
)
"""What the library keeps in a session of what has left."""
PICTURE = {"to": TO, "kind": "image", "caption": "needle"}


def connected(folder: Path, *steps: str, control: bool = True) -> Fleet:
    """Return a fleet with an account that connects and then does these steps."""
    fleet = Fleet(folder, "a", control=control)
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", *steps])
    return fleet


def stopped(folder: Path, sending: Sending = USUAL) -> Fleet:
    """Return a fleet with an account that never has a process."""
    return Fleet(folder, AccountSettings("a", enabled=False, sending=sending), control=True)


def is_quiet(fleet: Fleet, caplog: pytest.LogCaptureFixture, error: str = "") -> None:
    """See that nothing but the outbox tells what was sent, or to whom."""
    files = [path for path in fleet.paths.root.rglob("*") if path.is_file() and "outbox" not in path.name]
    kept = "".join(path.read_text(errors="replace") for path in files)
    for text in (kept, caplog.text, error):
        assert "000042" not in text
        assert "Where is the" not in text


def files(fleet: Fleet) -> list[str]:
    """Return the names of the files that wait to be sent."""
    folder = fleet.paths.message_folder("a") / OUTGOING
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


# An account with a process


@asynchronous
async def test_a_text_goes_to_the_process_and_its_end_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with connected(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        answer = await fleet.call("send", name="a", message=HELLO, wait=60)
        assert (answer["row"]["state"], answer["row"]["id"], answer["again"]) == ("sent", "3EB01", False)
        assert (answer["row"]["row"], answer["row"]["to"]) == (1, "4915100000042@s.whatsapp.net")
        assert fleet.puppets.texts("a") == [{"to": TO[1:], "text": TEXT}]
    is_quiet(fleet, caplog)


@pytest.mark.parametrize(
    ("fate", "state", "code"),
    [("refused", "failed", 463), ("unknown", "unknown", None), ("queued", "queued", None)],
)
@asynchronous
async def test_what_becomes_of_a_row_is_answered(
    tmp_path: Path, fate: str, state: str, code: int | None
) -> None:
    async with connected(tmp_path, f"texts: {fate}", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        row = (await fleet.call("send", name="a", message=HELLO, wait=0.2))["row"]
        assert (row["state"], row["code"]) == (state, code)


@asynchronous
async def test_without_a_wait_the_row_is_all_that_is_waited_for(tmp_path: Path) -> None:
    async with connected(tmp_path, "texts: queued", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        row = (await fleet.call("send", name="a", message=HELLO, expires=60))["row"]
        assert row["state"] == "queued"
        back = (await fleet.call("take_back", name="a", row=row["row"]))["row"]
        assert (back["state"], back["created_at"]) == ("taken_back", row["created_at"])
        assert await fleet.call("take_back", name="a", row=row["row"]) == {"row": back}
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("take_back", name="a", row=99)
        assert raised.value.key == "row_unknown"


@asynchronous
async def test_what_was_sent_cannot_be_taken_back(tmp_path: Path) -> None:
    async with connected(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        row = (await fleet.call("send", name="a", message=HELLO, wait=60))["row"]
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("take_back", name="a", row=row["row"])
        assert raised.value.key == "row_not_waiting"


@asynchronous
async def test_a_key_makes_one_row_however_often_it_comes(tmp_path: Path) -> None:
    async with connected(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        first = await fleet.call("send", name="a", message=HELLO, key="k", wait=60)
        again = await fleet.call("send", name="a", message=HELLO, key="k", wait=60)
        assert (again["row"], again["again"]) == (first["row"], True)
        with pytest.raises(OrchestratorError, match="use another key") as raised:
            await fleet.call("send", name="a", message={**HELLO, "text": "other"}, key="k")
        assert raised.value.key == "idempotency_conflict"
        other = await fleet.call("send", name="a", message=HELLO, wait=60)
        assert other["row"]["row"] == 2, "without a key, each is one of its own"


@asynchronous
async def test_a_process_that_says_nothing_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "ROW_SECONDS", 0.2)
    async with connected(tmp_path, "texts: kept", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(
            OrchestratorError, match="there is no answer, and what was asked for may have been done"
        ) as raised:
            await fleet.call("send", name="a", message=HELLO)
        assert raised.value.key == "no_answer"


@pytest.mark.parametrize("count", [3, 3 * waiting.MOST_AT_ONCE])
@asynchronous
async def test_a_row_outlives_the_process_that_was_asked_for_it(tmp_path: Path, count: int) -> None:
    fleet = connected(tmp_path, "idle")
    fleet.puppets.play(
        "a", ["connecting", "connected", "texts: kept", "idle"], ["connecting", "connected", "idle"]
    )
    async with fleet:
        about = await fleet.until("a", State.CONNECTED)
        wanted = [sends.Wanted(HELLO, os.urandom(32), wait=10) for _ in range(count)]
        sent = [asyncio.ensure_future(fleet.supervisor.sends.send("a", one)) for one in wanted]
        there = min(count, waiting.MOST_AT_ONCE)
        await until(lambda: len(fleet.puppets.texts("a")) == there, "they are there")
        os.kill(about["pid"], signal.SIGKILL)
        rows = [one["row"] for one in await asyncio.wait_for(asyncio.gather(*sent), PATIENCE)]
        assert {row["row"] for row in rows} == {*range(1, count + 1)}
        assert {row["state"] for row in rows} <= {"sent", "queued"}, "queued: written while no process ran"


@asynchronous
async def test_long_texts_wait_for_their_turn_and_arrive_whole(tmp_path: Path) -> None:
    async with connected(tmp_path, "idle") as fleet:
        about = await fleet.until("a", State.CONNECTED)
        os.kill(about["pid"], signal.SIGSTOP)
        wanted = [sends.Wanted({**HELLO, "text": LONGEST}, os.urandom(32)) for _ in range(40)]
        sent = [asyncio.ensure_future(fleet.supervisor.sends.send("a", one)) for one in wanted]
        await asyncio.sleep(0.1)
        os.kill(about["pid"], signal.SIGCONT)
        await asyncio.wait_for(asyncio.gather(*sent), PATIENCE)
        assert [one["text"] for one in fleet.puppets.texts("a")] == [LONGEST] * 40


@asynchronous
async def test_too_many_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITING", 3)
    monkeypatch.setattr(waiting, "MOST_ACTS", 2)
    async with connected(tmp_path, "texts: kept", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        made: list[Callable[[], Coroutine[Any, Any, dict[str, Any]]]] = [
            lambda: fleet.supervisor.sends.send("a", sends.Wanted(HELLO, os.urandom(32))),
            lambda: fleet.supervisor.sends.act("a", {"kind": "groups"}),
        ]
        under_way = [asyncio.ensure_future(one()) for one in (3 * [made[0]] + 2 * [made[1]])]
        await until(lambda: len(fleet.puppets.sends("a") + fleet.puppets.acts("a")) == 5, "they are there")
        for one in made:
            with pytest.raises(OrchestratorError) as raised:
                await one()
            assert raised.value.key == "service_busy"
        fleet.supervisor.order("a", Order.STOP)
        ends = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), PATIENCE)
        assert [isinstance(end, dict) for end in ends] == [True, True, True, False, False], ends


# An account without a process


@asynchronous
async def test_an_account_that_is_away_keeps_what_it_is_to_send(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with stopped(tmp_path, Sending(most_waiting=2)) as fleet:
        first = await fleet.call("send", name="a", message=HELLO, key="k")
        assert (first["row"]["state"], first["again"]) == ("queued", False)
        assert (await fleet.call("send", name="a", message=HELLO, key="k"))["again"] is True
        assert fleet.about("a")["queued"] == 1
        with pytest.raises(OrchestratorError, match="use another key"):
            await fleet.call("send", name="a", message={**HELLO, "text": "other"}, key="k")
        await fleet.call("send", name="a", message=HELLO)
        with pytest.raises(OrchestratorError, match="`most_waiting`") as raised:
            await fleet.call("send", name="a", message=HELLO)
        assert raised.value.key == "outbox_full"
        back = (await fleet.call("take_back", name="a", row=1))["row"]
        assert (back["state"], fleet.about("a")["queued"]) == ("taken_back", 1)
        assert await fleet.call("take_back", name="a", row=1) == {"row": back}
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("take_back", name="a", row=99)
        assert raised.value.key == "row_unknown"
        folder = fleet.paths.message_folder("a")
        with contextlib.closing(OutboxReader.open(folder)) as reader:
            assert [row.state for row in reader.rows()] == [RowState.TAKEN_BACK, RowState.QUEUED]
    is_quiet(fleet, caplog)


@asynchronous
async def test_nothing_was_ever_to_be_sent(tmp_path: Path) -> None:
    async with stopped(tmp_path) as fleet:
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("take_back", name="a", row=1)
        assert raised.value.key == "row_unknown"
        assert not fleet.paths.message_folder("a").exists()


@asynchronous
async def test_an_outbox_that_somebody_reads_is_waited_for(tmp_path: Path) -> None:
    async with stopped(tmp_path) as fleet:
        await fleet.call("send", name="a", message=HELLO)
        reader = Outbox.open(fleet.paths.message_folder("a"))
        sent = asyncio.ensure_future(fleet.call("send", name="a", message=HELLO))
        await asyncio.sleep(0.3)
        assert not sent.done()
        reader.close()
        assert (await asyncio.wait_for(sent, PATIENCE))["row"]["row"] == 2


# What cannot be sent


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({}, "bad_request"),
        ({"name": "a"}, "bad_request"),
        ({"name": "a", "message": "needle"}, "bad_request"),
        ({"name": "a", "message": {**HELLO, "to": "needle"}}, "bad_request"),
        ({"name": "a", "message": {**HELLO, "to": "+49needle"}}, "bad_number"),
        ({"name": "a", "message": {**HELLO, "text": "needle" * 1000}}, "bad_text"),
        ({"name": "a", "message": {**HELLO, "kind": "needle"}}, "bad_request"),
        ({"name": "a", "message": {**HELLO, "kind": ["needle"]}}, "bad_request"),
        ({"name": "a", "message": {**HELLO, "file": {"id": "1"}}}, "bad_request"),
        ({"name": "a", "message": {**PICTURE, "file": {"id": "1"}}}, "bad_request"),
        ({"name": "a", "message": PICTURE}, "file_missing"),
        ({"name": "a", "message": HELLO, "silently": "needle"}, "bad_request"),
        ({"name": "a", "message": HELLO, "key": "needle needle"}, "bad_request"),
        ({"name": "a", "message": HELLO, "key": ""}, "bad_request"),
        ({"name": "a", "message": HELLO, "wait": 61}, "bad_request"),
        ({"name": "a", "message": HELLO, "wait": True}, "bad_request"),
        ({"name": "a", "message": HELLO, "expires": 0}, "bad_request"),
        ({"name": "a", "message": HELLO, "key_days": 36}, "bad_request"),
        ({"name": "nobody", "message": HELLO}, "no_such_account"),
    ],
)
@asynchronous
async def test_what_cannot_be_sent_is_refused_without_a_word_of_it(
    tmp_path: Path, arguments: dict[str, object], key: str
) -> None:
    async with stopped(tmp_path) as fleet:
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("send", **arguments)
        assert (raised.value.key, "needle" in str(raised.value)) == (key, False)
        assert not fleet.paths.message_folder("a").exists()


# Files


def picture(folder: Path, data: bytes = PNG) -> int:
    """Return a descriptor of a file."""
    path = folder / "picture"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def content_of(fleet: Fleet, number: int) -> Content:
    """Return what a row says."""
    outbox = Outbox.open(fleet.paths.message_folder("a"))
    try:
        return outbox.outgoing(number).content
    finally:
        outbox.close()


def outgoing(fleet: Fleet, number: int) -> Media:
    """Return the file of a row."""
    content = content_of(fleet, number)
    assert isinstance(content, Media)
    return content


@asynchronous
async def test_a_picture_is_copied_and_looked_at(tmp_path: Path) -> None:
    source = picture(tmp_path)
    async with stopped(tmp_path) as fleet:
        row = (await fleet.call("send", file=source, name="a", message=PICTURE))["row"]
        file = outgoing(fleet, row["row"]).file
        assert file is not None
        assert files(fleet) == [file.id]
        copy = fleet.paths.message_folder("a") / OUTGOING / file.id
        assert copy.read_bytes() == PNG
        assert copy.stat().st_mode & 0o777 == 0o600
        assert (file.sha256, file.size) == (hashlib.sha256(PNG).hexdigest(), len(PNG))
        assert (file.mime_type, file.width > 0, file.thumbnail[:3]) == ("image/png", True, b"\xff\xd8\xff")
        os.lseek(source, 0, os.SEEK_END)  # where a descriptor stands does not matter
        again = await fleet.call("send", file=source, name="a", message=PICTURE)
        assert again["row"]["row"] == 2
    os.close(source)


@asynchronous
async def test_the_picture_of_a_preview_is_made_small_here(tmp_path: Path) -> None:
    source = picture(tmp_path)
    (tmp_path / "page").write_bytes(b"<html>")
    page, (end, other) = os.open(tmp_path / "page", os.O_RDONLY), os.pipe()
    preview = {"url": "https://example.com", "title": "needle", "thumbnail": "/9j/AAAA"}
    message = {"to": TO, "text": "https://example.com", "link_preview": True, "preview": preview}
    async with stopped(tmp_path) as fleet:
        for given, has_picture in ((source, True), (page, False), (end, False), (None, False)):
            row = (await fleet.call("send", file=given, name="a", message=message))["row"]
            content = content_of(fleet, row["row"])
            assert isinstance(content, Text)
            assert content.preview is not None
            shown = content.preview
            assert (shown.url, shown.title) == ("https://example.com", "needle")
            # What somebody says is a small picture is not believed.
            assert shown.thumbnail[:3] == (b"\xff\xd8\xff" if has_picture else b"")
            assert shown.thumbnail != b"\xff\xd8\xff\0\0\0"
        assert files(fleet) == []
    for one in (source, page, end, other):
        os.close(one)


@asynchronous
async def test_a_file_that_no_row_needs_does_not_stay(tmp_path: Path) -> None:
    source = picture(tmp_path)
    async with stopped(tmp_path, Sending(most_waiting=1)) as fleet:
        first = await fleet.call("send", file=source, name="a", message=PICTURE, key="k")
        kept = files(fleet)
        again = await fleet.call("send", file=source, name="a", message=PICTURE, key="k")
        assert (again["row"], again["again"]) == (first["row"], True)
        for key in ("k", "other"):
            with pytest.raises(OrchestratorError):
                await fleet.call("send", file=source, name="a", message={**PICTURE, "caption": "x"}, key=key)
        assert files(fleet) == kept
    os.close(source)


def folder_of(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def pipe_of(_: Path) -> int:
    return os.pipe()[0]


def empty(path: Path) -> int:
    return picture(path, b"")


def damaged(path: Path) -> int:
    return picture(path, PNG[: len(PNG) // 2])


def text(path: Path) -> int:
    return picture(path, b"needle")


def large(path: Path) -> int:
    return picture(path, PNG + bytes(2000))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (folder_of, "file_unfit"),
        (pipe_of, "file_unfit"),
        (empty, "file_unfit"),
        (damaged, "file_unfit"),
        (text, "file_unfit"),
        (large, "file_too_large"),
    ],
)
@asynchronous
async def test_files_that_cannot_be_sent(tmp_path: Path, make: Callable[[Path], int], key: str) -> None:
    async with stopped(tmp_path, Sending(media_limit=2000)) as fleet:
        source = make(tmp_path)
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("send", file=source, name="a", message=PICTURE)
        os.close(source)
        assert (raised.value.key, "needle" in str(raised.value)) == (key, False)
        assert files(fleet) == []


@asynchronous
async def test_a_folder_that_leads_elsewhere_gets_no_file(tmp_path: Path) -> None:
    source = picture(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with stopped(tmp_path) as fleet:
        folder = fleet.paths.message_folder("a")
        folder.mkdir(mode=0o700)
        (folder / OUTGOING).symlink_to(elsewhere)
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("send", file=source, name="a", message=PICTURE)
        assert raised.value.key == "media_no_room"
        assert list(elsewhere.iterdir()) == []
    os.close(source)


@asynchronous
async def test_only_send_takes_a_file(tmp_path: Path) -> None:
    source = picture(tmp_path)
    async with stopped(tmp_path) as fleet:
        for command in ("list", "take_back", "watch"):
            with pytest.raises(OrchestratorError, match="takes no file"):
                await fleet.call(command, file=source)
        with pytest.raises(OrchestratorError, match="takes no file"):
            await fleet.call("send", file=source, name="a", message=HELLO)
        assert files(fleet) == []
    os.close(source)


# What an account does at once

ACTIONS: list[dict[str, Any]] = [
    {"kind": "typing", "chat": ADA, "state": "recording"},
    {"kind": "group_subject", "group": "120363000000000001@g.us", "subject": "Friends"},
    {"kind": "groups"},
]


@asynchronous
async def test_what_is_to_be_done_goes_to_the_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with connected(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        results = [await fleet.call("act", name="a", action=one) for one in ACTIONS]
        assert fleet.puppets.acts("a") == ACTIONS
        assert results[:2] == [{"result": {}}] * 2
        assert results[2]["result"]["groups"][0]["subject"] == "Friends"
        assert await fleet.call("look", name="a", action=ACTIONS[2]) == results[2]
        for action in ACTIONS[:2]:
            with pytest.raises(OrchestratorError, match="changes something"):
                await fleet.call("look", name="a", action=action)
    is_quiet(fleet, caplog)


@pytest.mark.parametrize(
    ("fate", "key", "words"),
    [
        ("failed", "not_sent", "a: it was not done: WhatsApp would not have it"),
        ("unknown", "delivery_unknown", "a: it is not known whether it was done: WhatsApp would"),
        ("busy", "service_busy", "too much at once"),
    ],
)
@asynchronous
async def test_what_becomes_of_it_is_the_error(tmp_path: Path, fate: str, key: str, words: str) -> None:
    async with connected(tmp_path, f"texts: {fate}", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(OrchestratorError, match=words) as raised:
            await fleet.call("act", name="a", action=ACTIONS[0])
        assert raised.value.key == key


@pytest.mark.parametrize(
    "said",
    ['{"done":true}', '{"groups":[],"groups_left_out":NaN}', '{"groups":["\\ud800"],"groups_left_out":0}'],
)
@asynchronous
async def test_an_answer_of_another_form_is_none(tmp_path: Path, said: str) -> None:
    async with connected(tmp_path, f"texts: {said}", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(OrchestratorError, match="no valid answer") as raised:
            await fleet.call("look", name="a", action=ACTIONS[2])
        assert raised.value.key == "delivery_unknown"


@asynchronous
async def test_only_a_connected_account_does_something_at_once(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", AccountSettings("off", enabled=False), control=True) as fleet:
        await fleet.until("a", State.PAIRING)
        for name, words in (("a", "pairing: `orchestrator explain a`"), ("off", "disabled")):
            with pytest.raises(OrchestratorError, match=f"not connected but {words}"):
                await fleet.call("act", name=name, action=ACTIONS[0])
        with pytest.raises(NoSuchAccount):
            await fleet.call("act", name="nobody", action=ACTIONS[0])
        assert fleet.puppets.acts("a") == []


@pytest.mark.parametrize("action", [None, "needle", {"kind": "needle"}, {"kind": "typing", "chat": "needle"}])
@asynchronous
async def test_what_cannot_be_done_is_refused_without_a_word_of_it(tmp_path: Path, action: object) -> None:
    async with stopped(tmp_path) as fleet:
        with pytest.raises(OrchestratorError) as raised:
            await fleet.call("act", name="a", action=action)
        assert (raised.value.key, "needle" in str(raised.value)) == ("bad_request", False)


# What its process says of it


@asynchronous
async def test_what_it_may_not_send_is_in_its_view_and_its_history(tmp_path: Path) -> None:
    restricted = {"type": "Restricted", "what": "new", "until": 4_000_000_000.0, "code": 463}
    async with connected(tmp_path, f"say: {json.dumps(restricted)}", "idle") as fleet:
        await fleet.until_true(lambda: fleet.about("a")["restricted"] == "new", "it is restricted")
        about = fleet.about("a")
        assert about["restricted_until"] == "2096-10-02T07:06:40Z"
        assert "people whom it does not know" in about["reason"]
        explained = await fleet.call("explain", name="a")
        assert explained["outlook"]["next"].startswith("replies go on")
        (entry,) = [one for one in explained["timeline"] if one.get("event") == "restricted"]
        assert entry["code"] == 463


@asynchronous
async def test_a_process_is_told_which_messages_have_left(tmp_path: Path) -> None:
    """The service reads that in the session, from the outside."""
    secret = hashlib.sha256(b"message secret\0" + bytes(32)).digest()[:16]
    unsettled = {"type": "Unsettled", "digests": f"{secret.hex()} {'0a' * 16}"}
    steps = ("await: doubt", f"say: {json.dumps(unsettled)}", "idle")
    async with connected(tmp_path, *steps) as fleet:
        await fleet.until("a", State.CONNECTED)
        with contextlib.closing(sqlite3.connect(fleet.paths.session("a"))) as session:
            fleet.paths.session("a").write_bytes(b"")
            for line in SESSION:
                session.execute(line)
            session.execute(
                "INSERT INTO whatsmeow_message_secrets VALUES (?, '1@lid', ?, '3EB0A', ?)",
                (OWN, OWN, bytes(32)),
            )
            session.commit()
        fleet.puppets.go("a", "doubt")
        await until(lambda: fleet.puppets.secrets("a"), "it is told")
        assert fleet.puppets.secrets("a") == [f"{secret.hex()}:3EB0A"]


@asynchronous
async def test_a_service_that_stops_leaves_nobody_without_an_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = connected(tmp_path, "texts: kept", "idle")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        under_way = [asyncio.ensure_future(fleet.call("send", name="a", message=HELLO)) for _ in range(3)]
        await until(lambda: len(fleet.puppets.sends("a")) == 3, "they are there")
    ends = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), PATIENCE)
    kept = [end for end in ends if isinstance(end, dict)]
    told = [end for end in ends if isinstance(end, OrchestratorError)]
    assert len(kept) + len(told) == 3, ends
    assert {error.key for error in told} <= {"not_running"}
    assert "unhandled" not in caplog.text
    # What was answered with a row is there.
    with contextlib.closing(Outbox.open(fleet.paths.message_folder("a"))) as outbox:
        assert {row.number for row in outbox.waiting()} >= {one["row"]["row"] for one in kept}


@asynchronous
async def test_what_is_done_aside_has_an_end() -> None:
    aside = Aside("test", 1)
    assert await aside.run(lambda: 7) == 7
    aside.close()
    with pytest.raises(NotRunning):
        await aside.run(lambda: 7)
