"""What comes besides messages: what cannot be decrypted, receipts, and calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.linked import wait_until
from support.protobufs import ADA, GROUP, ME, Proto, info, jid, neonize, source

from orchestrator.accounts.settings import Messages
from orchestrator.messages.database import DATABASE
from orchestrator.messages.entry import Stored
from orchestrator.messages.inbox import Reader
from orchestrator.messages.rendering import render
from orchestrator.sending.forms import Kind as RowKind
from orchestrator.sending.row import Row, State
from orchestrator.worker.intake import Intake, open_inbox
from orchestrator.worker.tidings import MAX_CALLS, RING_SECONDS, Rejections, group_of

NOW = 1_800_000_000
NUMBER = "4915100001234"
ADA_NUMBER = f"{NUMBER}@s.whatsapp.net"
BOB = "111111111111111@lid"
SECRET = b"s" * 32
EVERYBODY: dict[str, Any] = {"allow": ("*",), "groups": True, "from_me": True}


class Session:
    """Knows one person by both addresses."""

    def number_of(self, user: str) -> str | None:
        return NUMBER if f"{user}@lid" == ADA else None

    def name_of(self, user: str, server: str) -> str | None:
        return "Ada" if f"{user}@{server}" == ADA else None

    def vote_of(self, event: Proto) -> list[bytes]:
        del event
        return []


class Set:
    def __init__(self, folder: Path, **settings: Any) -> None:  # noqa: ANN401
        keeps = Messages(**{**EVERYBODY, **settings})
        self.folder = folder
        self.intake = Intake(open_inbox(folder, keeps), keeps, lambda _: None)
        self.intake.ask(Session())

    def take(self, source_: Any, event: Proto) -> None:  # noqa: ANN401
        self.intake.take(source_, event, event.SerializeToString())

    def send(self, message_id: str, chat: str = ADA, during: Callable[[], object] = lambda: None) -> bool:
        tidings = self.intake.tidings
        if not tidings.sending(chat, SECRET + message_id.encode()):
            return False
        during()
        tidings.sent(chat, SECRET + message_id.encode(), message_id, NOW, self.intake.store)
        tidings.ended()
        return True

    def receipt(
        self, kind: str, *ids: str, chat: str = ADA, sender: str = "", from_me: bool = False, alt: str = "@"
    ) -> None:
        self.take(
            "receipt",
            neonize.Receipt(
                MessageSource=source(chat, sender or chat, from_me=from_me, sender_alt=alt),
                MessageIDs=ids,
                Timestamp=NOW,
                Type=neonize.Receipt.ReceiptType.Value(kind),
            ),
        )

    @property
    def stored(self) -> list[Stored]:
        if not (self.folder / DATABASE).exists():
            return []
        reader = Reader.open(self.folder)
        try:
            return reader.after(0)
        finally:
            reader.close()

    @property
    def statuses(self) -> list[tuple[str, str, str]]:
        return [(one.id, one.sender, one.notes["status"]) for one in self.stored if one.source == "receipt"]


@pytest.fixture
def made(tmp_path: Path) -> Set:
    return Set(tmp_path)


# What cannot be decrypted


def undecryptable(message_id: str = "A1", where: Proto = None, *, category: str = "") -> Proto:
    about = info(message_id, where, category=category)
    mode = neonize.UndecryptableMessage.DECRYPT_FAIL_SHOW
    return neonize.UndecryptableMessage(Info=about, IsUnavailable=False, DecryptFailMode=mode)


def test_what_cannot_be_decrypted_is_told_once_and_may_come_later(made: Set) -> None:
    for _ in range(3):
        made.take("undecryptable", undecryptable())
    (one,) = made.stored
    assert (one.source, one.chat, one.sender, one.id) == ("undecryptable", ADA, ADA, "A1")
    assert one.notes == {"phones": {ADA: f"+{NUMBER}"}, "names": {ADA: "Ada"}}
    repaired = neonize.Message(
        Info=info("A1"), IsEphemeral=False, IsViewOnce=False, IsViewOnceV2=False, IsEdit=False,
        IsViewOnceV2Extension=False, IsDocumentWithCaption=False, IsLottieSticker=False,
        UnavailableRequestID="", RetryCount=1,
    )  # fmt: skip
    repaired.Message.conversation = "at last"
    made.take("message", repaired)
    assert [(stored.source, stored.id) for stored in made.stored] == [
        ("undecryptable", "A1"),
        ("message", "A1"),
    ]


def test_what_goes_to_a_list_of_receivers_is_in_the_chat_with_its_sender(made: Set) -> None:
    made.take("undecryptable", undecryptable("A1", source("1764323999@broadcast", ADA)))
    made.take("undecryptable", undecryptable("A2", source("1764323999@broadcast", ME, from_me=True)))
    made.take("undecryptable", undecryptable("A3", source("status@broadcast", ADA)))
    assert [(one.chat, one.sender) for one in made.stored] == [(ADA, ADA)]


@pytest.mark.parametrize(
    ("settings", "where", "category"),
    [
        ({"allow": ()}, source(), ""),
        ({"allow": ("4915100009999",)}, source(), ""),
        ({"groups": False}, source(GROUP, ADA), ""),
        ({"from_me": False}, source(ADA, ME, from_me=True), ""),
        ({}, source(ME, ME, from_me=True), "peer"),
        ({}, source("status@broadcast", ADA), ""),
    ],
    ids=["nobody", "others", "group", "own", "peer", "status"],
)
def test_what_is_not_allowed_is_not_told(
    tmp_path: Path, settings: dict[str, Any], where: Proto, category: str
) -> None:
    made = Set(tmp_path, **settings)
    made.take("undecryptable", undecryptable("A1", where, category=category))
    assert made.stored == []


# Receipts


def test_what_becomes_of_a_message_that_was_sent(made: Set) -> None:
    assert made.send("S1")
    for kind in ("DELIVERED", "DELIVERED", "INACTIVE", "READ", "DELIVERED", "PLAYED", "READ", "INACTIVE"):
        made.receipt(kind, "S1")
    assert made.statuses == [("S1", ADA, "sent"), ("S1", ADA, "delivered"), ("S1", ADA, "read")]


class Outbox:
    """Has one row."""

    row = Row(7, RowKind.TEXT, ADA, State.SENT, 1.0, 2.0, 1.5, message="S1", tag="order 7")

    def by_message(self, id_: str) -> Row | None:
        return self.row if id_ == "S1" else None


def test_each_status_names_the_row_of_its_message(made: Set) -> None:
    made.intake.tidings.rows = Outbox()
    made.send("S1")
    made.receipt("DELIVERED", "S1")
    made.send("S2")
    events = [render(one, "support") for one in made.stored]
    said = [(one["data"]["id"], one["data"]["row"], one["data"]["tag"]) for one in events if one is not None]
    assert said == [("S1", 7, "order 7"), ("S1", 7, "order 7"), ("S2", None, None)]


def test_a_row_that_was_never_sent_has_failed(made: Set, tmp_path: Path) -> None:
    row = replace(Outbox.row, state=State.FAILED, message=None, code=463, why="WhatsApp refuses it")
    for _ in range(2):
        for entry in made.intake.tidings.not_sent(ADA, row, NOW):
            made.intake.store(entry)
    for entry in made.intake.tidings.not_sent(ADA, replace(row, number=8, code=None), NOW):
        made.intake.store(entry)
    events = [one["data"] for stored in made.stored if (one := render(stored, "support")) is not None]
    said = [(one["status"], one["row"], one["tag"], one["code"], one["why"]) for one in events]
    assert said == [
        ("failed", 7, "order 7", 463, "WhatsApp refuses it"),
        ("failed", 8, "order 7", None, "WhatsApp refuses it"),
    ]
    (tmp_path / "nobody").mkdir()
    nobody = Set(tmp_path / "nobody", allow=())
    assert nobody.intake.tidings.not_sent(ADA, row, NOW) == []


@pytest.mark.parametrize("allow", [("*",), ()])
def test_every_receipt_is_heard_by_who_has_sent_the_message(tmp_path: Path, allow: tuple[str, ...]) -> None:
    made = Set(tmp_path, allow=allow)
    heard: list[str] = []
    made.intake.tidings.on_receipt = heard.extend
    made.receipt("DELIVERED", "S1", "S2", "S1")
    made.receipt("SENDER", "S3", from_me=True)
    assert heard == ["S1", "S2", "S3"]


def test_delivered_after_read_is_no_news(made: Set) -> None:
    made.send("S1")
    made.receipt("PLAYED", "S1")
    made.receipt("DELIVERED", "S1")
    assert made.statuses[1:] == [("S1", ADA, "read")]


def test_a_receipt_may_come_before_its_sender_knows_the_message(made: Set) -> None:
    def early() -> None:
        made.receipt("DELIVERED", "S1", "of somebody else")
        made.receipt("READ", "S1")
        made.receipt("READ", "S9")

    made.send("S1", during=early)
    assert made.statuses == [("S1", ADA, "sent"), ("S1", ADA, "delivered"), ("S1", ADA, "read")]
    made.send("S9")
    assert made.statuses[3:] == [("S9", ADA, "sent")]


def test_a_receipt_may_come_while_its_sender_takes_note_of_the_message(
    made: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made.intake.inbox is not None
    ledger, tidings = made.intake.inbox.ledger, made.intake.tidings
    look_up = ledger.sent_chats

    def note() -> None:
        tidings.sent(ADA, SECRET, "S1", NOW, made.intake.store)

    def look_up_just_before(ids: Any) -> dict[str, str]:  # noqa: ANN401
        found = look_up(ids)
        sender.start()
        sender.join(0.5)  # it may have to wait for this thread
        return found

    sender = threading.Thread(target=note, daemon=True)
    assert tidings.sending(ADA, SECRET)
    monkeypatch.setattr(ledger, "sent_chats", look_up_just_before)
    made.receipt("READ", "S1")
    sender.join(30)
    tidings.ended()
    assert [status for _, _, status in made.statuses] == ["sent", "read"]


def test_one_receipt_may_be_about_many_messages(made: Set) -> None:
    ids = [f"S{count}" for count in range(700)]
    for one in ids[:3]:
        made.send(one)
    made.receipt("READ", *ids, ids[0], "of somebody else")
    assert [id_ for id_, _, status in made.statuses if status == "read"] == ids[:3]


def test_a_receipt_is_not_stored_with_all_its_identifiers_for_each_of_them(made: Set) -> None:
    ids = [f"S{count}" for count in range(20)]
    for one in ids[:-1]:
        made.send(one)
    padding = [f"{count:05}" + "x" * 995 for count in range(3000)]
    made.receipt("READ", *ids[:-1], *padding)
    # One that comes while a message is being sent is kept in memory, too.
    made.send(ids[-1], during=lambda: made.receipt("READ", ids[-1], *padding))
    stored = [one for one in made.stored if one.notes.get("status") == "read"]
    assert sorted(one.id for one in stored) == sorted(ids)
    assert all(0 < len(one.raw) < 1000 for one in stored)
    events = [render(one, "a") for one in stored]
    assert all(one is not None and one["data"]["status"] == "read" for one in events)


def test_in_a_group_each_receiver_has_a_status(made: Set) -> None:
    made.send("S1", GROUP)
    made.receipt("DELIVERED", "S1", chat=GROUP, sender=ADA)
    made.receipt("DELIVERED", "S1", chat=GROUP, sender=BOB)
    made.receipt("READ", "S1", chat=GROUP, sender=BOB)
    made.receipt("READ", "S1", chat=GROUP, sender=ADA)
    assert made.statuses[1:] == [
        ("S1", ADA, "delivered"),
        ("S1", BOB, "delivered"),
        ("S1", BOB, "read"),
        ("S1", ADA, "read"),
    ]


def test_the_same_person_under_two_addresses_says_it_once(made: Set) -> None:
    made.send("S1")
    made.receipt("READ", "S1")
    made.receipt("READ", "S1", chat=ADA_NUMBER, alt=ADA)
    made.receipt("DELIVERED", "S1", chat=ADA_NUMBER, alt=ADA)
    assert len(made.statuses) == 2


@pytest.mark.parametrize(
    "kind", ["SENDER", "RETRY", "READ_SELF", "PLAYED_SELF", "SERVER_ERROR", "PEER_MSG", "HISTORY_SYNC"]
)
def test_other_receipts_say_nothing_of_others(made: Set, kind: str) -> None:
    made.send("S1")
    made.receipt(kind, "S1")
    assert len(made.statuses) == 1


def test_own_devices_are_no_receivers(made: Set) -> None:
    made.send("S1")
    made.receipt("READ", "S1", chat=ADA, sender=ME, from_me=True)
    made.receipt("DELIVERED", "S1", chat=ME, from_me=True)
    assert len(made.statuses) == 1


def test_whoever_is_not_in_a_chat_says_nothing_of_it(made: Set) -> None:
    made.send("S1", GROUP)
    made.send("S2", ADA)
    made.receipt("READ", "S1", chat=ADA)
    made.receipt("READ", "S2", chat=GROUP, sender=ADA)
    made.receipt("READ", "S1", chat="120363000000000002@g.us", sender=ADA)
    assert [status for _, _, status in made.statuses] == ["sent", "sent"]


def test_what_the_phone_sent_has_no_status(made: Set) -> None:
    made.receipt("READ", "P1")
    assert made.statuses == []


def test_nothing_of_a_chat_that_is_not_allowed(tmp_path: Path) -> None:
    made = Set(tmp_path, allow=(NUMBER,))
    assert made.send("S1", ADA)
    assert not made.send("S2", BOB)
    made.receipt("READ", "S2", chat=BOB)
    made.receipt("READ", "S1")
    assert made.statuses == [("S1", ADA, "sent"), ("S1", ADA, "read")]
    assert not Set(tmp_path / "none", allow=()).send("S1")


# Calls


def offer(
    *,
    caller: str = ADA,
    call: str = "C1",
    at: int = NOW,
    group: str | None = None,
    alt: str = "@",
    text: bool = False,
) -> Proto:
    attributes = []
    if group is not None:
        value = {"text": group} if text else {"jid": jid(group)}
        attributes.append(neonize.NodeAttrs(name="group-jid", **value))
    about = neonize.BasicCallMeta(
        **{"from": jid(caller)}, timestamp=at, callCreator=jid(caller), callCreatorAlt=jid(alt), callID=call
    )
    remote = neonize.CallRemoteMeta(remotePlatform="android", remoteVersion="2")
    data = neonize.Node(Tag="offer", Attrs=attributes, Nil=False)
    return neonize.CallOffer(basicCallMeta=about, callRemoteMeta=remote, data=data)


def notice(*, caller: str = ADA, call: str = "C1") -> Proto:
    about = offer(caller=caller, call=call).basicCallMeta
    return neonize.CallOfferNotice(
        basicCallMeta=about, media="audio", type="group", data=neonize.Node(Tag="offer_notice", Nil=False)
    )


def test_a_call_is_told_once(made: Set) -> None:
    for _ in range(2):
        made.take("call", offer())
        made.take("call_notice", notice(call="C2"))
    assert [(one.source, one.chat, one.sender, one.id, one.at) for one in made.stored] == [
        ("call", ADA, ADA, "C1", NOW),
        ("call_notice", ADA, ADA, "C2", NOW),
    ]


def test_the_number_of_a_caller_who_never_wrote_is_known(made: Set) -> None:
    made.take("call", offer(caller=BOB, alt="4915100007777@s.whatsapp.net"))
    made.take("call", offer(call="C2", alt="4915100007777@s.whatsapp.net"))
    made.take("call", offer(caller=ADA_NUMBER, call="C3", alt=ADA))
    assert [one.notes.get("phones") for one in made.stored] == [
        {BOB: "+4915100007777"},
        {ADA: f"+{NUMBER}"},
        None,
    ]


@pytest.mark.parametrize(
    ("settings", "event", "chat"),
    [
        ({"allow": ()}, offer(), None),
        ({"allow": ("4915100009999",)}, offer(), None),
        ({"allow": (NUMBER,)}, offer(), ADA),
        ({"allow": (NUMBER,)}, offer(caller=BOB, alt=ADA_NUMBER), BOB),
        ({"allow": (NUMBER,)}, offer(group=GROUP), GROUP),
        ({"allow": (NUMBER,)}, offer(caller=BOB, group=GROUP), None),
        ({"allow": (GROUP,)}, offer(caller=BOB, group=GROUP), GROUP),
        ({"allow": ("*",), "groups": False}, offer(group=GROUP), GROUP),
    ],
)
def test_calls_of_those_who_are_allowed(
    tmp_path: Path, settings: dict[str, Any], event: Proto, chat: str | None
) -> None:
    made = Set(tmp_path, **settings)
    made.take("call", event)
    assert [one.chat for one in made.stored] == ([] if chat is None else [chat])


def test_a_call_for_a_group_names_the_group() -> None:
    assert group_of(offer()) is None
    assert group_of(offer(group=GROUP)) == group_of(offer(group=GROUP, text=True)) == GROUP
    assert group_of(offer(group="x" * 900, text=True)) is None
    assert group_of(offer(group=ADA)) is None


class Phone:
    """Takes note of what is rejected; the first rejection takes as long as a test wants."""

    def __init__(self) -> None:
        self.rejected: list[str] = []
        self.goes_on = threading.Event()

    def reject(self, caller: Proto, call: str) -> None:
        assert f"{caller.User}@{caller.Server}" in (ADA, BOB)
        self.goes_on.wait()
        self.rejected.append(call)
        if call == "bad":
            raise RuntimeError(call)


def test_calls_are_rejected_one_after_the_other_and_nobody_waits() -> None:
    phone = Phone()
    rejections = Rejections(phone.reject, lambda: NOW + 1)
    assert rejections.hear(offer(call="first"))
    assert rejections.hear(offer(call="bad", caller=BOB))
    for count in range(500):
        assert rejections.hear(offer(call=f"C{count}"))
    phone.goes_on.set()
    wait_until(lambda: bool(phone.rejected) and not rejections._works, "they are not rejected")
    assert len(phone.rejected) <= MAX_CALLS + 1
    assert phone.rejected[-1] == "C499"
    assert rejections.hear(offer(call="later"))
    wait_until(lambda: phone.rejected[-1] == "later", "a later one is not rejected")


@pytest.mark.parametrize(
    "event",
    [
        offer(at=NOW - int(RING_SECONDS) - 2), offer(group=GROUP), offer(call=""), offer(call="a b\0"),
        offer(group=f"{'x' * 200}@g.us"),
    ],
)  # fmt: skip
def test_what_is_over_or_of_a_group_is_not_rejected(event: Proto) -> None:
    phone = Phone()
    assert not Rejections(phone.reject, lambda: NOW).hear(event)


def test_an_error_is_logged_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    phone = Phone()
    phone.goes_on.set()
    rejections = Rejections(phone.reject, lambda: NOW)
    rejections.hear(offer(call="bad"))
    wait_until(lambda: bool(caplog.records), "nothing is logged")
    assert [one.getMessage() for one in caplog.records] == ["a call could not be rejected: RuntimeError"]


# Whatever comes

TEXTS = st.text(max_size=40)
JIDS = st.builds(
    lambda user, server, device: neonize.JID(
        User=user, Server=server, RawAgent=0, Device=device, Integrator=0
    ),
    st.sampled_from(["", ADA.partition("@")[0], "a b", "x" * 100]) | TEXTS,
    st.sampled_from(["lid", "g.us", "s.whatsapp.net", "broadcast", ""]) | TEXTS,
    st.integers(0, 2**32 - 1),
)


@given(
    sender=JIDS,
    chat=JIDS,
    ids=st.lists(TEXTS, max_size=5),
    at=st.integers(-(2**62), 2**62),
    kind=st.sampled_from(["READ", "DELIVERED"]),
)
def test_whatever_comes_is_stored_or_refused(
    tmp_path_factory: pytest.TempPathFactory, sender: Proto, chat: Proto, ids: list[str], at: int, kind: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "whatever"
    folder.mkdir(exist_ok=True)
    made = Set(folder)
    for one in ids:
        made.intake.tidings.sending(ADA, one.encode("utf-8", "surrogatepass"))
    where = source()
    where.Sender.CopyFrom(sender)
    where.Chat.CopyFrom(chat)
    made.take(
        "receipt",
        neonize.Receipt(
            MessageSource=where, MessageIDs=ids, Timestamp=at, Type=neonize.Receipt.ReceiptType.Value(kind)
        ),
    )
    made.take("undecryptable", undecryptable(ids[0] if ids else "", where))
    about = neonize.BasicCallMeta(
        **{"from": chat}, timestamp=at, callCreator=sender, callCreatorAlt=chat, callID=ids[0] if ids else ""
    )
    data = neonize.Node(Tag="offer", Attrs=[neonize.NodeAttrs(name="group-jid", jid=chat)], Nil=False)
    made.take("call_notice", neonize.CallOfferNotice(basicCallMeta=about, media="", type="", data=data))
    assert made.intake.inbox is not None
    made.intake.inbox.close()
