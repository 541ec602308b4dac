"""The face of the Cloud API: unmodified clients of Meta's API ask it, over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import pytest
import pywa
from kapso_whatsapp import WhatsAppClient
from kapso_whatsapp.exceptions import AuthenticationError, NotFoundError
from pywa import errors
from pywa.types import Contact
from support.cloud_clients import Elsewhere
from support.http_api import RunningApi, connect, request, running
from support.http_client import until

from orchestrator.access.scopes import Scope
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.http import cloud
from orchestrator.sending.row import State

T = TypeVar("T")
Json = dict[str, Any]

NUMBER = "15550100"  # of the account support
ADA = "4915100002"
CHAT = "4915100002@s.whatsapp.net"
GROUP = "120363041234567890@g.us"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
A_GROUP = {
    "id": GROUP, "subject": "Team", "description": None, "created_at": 1764323999, "owner": None,
    "only_admins_write": False, "only_admins_change": False, "disappearing_after": None, "member_count": 2,
}  # fmt: skip
MEMBERS = [
    {"id": "269139479534551@lid", "phone": "+4915100002", "role": "admin"},
    {"id": "269139479534552@lid", "phone": None, "role": "member"},
]


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for what the stand-in for the service never does."""
    monkeypatch.setattr(cloud, "WAIT_SECONDS", 0.0)


def api(tmp_path: Path, use: Callable[[RunningApi], Awaitable[T]], **more: Any) -> T:  # noqa: ANN401
    async def run() -> T:
        async with running(tmp_path, **more) as found:
            found.services.parent.ends = State.SENT
            return await use(found)

    return asyncio.run(run())


def with_pywa(
    tmp_path: Path,
    use: Callable[[Any, RunningApi], T],
    *,
    scopes: tuple[Scope, ...] = ("read", "send"),
    token: str | None = None,
) -> T:
    """Have pywa ask, in a thread of its own."""

    async def run(found: RunningApi) -> T:
        base = f"http://127.0.0.1:{found.address[1]}"
        key = token or found.token("pywa", scopes, ["support"])

        def ask() -> T:
            with httpx.Client(transport=Elsewhere(base)) as session:
                return use(pywa.WhatsApp(phone_id=NUMBER, token=key, session=session), found)

        return await asyncio.to_thread(ask)

    return api(tmp_path, run)


def with_kapso(tmp_path: Path, use: Callable[[Any, RunningApi], Awaitable[T]], token: str | None = None) -> T:
    async def run(found: RunningApi) -> T:
        base = f"http://127.0.0.1:{found.address[1]}"
        key = token or found.token("kapso", ("read", "send"), ["support"])
        async with WhatsAppClient(access_token=key, base_url=base, max_retries=0) as client:
            return await use(client, found)

    return api(tmp_path, run)


def last(found: RunningApi, command: str = "send") -> Json:
    """Return what the service was asked last, beside where the file is."""
    asked = [arguments for _, one, arguments in found.services.parent.asked if one == command]
    what: Json = asked[-1]["message" if command == "send" else "action"]
    return {key: value for key, value in what.items() if value not in (None, [], False)}


# pywa


def test_pywa_sends_a_text(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        more = {"tracker": "order 17", "reply_to_message_id": "3EB0Q", "preview_url": True}
        sent = wa.send_message(ADA, "Hello", **more)

        assert (sent.id, sent.to, sent.input) == ("3EB0A1", ADA, ADA)
        assert last(found) == {
            "to": CHAT, "kind": "text", "text": "Hello", "link_preview": True, "tag": "order 17",
            "reply_to": "3EB0Q",
        }  # fmt: skip

    with_pywa(tmp_path, use)


def test_pywa_sends_to_a_hidden_number_and_to_a_group(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        assert wa.send_message("ZZ.269139479534551", "Hello").to == "ZZ.269139479534551"
        assert last(found)["to"] == "269139479534551@lid"
        sent = wa.send_message(GROUP, "Hello")
        assert (sent.chat.id, sent.chat.type.value) == (GROUP, "GROUP")
        assert last(found)["to"] == GROUP

    with_pywa(tmp_path, use)


def test_pywa_sends_every_kind(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        sends: dict[str, Callable[[], Any]] = {
            "image": lambda: wa.send_image(ADA, PNG, caption="Look", mime_type="image/png"),
            "video": lambda: wa.send_video(
                ADA, b"\x00\x00\x00\x18ftypmp42" + bytes(20), mime_type="video/mp4"
            ),
            "audio": lambda: wa.send_audio(ADA, b"ID3" + bytes(30), mime_type="audio/mpeg"),
            "voice": lambda: wa.send_voice(ADA, b"OggS" + bytes(30), mime_type="audio/ogg"),
            "document": lambda: wa.send_document(
                ADA, b"%PDF-1.7", filename="a.pdf", mime_type="application/pdf"
            ),
            "sticker": lambda: wa.send_sticker(ADA, b"RIFF\x10\0\0\0WEBPVP8 ", mime_type="image/webp"),
        }
        for kind, send in sends.items():
            assert send().id == "3EB0A1"
            assert last(found)["kind"] == kind
        image, *_, document, _ = found.services.parent.files
        assert image == PNG
        assert document == b"%PDF-1.7"
        wa.send_location(ADA, 52.5, 13.4, name="Berlin")
        assert last(found)["location"] == {
            "latitude": 52.5, "longitude": 13.4, "name": "Berlin", "address": None,
        }  # fmt: skip
        ada = cast("Any", Contact)
        wa.send_contact(ADA, ada(ada.Name("Ada"), phones=[ada.Phone("+49151", "CELL")]))
        assert last(found)["contacts"][0]["name"] == "Ada"
        wa.send_reaction(ADA, "\N{THUMBS UP SIGN}", "3EB0Q")
        assert last(found) == {
            "to": CHAT, "kind": "reaction", "message": "3EB0Q", "emoji": "\N{THUMBS UP SIGN}",
        }  # fmt: skip
        wa.remove_reaction(ADA, "3EB0Q")
        assert last(found)["emoji"] == ""

    with_pywa(tmp_path, use)


def test_pywa_uploads_looks_up_downloads_and_deletes(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401, ARG001
        media = wa.upload_media(PNG, mime_type="image/png", filename="a.png")
        assert media.id.isdigit()
        about = wa.get_media_url(media.id)
        assert (about.mime_type, about.file_size) == ("image/png", len(PNG))
        assert about.sha256 == hashlib.sha256(PNG).hexdigest()
        assert about.get_bytes() == PNG
        assert media.delete()
        with pytest.raises(errors.WhatsAppError) as error:
            wa.get_media_url(media.id)
        assert (error.value.code, error.value.status_code) == (100, 404)

    with_pywa(tmp_path, use)


def test_pywa_downloads_what_people_have_sent(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        digest = hashlib.sha256(PNG).hexdigest()
        found.services.feed.add_file(
            "5577006791947779410", "support", PNG, mime_type="image/png", sha256=digest
        )
        about = wa.get_media_url("5577006791947779410")
        assert (about.mime_type, about.sha256) == ("image/png", digest)
        assert wa.get_media_bytes(about.url) == PNG

    with_pywa(tmp_path, use)


def test_pywa_marks_as_read_and_shows_that_it_types(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        found.services.feed.add("support", chat="269139479534551@lid", id="3EB0Q")
        assert wa.mark_message_as_read("3EB0Q")
        assert last(found) == {"to": "269139479534551@lid", "kind": "read", "messages": ["3EB0Q"]}
        assert wa.indicate_typing("3EB0Q")
        assert last(found, "act") == {"kind": "typing", "chat": "269139479534551@lid", "state": "typing"}
        with pytest.raises(errors.InvalidParameter):
            wa.mark_message_as_read("3EB0UNKNOWN")

    with_pywa(tmp_path, use)


def test_pywa_sees_the_number(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401, ARG001
        number = wa.get_business_phone_number()
        assert (number.id, number.display_phone_number, number.verified_name) == (
            NUMBER,
            f"+{NUMBER}",
            "support",
        )
        assert (number.status, number.quality_rating) == ("CONNECTED", "UNKNOWN")
        assert [one.id for one in wa.get_business_phone_numbers(waba_id=NUMBER)] == [NUMBER]

    with_pywa(tmp_path, use)


def test_pywa_looks_after_groups(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        found.services.parent.results |= {
            "groups": {"groups": [A_GROUP], "groups_left_out": 0},
            "group": {"group": A_GROUP | {"members": MEMBERS, "members_left_out": 0}},
            "group_create": {"group": A_GROUP | {"members": [], "members_left_out": 0}},
            "group_invite": {"link": "https://chat.whatsapp.com/x"},
        }
        assert [one.id for one in wa.get_groups()] == [GROUP]
        group = wa.get_group(GROUP)
        assert (group.subject, group.total_participant_count) == ("Team", 2)
        assert [(one.wa_id, one.bsuid) for one in group.participants] == [
            (ADA, "ZZ.269139479534551"), (None, "ZZ.269139479534552"),
        ]  # fmt: skip
        assert wa.create_group(subject="Team", description="All").request_id == GROUP
        assert last(found, "act") == {"kind": "group_description", "group": GROUP, "description": "All"}
        assert group.get_invite_link().link == "https://chat.whatsapp.com/x"
        assert wa.reset_group_invite_link(GROUP).link == "https://chat.whatsapp.com/x"
        assert last(found, "act")["reset"] is True
        group.remove_participants([ADA, "ZZ.269139479534552"])
        assert last(found, "act") == {
            "kind": "group_members", "group": GROUP, "change": "remove",
            "members": [CHAT, "269139479534552@lid"],
        }  # fmt: skip
        wa.update_group_settings(GROUP, subject="Teams", profile_picture=None)
        assert last(found, "act") == {"kind": "group_subject", "group": GROUP, "subject": "Teams"}
        with pytest.raises(errors.UnsupportedMessageType):
            group.delete()

    with_pywa(tmp_path, use)


def test_pywa_is_told_what_is_wrong(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        parent = found.services.parent
        with pytest.raises(errors.UnsupportedMessageType, match="templates"):
            wa.api.send_message(
                sender=NUMBER, to=ADA, recipient=None, recipient_type="individual", typ="template", msg={}
            )
        with pytest.raises(errors.InvalidParameter):
            wa.send_message("0151", "Hello")
        with pytest.raises(errors.InvalidParameter):
            wa.send_message(ADA, "")
        with pytest.raises(errors.MediaUploadError):
            wa.send_image(ADA, "5577006791947779410")
        parent.ends, parent.why = State.FAILED, "WhatsApp refuses it"
        with pytest.raises(errors.WhatsAppError) as failed:
            wa.send_message(ADA, "Hello")
        assert (failed.value.code, failed.value.details) == (131000, "WhatsApp refuses it")
        for key in ("no_answer", "not_running"):
            parent.errors["send"] = OrchestratorError("gone", key=key)
            with pytest.raises(errors.WhatsAppError) as doubt:
                wa.send_message(ADA, "Hello")
            assert (doubt.value.code, doubt.value.status_code) == (131000, 409)
        parent.errors["send"] = OrchestratorError("full", key="outbox_full")
        with pytest.raises(errors.RateLimitHit) as full:
            wa.send_message(ADA, "Hello")
        assert full.value.raw_response is not None
        assert full.value.raw_response.headers["retry-after"] == "60"

    with_pywa(tmp_path, use)


def test_what_waits_is_known_by_its_row_until_whatsapp_has_named_it(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        parent = found.services.parent
        parent.ends = State.QUEUED
        assert wa.send_message(ADA, "Hello").id == "row.1"
        with pytest.raises(errors.InvalidParameter, match="not sent yet"):
            wa.send_reaction(ADA, "\N{THUMBS UP SIGN}", "row.1")
        parent.rows["support"][0] = replace(parent.rows["support"][0], state=State.SENT, message="3EB0LATE")
        wa.send_reaction(ADA, "\N{THUMBS UP SIGN}", "row.1")
        assert last(found)["message"] == "3EB0LATE"
        wa.send_message(ADA, "Hello", reply_to_message_id="row.1")
        assert last(found)["reply_to"] == "3EB0LATE"
        with pytest.raises(errors.InvalidParameter):
            wa.send_reaction(ADA, "\N{THUMBS UP SIGN}", "row.99")

    with_pywa(tmp_path, use)


@pytest.mark.parametrize("scopes", [("read",), ("metrics",)])
def test_a_token_that_may_not_send_does_not(tmp_path: Path, scopes: tuple[Scope, ...]) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401
        with pytest.raises(errors.PermissionDenied):
            wa.send_message(ADA, "Hello")
        with pytest.raises(errors.PermissionDenied):
            wa.upload_media(PNG, mime_type="image/png", filename="a.png")
        assert not [one for one in found.services.parent.asked if one[1] == "send"]

    with_pywa(tmp_path, use, scopes=scopes)


def test_a_wrong_token_is_one_of_metas_errors(tmp_path: Path) -> None:
    def use(wa: Any, found: RunningApi) -> None:  # noqa: ANN401, ARG001
        with pytest.raises(errors.ExpiredAccessToken) as error:
            wa.send_message(ADA, "Hello")
        assert error.value.status_code == 401

    with_pywa(tmp_path, use, token="orc_pywa_" + "x" * 43)


# kapso


def test_kapso_sends_and_uploads(tmp_path: Path) -> None:
    async def use(client: Any, found: RunningApi) -> None:  # noqa: ANN401
        messages = client.messages
        sent = await messages.send_text(
            phone_number_id=NUMBER, to=f"+{ADA}", body="Hello", context={"message_id": "3EB0Q"},
            biz_opaque_callback_data="order 17",
        )  # fmt: skip
        assert (sent.message_id, sent.contacts[0].wa_id) == ("3EB0A1", ADA)
        assert last(found)["tag"] == "order 17"
        upload = await client.media.upload(
            phone_number_id=NUMBER, file=PNG, type="image/png", filename="a.png"
        )
        about = await client.media.get(media_id=upload.id)
        assert (about.sha256, about.file_size) == (hashlib.sha256(PNG).hexdigest(), len(PNG))
        assert await client.media.download(media_id=upload.id, phone_number_id=NUMBER) == PNG
        await messages.send_image(phone_number_id=NUMBER, to=ADA, image={"id": upload.id, "caption": "Look"})
        assert found.services.parent.files == [PNG]
        await messages.send_reaction(
            phone_number_id=NUMBER, to=ADA, reaction={"messageId": "3EB0Q", "emoji": "\N{THUMBS UP SIGN}"}
        )
        await messages.send_location(
            phone_number_id=NUMBER, to=ADA, location={"latitude": 52.5, "longitude": 13.4}
        )
        found.services.feed.add("support", chat=CHAT, id="3EB0Q")
        assert await messages.mark_read(
            phone_number_id=NUMBER, message_id="3EB0Q", typing_indicator=True
        ) == {"success": True}
        assert await client.media.delete(media_id=upload.id) == {"success": True}
        with pytest.raises(NotFoundError):
            await client.media.get(media_id=upload.id)

    with_kapso(tmp_path, use)


def test_kapso_knows_a_wrong_token(tmp_path: Path) -> None:
    async def use(client: Any, found: RunningApi) -> None:  # noqa: ANN401, ARG001
        with pytest.raises(AuthenticationError):
            await client.messages.send_text(phone_number_id=NUMBER, to=ADA, body="Hello")

    with_kapso(tmp_path, use, token="no token")


# Others


def test_chatwoot_sets_up_an_inbox_by_the_token_in_the_query(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("chatwoot", ("read", "send"), ["support"])
        templates = await found.ask("GET", f"/v14.0/{NUMBER}/message_templates?access_token={token}")
        assert (templates.status, templates.json()["data"]) == (200, [])
        numbers = await found.ask("GET", f"/v22.0/{NUMBER}/phone_numbers?access_token={token}")
        assert [one["id"] for one in numbers.json()["data"]] == [NUMBER]
        health = await found.ask("GET", f"/v24.0/{NUMBER}?fields=id,name&access_token={token}")
        assert health.json()["name"] == "support"
        for path in (f"/v22.0/{NUMBER}/subscribed_apps", "/v22.0/debug_token"):
            assert (await found.ask("GET", path, token=token)).status == 200
        assert (await found.ask("POST", f"/v22.0/{NUMBER}/subscribed_apps", token=token)).json() == {
            "success": True
        }

    api(tmp_path, use)


def test_typebot_finds_its_scopes_and_its_number(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("typebot", ("read", "send"), ["support"])
        about = await found.ask("GET", f"/v17.0/debug_token?input_token={token}", token=token)
        data = about.json()["data"]
        assert data["scopes"] == ["whatsapp_business_management", "whatsapp_business_messaging"]
        apps = await found.ask("GET", f"/v17.0/{NUMBER}/subscribed_apps", token=token)
        assert [one["whatsapp_business_api_data"]["id"] for one in apps.json()["data"]] == [data["app_id"]]
        number = await found.ask("GET", f"/v17.0/{NUMBER}", token=token)
        assert number.json()["display_phone_number"] == f"+{NUMBER}"

    api(tmp_path, use)


def test_the_name_of_an_account_is_as_good_as_its_number(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read",), ["support"])
        assert (await found.ask("GET", "/v23.0/support", token=token)).json()["id"] == NUMBER

    api(tmp_path, use)


def test_an_account_that_a_token_does_not_see_is_not_there(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        body = json.dumps({"to": ADA, "type": "text", "text": {"body": "x"}}).encode()
        answers = [
            await found.ask("GET", f"/v23.0/{name}/phone_numbers", token=token)
            for name in ("15550101", "15550199", "sales", "nobody")
        ]
        answers.append(await found.ask("POST", "/v23.0/15550101/messages", token=token, body=body))
        answers.append(await found.ask("GET", f"/v23.0/{GROUP}?phone_number_id=15550101", token=token))
        said = {(one.status, json.dumps(one.json()["error"] | {"fbtrace_id": ""})) for one in answers}
        assert len(said) == 1
        assert answers[0].status == 404
        assert not [one for one in found.services.parent.asked if one[1] == "send"]

    api(tmp_path, use)


def test_a_token_in_the_query_counts_only_here_and_only_for_looking(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        body = json.dumps({"to": ADA, "type": "text", "text": {"body": "x"}}).encode()
        assert (await found.ask("GET", f"/v23.0/{NUMBER}?access_token={token}")).status == 200
        assert (
            await found.ask("POST", f"/v23.0/{NUMBER}/messages?access_token={token}", body=body)
        ).status == 401
        assert (await found.ask("DELETE", f"/v23.0/5577006791947779410?access_token={token}")).status == 401
        assert (await found.ask("GET", f"/api/accounts?access_token={token}")).status == 401
        wrong = await found.ask("GET", f"/v23.0/{NUMBER}?access_token={token}", token="orc_x_" + "x" * 43)
        assert wrong.status == 401  # the header is what counts

    api(tmp_path, use)


def test_the_log_has_neither_tokens_nor_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        body = json.dumps({"to": ADA, "type": "text", "text": {"body": "pa55word"}}).encode()
        await found.ask("GET", f"/v23.0/{NUMBER}?access_token={token}")
        await found.ask("POST", f"/v23.0/{NUMBER}/messages", token=token, body=body)
        await found.ask("GET", f"/v23.0/{NUMBER}/pa55word", token=token)
        await found.ask("GET", "/v23.0/pa55word", token=token)
        for word in (token, NUMBER, ADA, "pa55word"):
            assert word not in caplog.text

    with caplog.at_level("DEBUG"):
        api(tmp_path, use)
    assert "POST /v/{id}/messages" in caplog.text
    assert "GET /v/{id} from" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v23.0", 404, 3),
        ("GET", "/v23.0/15550100/pa55word", 404, 3),
        ("PUT", "/v23.0/15550100/messages", 405, 3),
        ("GET", "/v23.0/15550100/messages", 405, 3),
        ("GET", "/v23.0/a/b/c", 404, 3),
        ("GET", "/v23.0/pa55word", 404, 100),
        ("POST", "/v23.0/15550100/messages", 400, 131009),
    ],
)
def test_every_error_has_the_form_of_metas(
    tmp_path: Path, method: str, path: str, status: int, code: int
) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        answer = await found.ask(method, path, token=token, body=b"pa55word" if method == "POST" else b"")
        error = answer.json()["error"]
        assert (answer.status, error["code"]) == (status, code)
        assert error["error_data"]["details"]
        assert error["fbtrace_id"]
        assert b"pa55word" not in answer.body

    api(tmp_path, use)


def test_errors_before_the_face_have_the_form_of_metas_too(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        none = await found.ask("GET", f"/v23.0/{NUMBER}")
        assert (none.status, none.json()["error"]["code"]) == (401, 190)
        token = found.token("one", ("read", "send"), ["support"])
        large = await found.ask("POST", f"/v23.0/{NUMBER}/messages", token=token, body=bytes(3 << 20))
        assert (large.status, large.json()["error"]["code"]) == (413, 131053)

    api(tmp_path, use)


@pytest.mark.parametrize("path", [f"/v23.0/{NUMBER}/messages", f"/v23.0/{NUMBER}/media"])
def test_a_client_that_goes_in_the_middle_is_no_bug(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        whole = request("POST", path, token=token, body=bytes(100))
        async with connect(found.address) as client:
            client.write(whole[:-50])
        await until(lambda: "messages from" in caplog.text or "media from" in caplog.text)
        assert not [one for one in caplog.records if one.levelname == "ERROR"]

    with caplog.at_level("INFO"):
        api(tmp_path, use)


def test_buttons_are_text_where_the_configuration_says_so(tmp_path: Path) -> None:
    body = {
        "messaging_product": "whatsapp", "to": ADA, "type": "interactive",
        "interactive": {
            "type": "button", "body": {"text": "When?"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "Monday"}}]},
        },
    }  # fmt: skip

    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        raw = json.dumps(body).encode()
        refused = await found.ask("POST", f"/v23.0/{NUMBER}/messages", token=token, body=raw)
        assert refused.json()["error"]["code"] == 131051
        found.services.settings.http = Http((Tcp(*found.address),), interactive="text")
        taken = await found.ask("POST", f"/v23.0/{NUMBER}/messages", token=token, body=raw)
        assert taken.status == 200
        assert last(found)["text"] == "When?\n\n1. Monday"

    api(tmp_path, use)


def test_the_same_key_sends_once(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        token = found.token("one", ("read", "send"), ["support"])
        raw = json.dumps({"to": ADA, "type": "text", "text": {"body": "x"}}).encode()
        more = {"token": token, "body": raw, "headers": {"Idempotency-Key": "order-17"}}
        for _ in range(2):
            assert (await found.ask("POST", f"/v23.0/{NUMBER}/messages", **more)).status == 200
        assert len(found.services.parent.rows["support"]) == 1

    api(tmp_path, use)


def test_with_several_accounts_a_group_needs_one_of_them(tmp_path: Path) -> None:
    async def use(found: RunningApi) -> None:
        found.services.parent.results["group"] = {"group": A_GROUP | {"members": MEMBERS}}
        token = found.token("all", ("read", "send"))
        which = await found.ask("GET", f"/v23.0/{GROUP}", token=token)
        assert which.json()["error"]["code"] == 131009
        one = await found.ask("GET", f"/v23.0/{GROUP}?phone_number_id={NUMBER}", token=token)
        assert one.json()["subject"] == "Team"

    api(tmp_path, use)


def test_the_page_about_it_says_how_pywa_gets_here(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cloud-api.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]

    async def use(found: RunningApi) -> str:
        token = found.token("pywa", ("read", "send"), ["support"])
        mine = code.replace("8080", str(found.address[1])).replace("orc_…", token)
        mine = mine.replace("4915100001", NUMBER)

        def ask() -> str:
            names: Json = {}
            exec(mine, names)
            sent = names["wa"].send_message(ADA, "Hello")
            names["wa"].api._session.close()
            return str(sent.id)

        return await asyncio.to_thread(ask)

    assert api(tmp_path, use) == "3EB0A1"
