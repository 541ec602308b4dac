"""What the library is handed of each kind: finished messages, the bytes of files, and whose message it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.protobufs import ADA, GROUP, ME, Message, event, info, source

from orchestrator.accounts.acts import person
from orchestrator.accounts.settings import Messages
from orchestrator.errors import OrchestratorError
from orchestrator.messages.database import InboxError
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox
from orchestrator.sending.forms import (
    Contact,
    Contacts,
    Content,
    Edit,
    File,
    Kind,
    Location,
    Media,
    Outgoing,
    Poll,
    Preview,
    Reaction,
    Read,
    Revocation,
    Text,
)
from orchestrator.sending.row import Row, State
from orchestrator.worker.composing.composer import EDIT_SECONDS, Composer, Marks, Ready, Unsendable
from orchestrator.worker.composing.contents import Uploaded, vcard
from orchestrator.worker.intake import Intake

BOB, NUMBER, MINE = "269139479534552@lid", "4915100002", "4915100001"
THUMB = "\N{THUMBS UP SIGN}"
SECRET = bytes(range(32))
NOW = 1_800_000_000.0
UPLOADED = Uploaded("https://mmg.whatsapp.net/v", "/v", b"k" * 32, b"e" * 32, b"s" * 32, 5)


class Library:
    """Uploads nowhere, and remembers what it was given."""

    def __init__(self) -> None:
        self.uploads: list[tuple[bytes, Kind]] = []
        self.done: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def upload(self, data: bytes, kind: Kind) -> Uploaded:
        assert isinstance(data, bytes), "never a text, which the library would open or fetch"
        if self.error is not None:
            raise self.error
        self.uploads.append((data, kind))
        return UPLOADED

    def own_addresses(self) -> list[str]:
        return [f"{MINE}:3@s.whatsapp.net", ME.replace("@", ":3@")]

    def hidden_address_of(self, digits: str) -> str | None:
        return ADA if digits == NUMBER else None

    def number_of(self, user: str) -> str | None:
        return NUMBER if user == ADA.partition("@")[0] else None

    def send(self, chat: str, message: Any) -> tuple[str, float]:  # noqa: ANN401
        self.done.append((chat, message))
        return "3EB01", NOW

    def mark_read(self, chat: str, sender: str, ids: tuple[str, ...]) -> None:
        self.done.append((chat, sender, ids))


class Sent:
    """What the account has sent."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Row, Outgoing | None]] = {}

    def by_message(self, id: str) -> Row | None:  # noqa: A002
        return self.rows.get(id, (None, None))[0]

    def outgoing(self, number: int) -> Outgoing:
        found = next(outgoing for row, outgoing in self.rows.values() if row.number == number)
        if found is None:
            raise OrchestratorError("its words are gone", key="message_unknown")
        return found


class Place:
    """An account with an inbox and files that wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "outgoing").mkdir()
        self.library, self.own = Library(), Sent()
        self.inbox = Inbox.open(folder)
        intake = Intake(self.inbox, Messages(allow=("*",), groups=True), lambda _: None, folder)
        self.composer = Composer(self.library, intake, folder, self.own)

    def make(self, content: Content, to: str = ADA, reply_to: str | None = None, now: float = NOW) -> Ready:
        ready = self.composer.make(Outgoing(to, content, reply_to), SECRET, now)
        if ready.message is not None:
            assert ready.message.messageContextInfo.messageSecret == SECRET
        return ready

    def message(self, content: Content, to: str = ADA, reply_to: str | None = None) -> Any:  # noqa: ANN401
        return self.make(content, to, reply_to).message

    def has(
        self,
        id_: str,
        chat: str = ADA,
        sender: str = ADA,
        *,
        mine: bool = False,
        **fields: Any,  # noqa: ANN401
    ) -> None:
        about = info(id_, source(chat, sender, from_me=mine))
        raw = event(Message(**(fields or {"conversation": "Hello"})), about).SerializePartialToString()
        self.inbox.append(Entry("message", chat, sender, id_, NOW - 60, raw))

    def sent(
        self,
        id_: str,
        content: Content | None = None,
        to: str = ADA,
        *,
        at: float = NOW - 60,
        kind: Kind = Kind.TEXT,
    ) -> None:
        outgoing = None if content is None else Outgoing(to, content)
        row = Row(len(self.own.rows) + 1, kind if outgoing is None else outgoing.kind, to, State.SENT,
                  at, at + 60, at, message=id_)  # fmt: skip
        self.own.rows[id_] = row, outgoing

    def file(self, data: bytes = b"bytes", mime: str = "image/jpeg", **more: Any) -> File:  # noqa: ANN401
        (self.folder / "outgoing" / "17").write_bytes(data)
        return File("17", hashlib.sha256(data).hexdigest(), len(data), mime, **more)


def said(ready: Ready) -> str:
    assert ready.message is not None
    return str(ready.message.conversation)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.inbox.close()


# Texts


def test_a_plain_text_is_nothing_but_the_text(place: Place) -> None:
    ready = place.make(Text("/etc/passwd"), BOB)
    assert (ready.chat, ready.message.conversation) == (BOB, "/etc/passwd")
    assert ready.hand_over(place.library) == ("3EB01", NOW)
    assert place.library.done == [(BOB, ready.message)]


def test_mentions_and_a_preview_need_more_than_a_text(place: Place) -> None:
    about = place.message(Text("@1 hi", (BOB,))).extendedTextMessage
    assert (about.text, list(about.contextInfo.mentionedJID)) == ("@1 hi", [BOB])
    preview = Preview("https://example.org", "Example", "What it is", b"\xff\xd8")
    about = place.message(Text("see https://example.org", preview=preview)).extendedTextMessage
    assert (about.matchedText, about.title, about.description, about.JPEGThumbnail) == (
        "https://example.org",
        "Example",
        "What it is",
        b"\xff\xd8",
    )


# Answers


@pytest.mark.parametrize("chat", [ADA, person(NUMBER)])
def test_a_quote_is_found_by_each_address_of_its_chat(place: Place, chat: str) -> None:
    place.has("M1")
    ready = place.make(Text("Yes"), chat, "M1")
    context = ready.message.extendedTextMessage.contextInfo
    assert (ready.chat, context.stanzaID, context.participant) == (ADA, "M1", ADA)
    assert context.quotedMessage.conversation == "Hello"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (Text("Hello"), lambda quoted: quoted.conversation == "Hello"),
        (Media(Kind.IMAGE, caption="Look"), lambda quoted: quoted.HasField("imageMessage")),
        (Media(Kind.VIDEO), lambda quoted: quoted.HasField("videoMessage")),
        (Media(Kind.AUDIO), lambda quoted: quoted.HasField("audioMessage")),
        (Media(Kind.STICKER), lambda quoted: quoted.HasField("stickerMessage")),
        (Media(Kind.DOCUMENT), lambda quoted: quoted.HasField("documentMessage")),
        (Location(1.5, 2.5), lambda quoted: quoted.locationMessage.degreesLatitude == 1.5),
        (Contacts((Contact("Ada", ("+4915100002",)),)), lambda quoted: quoted.contactMessage.vcard),
        (Poll("Tea?", ("yes", "no")), lambda quoted: quoted.pollCreationMessage.name == "Tea?"),
        (None, lambda quoted: quoted.conversation == ""),
    ],
)
def test_what_the_account_has_sent_itself_can_be_answered(
    place: Place, content: Content | None, shown: Callable[[Any], object]
) -> None:
    place.sent("S1", content)
    context = place.message(Text("and"), person(NUMBER), "S1").extendedTextMessage.contextInfo
    assert (context.stanzaID, context.participant) == ("S1", ME)
    assert context.HasField("quotedMessage")
    assert shown(context.quotedMessage)
    assert not context.quotedMessage.HasField("messageContextInfo")


def test_what_was_sent_before_there_was_an_outbox_can_be_answered(place: Place) -> None:
    place.inbox.ledger.sending(bytes(16), ADA, NOW)
    place.inbox.ledger.sent(bytes(16), "S0")
    assert place.message(Text("and"), ADA, "S0").extendedTextMessage.contextInfo.participant == ME


@pytest.mark.parametrize(
    "content", [Location(1, 2), Contacts((Contact("A", ("+4915100002",)),)), Poll("?", ("a", "b"))]
)
def test_every_kind_can_answer(place: Place, content: Content) -> None:
    place.has("M1")
    message = place.message(content, ADA, "M1")
    (part,) = [part for field, part in message.ListFields() if field.name != "messageContextInfo"]
    assert part.contextInfo.stanzaID == "M1"


def test_a_message_vanishes_when_the_others_of_its_chat_do(place: Place) -> None:
    place.has("M0", BOB, BOB, extendedTextMessage={"text": "x", "contextInfo": {"expiration": 86400}})
    place.has(
        "M1",
        extendedTextMessage={
            "text": "x",
            "contextInfo": {"expiration": 604800, "ephemeralSettingTimestamp": 7},
        },
    )
    context = place.message(Text("Hello"), person(NUMBER)).extendedTextMessage.contextInfo
    assert (context.expiration, context.ephemeralSettingTimestamp) == (604800, 7)
    context = place.message(Media(Kind.IMAGE, file=place.file())).imageMessage.contextInfo
    assert context.expiration == 604800
    place.has("M2")  # somebody has turned that off
    assert place.message(Text("Hello")).conversation == "Hello"


# Files


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Kind.IMAGE, "imageMessage"),
        (Kind.VIDEO, "videoMessage"),
        (Kind.AUDIO, "audioMessage"),
        (Kind.VOICE, "audioMessage"),
        (Kind.STICKER, "stickerMessage"),
        (Kind.DOCUMENT, "documentMessage"),
    ],
)
def test_a_file_is_uploaded_as_bytes(place: Place, kind: Kind, field: str) -> None:
    file = place.file(b"bytes", width=30, height=20, seconds=4, animated=True, thumbnail=b"t", waveform=b"w")
    about = getattr(place.message(Media(kind, file=file)), field)
    assert place.library.uploads == [(b"bytes", kind)]
    assert (about.URL, about.directPath, about.mediaKey) == (UPLOADED.url, "/v", UPLOADED.key)
    assert (about.fileEncSHA256, about.fileSHA256, about.fileLength) == (b"e" * 32, b"s" * 32, 5)
    sizes = (about.width, about.height) if "width" in about.DESCRIPTOR.fields_by_name else None
    assert sizes in ((30, 20), None) or kind is Kind.DOCUMENT
    match kind:
        case Kind.VOICE:
            assert (about.PTT, about.waveform, about.seconds) == (True, b"w", 4)
            assert about.mimetype == "audio/ogg; codecs=opus"
        case Kind.AUDIO:
            assert (about.PTT, about.seconds, about.mimetype) == (False, 4, "image/jpeg")
        case Kind.STICKER:
            assert about.isAnimated
        case Kind.VIDEO:
            assert (about.seconds, about.JPEGThumbnail) == (4, b"t")


def test_captions_and_names(place: Place) -> None:
    content = Media(Kind.IMAGE, file=place.file(), caption="Look", mentions=(BOB,))
    about = place.message(content).imageMessage
    assert (about.caption, list(about.contextInfo.mentionedJID)) == ("Look", [BOB])
    place.has("M1")
    file = place.file(mime="application/pdf", name="old.pdf")
    outer = place.message(Media(Kind.DOCUMENT, file=file, caption="Read", file_name="new.pdf"), reply_to="M1")
    about = outer.documentWithCaptionMessage.message.documentMessage
    assert (about.caption, about.fileName, about.contextInfo.stanzaID) == ("Read", "new.pdf", "M1")
    about = place.message(Media(Kind.DOCUMENT, file=file)).documentMessage
    assert about.fileName == "old.pdf"


def is_gone(path: Path) -> None:
    path.unlink()


def is_altered(path: Path) -> None:
    path.write_bytes(b"bytes"[::-1])


def is_longer(path: Path) -> None:
    path.write_bytes(b"bytes and more")


def is_a_link(path: Path) -> None:
    path.rename(path.with_name("18"))
    path.symlink_to("18")


def is_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def is_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [is_gone, is_altered, is_longer, is_a_link, is_a_folder, is_a_pipe])
def test_another_file_than_was_checked_is_never_sent(place: Place, change: Callable[[Path], None]) -> None:
    file = place.file()
    change(place.folder / "outgoing" / file.id)
    with pytest.raises(Unsendable) as caught:
        place.make(Media(Kind.IMAGE, file=file))
    assert caught.value.key == "file_missing"
    assert place.library.uploads == []


def test_an_upload_that_is_refused_is_over_and_another_failure_is_not(place: Place) -> None:
    content = Media(Kind.IMAGE, file=place.file())
    place.library.error = RuntimeError("upload failed with status code 413")
    with pytest.raises(Unsendable) as caught:
        place.make(content)
    assert caught.value.key == "file_unfit"
    place.library.error = RuntimeError("failed to execute request: timed out")
    with pytest.raises(RuntimeError):
        place.make(content)
    place.library.error = None
    assert place.make(content).message is not None


# Places, people, polls


def test_places_people_and_polls(place: Place) -> None:
    about = place.message(Location(-1.5, 179, "Here", "There 1")).locationMessage
    assert (about.degreesLatitude, about.degreesLongitude, about.name, about.address) == (
        -1.5,
        179.0,
        "Here",
        "There 1",
    )
    ada, bob = Contact("Ada", ("+4915100002",)), Contact("Bob", vcard="BEGIN:VCARD\nEND:VCARD")
    about = place.message(Contacts((ada,))).contactMessage
    assert (about.displayName, about.vcard) == ("Ada", vcard(ada))
    about = place.message(Contacts((ada, bob))).contactsArrayMessage
    assert [(one.displayName, one.vcard) for one in about.contacts] == [
        ("Ada", vcard(ada)),
        ("Bob", bob.vcard),
    ]
    about = place.message(Poll("Tea?", ("yes", "no"), 0)).pollCreationMessage
    assert (about.name, [one.optionName for one in about.options], about.selectableOptionsCount) == (
        "Tea?",
        ["yes", "no"],
        0,
    )


def test_nothing_in_a_name_ends_its_line_of_a_card() -> None:
    card = vcard(Contact("Ada; B, C\\", ("+4915100002",)))
    assert "FN:Ada\\; B\\, C\\\\" in card.split("\n")
    assert "TEL;type=CELL;waid=4915100002:+4915100002" in card.split("\n")


# About other messages


def test_reactions_name_whose_message_it_is(place: Place) -> None:
    place.has("M1")
    place.has("M2", GROUP, BOB)
    place.has("M3", GROUP, ME, mine=True)
    place.sent("S1", Text("x"), GROUP)
    keys = []
    for to, id_ in [(person(NUMBER), "M1"), (GROUP, "M2"), (GROUP, "M3"), (GROUP, "S1")]:
        ready = place.make(Reaction(id_, THUMB), to)
        key = ready.message.reactionMessage.key
        assert ready.chat == key.remoteJID
        keys.append((ready.chat, key.fromMe, key.ID, key.participant))
    assert keys == [
        (ADA, False, "M1", ""),
        (GROUP, False, "M2", BOB),
        (GROUP, True, "M3", ""),
        (GROUP, True, "S1", ""),
    ]
    about = place.message(Reaction("M1", "")).reactionMessage
    assert (about.text, about.senderTimestampMS) == ("", int(NOW * 1000))


def test_an_edit_has_the_new_text(place: Place) -> None:
    place.sent("S1", Text("old"))
    ready = place.make(Edit("S1", "new", (BOB,)), person(NUMBER))
    about = ready.message.editedMessage.message.protocolMessage
    assert (ready.chat, about.key.remoteJID, about.key.fromMe, about.key.ID) == (ADA, ADA, True, "S1")
    new = about.editedMessage.extendedTextMessage
    assert (new.text, list(new.contextInfo.mentionedJID)) == ("new", [BOB])
    assert (
        place.message(Edit("S1", "new")).editedMessage.message.protocolMessage.editedMessage.conversation
        == "new"
    )


def test_what_the_phone_has_sent_can_be_edited_too(place: Place) -> None:
    place.has("M1", ADA, ME, mine=True)
    assert place.message(Edit("M1", "new")).editedMessage.message.protocolMessage.key.fromMe


def test_a_revocation_names_the_author_to_groups_only(place: Place) -> None:
    place.sent("S1", Text("x"))
    place.has("M2", GROUP, BOB)
    key = place.message(Revocation("S1")).protocolMessage.key
    assert (key.fromMe, key.participant, key.ID) == (True, "", "S1")
    about = place.message(Revocation("M2"), GROUP).protocolMessage
    assert (about.key.fromMe, about.key.participant, about.type) == (False, BOB, about.Type.Value("REVOKE"))


def test_what_cannot_be_changed_is_not_tried(place: Place) -> None:
    place.has("M1")
    place.has("M2", ADA, ME, mine=True, imageMessage={"caption": "x"})
    place.sent("S1", Media(Kind.IMAGE))
    place.sent("S2", Text("old"), at=NOW - EDIT_SECONDS - 1)
    for content in (Edit("M1", "x"), Edit("M2", "x"), Edit("S1", "x"), Edit("S2", "x"), Revocation("M1")):
        with pytest.raises(Unsendable) as caught:
            place.make(content)
        assert caught.value.key == "not_sent"


def test_nothing_is_done_about_messages_of_other_chats(place: Place) -> None:
    place.has("M1")
    place.sent("S1", Text("x"))
    for id_ in ("M1", "S1", "M9"):
        for content in (Reaction(id_, THUMB), Edit(id_, "x"), Revocation(id_), Read((id_,))):
            with pytest.raises(Unsendable) as caught:
                place.make(content, BOB)
            assert caught.value.key == "message_unknown"
        with pytest.raises(Unsendable):
            place.make(Text("Yes"), BOB, id_)


def test_read_marks_go_to_each_author_and_are_no_message(place: Place) -> None:
    for number, sender in enumerate((ADA, BOB, ADA, ME)):
        place.has(f"M{number}", GROUP, sender, mine=sender == ME)
    ready = place.make(Read(("M0", "M1", "M2", "M3")), GROUP)
    assert ready.message is None
    assert ready.marks == (Marks(GROUP, ADA, ("M0", "M2")), Marks(GROUP, BOB, ("M1",)))
    assert ready.hand_over(place.library) is None
    assert place.library.done == [(GROUP, ADA, ("M0", "M2")), (GROUP, BOB, ("M1",))]
    with pytest.raises(Unsendable):
        place.make(Read(("M0", "M9")), GROUP)


def test_without_an_inbox_texts_are_sent_all_the_same(tmp_path: Path) -> None:
    composer = Composer(Library(), Intake(None, Messages(), lambda _: None, None), tmp_path)
    assert said(composer.make(Outgoing(BOB, Text("Hello")), SECRET, NOW)) == "Hello"
    for content in (Reaction("M1", THUMB), Read(("M1",)), Revocation("M1"), Edit("M1", "x")):
        with pytest.raises(Unsendable):
            composer.make(Outgoing(BOB, content), SECRET, NOW)


def test_of_an_inbox_that_cannot_be_read_nothing_is_concluded(tmp_path: Path) -> None:
    (tmp_path / "inbox.sqlite3").write_bytes(b"no database" * 1000)
    composer = Composer(Library(), Intake(None, Messages(), lambda _: None, tmp_path), tmp_path)
    with pytest.raises(InboxError):
        composer.make(Outgoing(BOB, Read(("M1",))), SECRET, NOW)
    assert said(composer.make(Outgoing(BOB, Text("Hello")), SECRET, NOW)) == "Hello"
