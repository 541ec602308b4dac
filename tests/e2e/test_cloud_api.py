"""Unmodified programs for Meta's Cloud API, the real service, and sandbox phones.

pywa is client and receiver at once: its own server checks the verify token and the signature of each webhook.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from kapso_whatsapp import WhatsAppClient
from kapso_whatsapp.exceptions import WhatsAppAPIError
from PIL import Image
from pywa import errors
from support.cloud_clients import Elsewhere, PywaServer
from support.conversation import Contact, bare
from support.linked import wait_until
from support.ports import free_port
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.talking import MediaKind

Json = dict[str, Any]
NEEDLE = "xylophone"
APP_SECRET, VERIFY_TOKEN = "an app's secret", "a verify token"
OGG = b"OggS" + bytes(24) + b"OpusHead" + bytes(200)
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(200)
MP3 = b"ID3\x04" + bytes(200)
PDF = b"%PDF-1.7\n" + bytes(200)


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, kind)
    return file.getvalue()


class Meta:
    """A service that looks like Meta's, with a program for it.

    Attributes:
        service: The service.
        number: The account's number, with +.
        base: The URL of its gateway.
        token: A token for it.
        wa: pywa.
    """

    def __init__(self, service: Service, number: str, port: int, token: str, server: PywaServer) -> None:
        self.service = service
        self.number = number
        self.base = f"http://127.0.0.1:{port}"
        self.token = token
        self._server = server
        self.wa = server.pywa.wa

    @property
    def digits(self) -> str:
        return bare(self.number)

    def got(self, wanted: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - pywa's own types
        """Return the first update that pywa handled and that is wanted, waiting for it if need be."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [one for one in list(self._server.pywa.got) if wanted(one)]
            return bool(found)

        wait_until(look, "pywa did not get it")
        return found[0]

    def id_of(self, sent: Any) -> str:  # noqa: ANN401
        """Return WhatsApp's id of what a program has sent, which may have been told the row only."""
        name = sent if isinstance(sent, str) else sent.id
        if not name.startswith("row."):
            return str(name)
        found: list[str] = []

        def look() -> bool:
            url = f"{self.base}/api/accounts/support/outbox/{name.removeprefix('row.')}"
            row = httpx.get(url, headers={"Authorization": f"Bearer {self.token}"}).json()
            found[:] = [row["id"]] if row["id"] else []
            return bool(found)

        wait_until(look, "it is not sent")
        return found[0]

    def message(self, message_id: str) -> Any:  # noqa: ANN401
        return self.got(lambda one: type(one).__name__ == "Message" and one.id == message_id)

    def status(self, message_id: str, status: str) -> Any:  # noqa: ANN401
        def wanted(one: Any) -> bool:  # noqa: ANN401
            return type(one).__name__ == "MessageStatus" and (one.id, one.status.value) == (
                message_id,
                status,
            )

        return self.got(wanted)


def secret(folder: Path, name: str, words: str) -> str:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(f"{words}\n")
    return str(path)


@pytest.fixture(scope="module")
def meta(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Meta]:
    port, number, folder = free_port(), make_number(), make_folder()
    base = f"http://127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", 0)) as sock, httpx.Client(transport=Elsewhere(base)) as session:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/hook"
        hook = {
            "url": url,
            "format": "cloud",
            "app_secret_file": secret(folder, "app.secret", APP_SECRET),
            "verify_token_file": secret(folder, "verify.token", VERIFY_TOKEN),
        }
        accounts = {"support": {"messages": {"allow": "*", "groups": True}, "sending": {"pacing": "off"}}}
        with Service(
            folder, shared_sandbox, accounts, http={"listen": f"127.0.0.1:{port}"}, webhooks={"crm": hook}
        ) as service:
            service.pair("support", number)
            token = service.command(
                "token", "add", "pywa", "--scope", "read,send", "--account", "support"
            ).stdout.split()[-1]
            server = PywaServer(
                sock, number=bare(number), token=token, session=session, verify_token=VERIFY_TOKEN,
                app_secret=APP_SECRET,
            )  # fmt: skip
            try:
                wait_until(lambda: answers(base, token), "the gateway does not answer")
                yield Meta(service, number, port, token, server)
            finally:
                server.end()


def answers(base: str, token: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{base}/v23.0/support?access_token={token}").status_code == 200
    return False


@pytest.fixture
def ada(shared_sandbox: SandboxProcess, make_number: Callable[[], str]) -> Contact:
    contact = Contact(make_number(), shared_sandbox.client)
    shared_sandbox.client.add_phone(contact.number, "Ada")
    return contact


def test_the_receiver_proved_that_it_expects_the_webhook(meta: Meta) -> None:
    meta.service.wait_for_log("crm: the receiver has answered hub.challenge")


def test_pywa_is_written_to_answers_reacts_and_reads(meta: Meta, ada: Contact) -> None:
    asked = ada.write(meta.number, f"{NEEDLE} one")
    message = meta.message(asked)
    assert (message.text, message.from_user.name, message.from_user.wa_id) == (
        f"{NEEDLE} one", "Ada", bare(ada.number),
    )  # fmt: skip
    assert message.metadata.phone_number_id == meta.digits
    sent = message.reply("an answer", quote=True, tracker="order 17")
    shown = ada.gets(meta.id_of(sent))
    assert shown["text"] == "an answer"
    assert meta.status(sent.id, "delivered").tracker == "order 17"
    ada.sandbox.read(ada.number, meta.id_of(sent))
    assert meta.status(sent.id, "read").from_user.wa_id == bare(ada.number)
    reaction = message.react("\N{THUMBS UP SIGN}")
    assert ada.gets(meta.id_of(reaction))["emoji"] == "\N{THUMBS UP SIGN}"
    assert message.mark_as_read()
    wait_until(
        lambda: (
            [one["read"] for one in ada.sandbox.sent(ada.number) if one["id"] == asked] == [[meta.number]]
        ),
        "it is not shown as read",
    )
    assert message.indicate_typing()
    wait_until(lambda: bool(ada.sandbox.typing(ada.number)), "typing is not shown")
    assert not [line for line in meta.service.log if NEEDLE in line or "an answer" in line]
    assert not [line for line in meta.service.log if meta.token in line or bare(ada.number) in line]


def read_by(contact: Contact, message_id: str) -> list[str]:
    (found,) = [one["read"] for one in contact.sandbox.sent(contact.number) if one["id"] == message_id]
    return list(found)


def test_pywa_hears_of_reactions_edits_and_revocations(meta: Meta, ada: Contact) -> None:
    asked = ada.write(meta.number, "first")
    meta.message(asked)
    send = ada.sandbox.send
    send(ada.number, meta.number, "reaction", of=asked, emoji="\N{THUMBS UP SIGN}")
    reaction = meta.got(lambda one: getattr(one, "reaction", None) is not None)
    assert (reaction.reaction.message_id, reaction.reaction.emoji) == (asked, "\N{THUMBS UP SIGN}")
    send(ada.number, meta.number, "edit", of=asked, text="second")
    edit = meta.got(lambda one: type(one).__name__ == "EditedMessage")
    assert (edit.original_message_id, edit.message.text) == (asked, "second")
    send(ada.number, meta.number, "revoke", of=asked)
    assert meta.got(lambda one: type(one).__name__ == "DeletedMessage").original_message_id == asked


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("image", picture("JPEG")),
        ("video", MP4),
        ("audio", MP3),
        ("voice", OGG),
        ("document", PDF),
        ("sticker", picture("WEBP")),
    ],
)
def test_files_are_the_same_at_both_ends(meta: Meta, ada: Contact, kind: MediaKind, data: bytes) -> None:
    came = meta.message(ada.sandbox.send_media(ada.number, meta.number, kind, data))
    assert getattr(came, kind) is not None
    assert came.media.get_bytes() == data
    about = meta.wa.get_media_url(came.media.id)
    assert (about.file_size, len(about.sha256)) == (len(data), 64)

    types = {
        "image": "image/jpeg", "video": "video/mp4", "audio": "audio/mpeg", "voice": "audio/ogg",
        "document": "application/pdf", "sticker": "image/webp",
    }  # fmt: skip
    more = {"filename": "invoice.pdf"} if kind == "document" else {}
    send = getattr(meta.wa, f"send_{kind}")
    sent = send(bare(ada.number), data, mime_type=types[kind], **more)
    shown = ada.gets(meta.id_of(sent))
    assert shown["kind"] == kind
    got = ada.sandbox.attachment(ada.number, shown["seq"])
    assert got == data
    if kind == "document":
        assert shown["file_name"] == "invoice.pdf"


def test_places_and_contacts_arrive_both_ways(meta: Meta, ada: Contact) -> None:
    asked = ada.sandbox.send(
        ada.number, meta.number, "location", latitude=52.5, longitude=13.4, name="Berlin"
    )
    place = meta.message(asked).location
    assert (place.latitude, place.longitude, place.name) == (52.5, 13.4, "Berlin")
    sent = meta.wa.send_location(bare(ada.number), 52.5, 13.4, name="Berlin")
    assert ada.gets(meta.id_of(sent))["kind"] == "location"


def test_pywa_talks_in_a_group(meta: Meta, ada: Contact) -> None:
    group = ada.sandbox.make_group(ada.number, "Team", [meta.number])["group"]
    asked = ada.write(group, "Hello, all")
    message = meta.message(asked)
    assert (message.chat.id, message.chat.type.value, message.from_user.wa_id) == (
        group, "GROUP", bare(ada.number),
    )  # fmt: skip
    sent = meta.wa.send_message(message.chat.id, "Hello, Ada")
    assert ada.gets(meta.id_of(sent))["text"] == "Hello, Ada"

    def delivered(one: Any) -> bool:  # noqa: ANN401
        return (
            type(one).__name__ == "GroupMessageStatuses"
            and one[0].id == sent.id
            and (one[0].status.value == "delivered")
        )

    statuses = meta.got(delivered)
    assert (statuses.group_id, statuses[0].from_user.wa_id) == (group, bare(ada.number))
    about = meta.wa.get_group(group)
    assert about.subject == "Team"
    assert {one.wa_id for one in about.participants} == {bare(ada.number), meta.digits}
    assert [one.id for one in meta.wa.get_groups()].count(group) == 1


def test_what_whatsapp_refuses_has_metas_numbers(
    meta: Meta, ada: Contact, make_number: Callable[[], str]
) -> None:
    with pytest.raises(errors.MessageUndeliverable):
        meta.wa.send_message(bare(make_number()), "Hello?")  # nobody has this number
    meta.message(ada.write(meta.number, "Hello"))
    ada.sandbox.refuse_sends(meta.number, ada.number, code=463)
    with pytest.raises(errors.WhatsAppError) as refused:
        meta.wa.send_message(bare(ada.number), "refused")
    assert (refused.value.code, refused.value.status_code) == (131049, 400)
    with pytest.raises(errors.MediaUploadError):
        meta.wa.send_image(bare(ada.number), PDF, mime_type="image/png")


def test_kapso_writes_and_fetches(meta: Meta, ada: Contact) -> None:
    asked = ada.sandbox.send_media(ada.number, meta.number, "image", picture("PNG"), caption="Look")
    came = meta.message(asked)

    async def use() -> tuple[str, bytes, str]:
        async with WhatsAppClient(access_token=meta.token, base_url=meta.base) as client:
            sent = await client.messages.send_text(
                phone_number_id=meta.digits,
                to=ada.number,
                body="a text of kapso's",
                context={"message_id": asked},
            )
            data = await client.media.download(media_id=came.media.id, phone_number_id=meta.digits)
            upload = await client.media.upload(
                phone_number_id=meta.digits, file=data, type="image/png", filename="a.png"
            )
            image = await client.messages.send_image(
                phone_number_id=meta.digits, to=ada.number, image={"id": upload.id, "caption": "Back"}
            )
            await client.messages.mark_read(phone_number_id=meta.digits, message_id=asked)
            with pytest.raises(WhatsAppAPIError) as error:
                await client.messages.send_template(
                    phone_number_id=meta.digits, to=ada.number, template={"name": "x", "language": "en"}
                )
            assert error.value.error_code == 131051
            return sent.message_id, data, image.message_id

    text, data, image = asyncio.run(use())
    assert data == picture("PNG")
    assert ada.gets(meta.id_of(text))["text"] == "a text of kapso's"
    shown = ada.gets(meta.id_of(image))
    assert shown["caption"] == "Back"
    assert ada.sandbox.attachment(ada.number, shown["seq"]) == picture("PNG")


def test_pywa_makes_and_changes_a_group(meta: Meta) -> None:
    group = meta.wa.create_group(subject="Orders", description="What was ordered").request_id
    about = meta.wa.get_group(group)
    assert (about.subject, about.description) == ("Orders", "What was ordered")
    assert [one.wa_id for one in about.participants] == [meta.digits]
    link = about.get_invite_link().link
    assert link.startswith("https://chat.whatsapp.com/")
    assert about.reset_invite_link().link != link
    meta.wa.update_group_settings(group, subject="Old orders", profile_picture=None)
    assert meta.wa.get_group(group).subject == "Old orders"


def test_what_waits_for_the_account_keeps_the_name_that_pywa_was_given(meta: Meta, ada: Contact) -> None:
    meta.message(ada.write(meta.number, "Are you there?"))
    meta.service.command("stop", "support")
    try:
        sent = meta.wa.send_message(bare(ada.number), "later", tracker="order 18")
        assert sent.id.startswith("row.")
    finally:
        meta.service.command("start", "support")
    status = meta.status(sent.id, "delivered")
    assert status.tracker == "order 18"
    (shown,) = [one for one in ada.sandbox.inbox(ada.number) if one.get("text") == "later"]
    answer = ada.sandbox.send(ada.number, meta.number, text="at last", quote=shown["id"])
    assert meta.message(answer).reply_to_message.id == sent.id
    reaction = meta.wa.send_reaction(bare(ada.number), "\N{THUMBS UP SIGN}", sent.id)
    assert ada.gets(meta.id_of(reaction))["of"] == shown["id"]
