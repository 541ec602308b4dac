"""A bot with neonize, unmodified, in a process of its own: commands come in, events go out, as lines of JSON.

Run it as ``python neonize_driver.py DATABASE [--log FILE] [--proxy URL] [--device-name NAME] [--download]``.

A command on stdin is ``{"command": "send_text", "id": 3, ...its arguments}``; the names and arguments are
those of the ``command_`` methods below. It is answered by ``{"answer": 3, ...}`` or ``{"answer": 3, "error":
"SendMessageError: ..."}``, in the order in which commands end, not in which they came: one may block.

An event is ``{"event": NAME, "time": SECONDS, ...}``; the time is CLOCK_MONOTONIC, which is Python's
`time.monotonic` in every process. NAME is that of neonize's event without its ``Ev``, or one of

- ``ready``: neonize is imported; ``import_seconds`` and ``import_cpu_seconds`` say at what cost
- ``qr``: a code to scan, in ``text``
- ``pair_code``: the eight characters that `pair_phone` was given, in ``code``
- ``connect_returned``, ``connect_raised``: how neonize's connect() ended, with ``class`` and ``message``

The process ends by the command ``exit`` or with its stdin, at once and without any of neonize's goodbyes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeAlias

Fields: TypeAlias = dict[str, Any]
Proto: TypeAlias = Any
"""A message of neonize's, which ship without types."""

GROUP_CHANGES = ("Join", "Leave", "Promote", "Demote")
MEDIA = ("image", "document", "audio", "video", "sticker")


def address(jid: Proto) -> str:
    """Write a JID as user:device@server; one that is not set is empty."""
    user = f"{jid.User}:{jid.Device}" if jid.Device else jid.User
    return f"{user}@{jid.Server}" if user else str(jid.Server)


def name_of(message: Proto, field: str) -> str:
    """Name the value of a field that is an enum."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(message, field)].name)


def source(info: Proto) -> Fields:
    """Tell where a message or receipt is from."""
    return {
        "chat": address(info.Chat),
        "sender": address(info.Sender),
        "sender_alt": address(info.SenderAlt),
        "is_from_me": info.IsFromMe,
        "is_group": info.IsGroup,
    }


def media_of(message: Proto) -> tuple[str, Proto] | None:
    """Return the kind of a message's medium and the part that describes it."""
    for kind in MEDIA:
        if message.HasField(f"{kind}Message"):
            return kind, getattr(message, f"{kind}Message")
    return None


def all_of(event: Proto) -> Fields:
    """Return an event as neonize has it, for what has no fields of its own here."""
    from google.protobuf.json_format import MessageToDict

    return {"event_fields": MessageToDict(event, preserving_proto_field_name=True)}


def message_fields(event: Proto) -> Fields:
    message = event.Message
    fields: Fields = {
        "id": event.Info.ID,
        **source(event.Info.MessageSource),
        "text": message.conversation or message.extendedTextMessage.text,
        "media": None,
        **all_of(event),
    }
    if (found := media_of(message)) is not None:
        kind, medium = found
        fields |= {
            "media": kind,
            "mime": medium.mimetype,
            "caption": getattr(medium, "caption", ""),
            "file_name": getattr(medium, "fileName", ""),
        }
    return fields


def group_fields(group: Proto) -> Fields:
    return {
        "jid": address(group.JID),
        "name": group.GroupName.Name,
        "owner": address(group.OwnerJID),
        "topic": group.GroupTopic.Topic,
        "topic_id": group.GroupTopic.TopicID,
        "participants": [
            {
                "jid": address(one.JID),
                "lid": address(one.LID),
                "phone": address(one.PhoneNumber),
                "is_admin": one.IsAdmin,
            }
            for one in group.Participants
        ],
    }


EVENTS: dict[str, Callable[[Proto], Fields]] = {
    "PairStatus": lambda e: {
        "jid": address(e.ID),
        "business_name": e.BusinessName,
        "platform": e.Platform,
        "status": name_of(e, "Status"),
        "error": e.Error,
    },
    "Connected": lambda _: {},
    "Disconnected": lambda _: {},
    "LoggedOut": lambda e: {"on_connect": e.OnConnect, "reason": name_of(e, "Reason")},
    "StreamReplaced": lambda _: {},
    "TemporaryBan": lambda e: {"code": name_of(e, "Code"), "expire": e.Expire},
    "ConnectFailure": lambda e: {"reason": name_of(e, "Reason"), "message": e.Message},
    "ClientOutdated": lambda _: {},
    "StreamError": lambda e: {"code": e.Code},
    "KeepAliveTimeout": lambda e: {"error_count": e.ErrorCount},
    "KeepAliveRestored": lambda _: {},
    "OfflineSyncPreview": lambda e: {
        "total": e.Total,
        "messages": e.Message,
        "notifications": e.Notifications,
        "receipts": e.Receipts,
    },
    "OfflineSyncCompleted": lambda e: {"count": e.Count},
    "Message": message_fields,
    "Receipt": lambda e: {
        **source(e.MessageSource),
        "type": name_of(e, "Type"),
        "ids": list(e.MessageIDs),
        "timestamp": e.Timestamp,
    },
    "UndecryptableMessage": lambda e: {
        "id": e.Info.ID,
        **source(e.Info.MessageSource),
        "is_unavailable": e.IsUnavailable,
    },
    "CallOffer": all_of,
    "CallOfferNotice": all_of,
    "CallTerminate": all_of,
    "ChatPresence": all_of,
    "HistorySync": all_of,
    "JoinedGroup": lambda e: {
        "reason": e.Reason,
        "sender": address(e.Sender),
        "group": group_fields(e.GroupInfo),
    },
    "GroupInfo": lambda e: {
        "jid": address(e.JID),
        "sender": address(e.Sender),
        "name": e.Name.Name,
        **all_of(e),
        **{part.lower(): [address(jid) for jid in getattr(e, part)] for part in GROUP_CHANGES},
    },
    "IdentityChange": lambda e: {"jid": address(e.JID), "implicit": e.Implicit},
}


class Bot:
    """One neonize client, its events and the commands to it."""

    def __init__(
        self, out: TextIO, *, database: Path, proxy: str | None, device_name: str | None, download: bool
    ) -> None:
        # Only now, because neonize and Go write to the standard output from here on.
        from neonize import _binder, client, events, utils
        from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
        from neonize.proto.waE2E import WAWebProtobufsE2E_pb2

        self._out = out
        self._lines: queue.SimpleQueue[Callable[[], Fields | None]] = queue.SimpleQueue()
        self._utils = utils
        self._proto = WAWebProtobufsE2E_pb2
        self._proxy = _binder.ProxySettings(proxy) if proxy else None
        self._download = download
        self._with_media: dict[str, Proto] = {}
        self._votes: dict[str, Proto] = {}
        self._polls: dict[str, Proto] = {}
        self._connecting: threading.Thread | None = None
        props = DeviceProps(os=device_name, platformType=DeviceProps.SAFARI) if device_name else None
        self._client = client.NewClient(str(database), props=props)
        self._client.event.qr(lambda _, text: self.report("qr", text=text.decode()))
        for name in EVENTS:
            self._client.event(getattr(events, f"{name}Ev"))(self._hand_over(name))

    def report(self, event: str, **fields: object) -> None:
        """Send an event off; returns at once."""
        line = {"event": event, "time": time.monotonic(), **fields}
        self._lines.put(lambda: line)

    def serve(self, commands: TextIO) -> None:
        """Carry out commands until there are no more."""
        threading.Thread(target=self._write, daemon=True).start()
        for line in commands:
            request = json.loads(line)
            if request["command"] == "exit":
                return
            threading.Thread(target=self._answer, args=(request,), daemon=True).start()

    def command_connect(self) -> None:
        """Call neonize's connect() in a thread of its own; how it ends is an event."""
        if self._connecting and self._connecting.is_alive():
            raise RuntimeError("connect() has not ended yet")
        self._connecting = threading.Thread(target=self._connect, daemon=True)
        self._connecting.start()

    def command_pair_phone(self, phone: str, *, show_push_notification: bool = True) -> Fields:
        code = self._client.PairPhone(phone, show_push_notification)
        self.report("pair_code", code=code)
        return {"code": code}

    def command_status(self) -> Fields:
        # get_me() ends the process in a Go panic where there is no client yet.
        logged_in = self._client.is_logged_in
        me = self._client.get_me() if logged_in else None
        return {
            "is_connected": self._client.is_connected,
            "is_logged_in": logged_in,
            "me": me and {"jid": address(me.JID), "lid": address(me.LID), "push_name": me.PushName},
        }

    def command_send_text(self, to: str, text: str) -> Fields:
        return self._sent(self._client.send_message(self._jid(to), text))

    def command_send_image(self, to: str, path: str, caption: str | None = None) -> Fields:
        return self._sent(self._client.send_image(self._jid(to), path, caption))

    def command_send_document(
        self, to: str, path: str, caption: str | None = None, mime: str | None = None
    ) -> Fields:
        return self._sent(
            self._client.send_document(self._jid(to), path, caption, filename=Path(path).name, mimetype=mime)
        )

    def command_send_audio(
        self, to: str, path: str, mime: str = "audio/ogg; codecs=opus", *, wrong_key: bool = False
    ) -> Fields:
        return self._send_uploaded(to, "audio", path, mime, wrong_key=wrong_key)

    def command_send_video(
        self, to: str, path: str, mime: str = "video/mp4", caption: str | None = None
    ) -> Fields:
        return self._send_uploaded(to, "video", path, mime, caption=caption)

    def command_send_sticker(self, to: str, path: str, mime: str = "image/webp") -> Fields:
        return self._send_uploaded(to, "sticker", path, mime, upload_as="image")

    def command_download(self, message: str) -> Fields:
        """Fetch the medium of a message that has come, by its id."""
        return self._fetched(self._with_media[message])

    def command_decrypt_vote(self, message: str) -> Fields:
        """Tell what a vote that has come was for, as hashes of options."""
        # neonize's own decrypt_poll_vote takes the library's answer for bytes, which it is not.
        from neonize.proto.Neonize_pb2 import ReturnFunctionWithError

        data = self._votes[message].SerializeToString()
        library = self._client._NewClient__client
        answer = library.DecryptPollVote(self._client.uuid, data, len(data))
        result = ReturnFunctionWithError.FromString(answer.contents.get_bytes())
        if result.Error:
            raise RuntimeError(result.Error)
        return {"hashes": [one.hex() for one in result.PollVoteMessage.selectedOptions]}

    def command_send_poll(self, to: str, question: str, options: list[str], select: int = 1) -> Fields:
        poll = self._client.build_poll_vote_creation(question, options, self._utils.enum.VoteType(select))
        return self._sent(self._client.send_message(self._jid(to), poll))

    def command_vote(self, to: str, poll: str, options: list[str]) -> Fields:
        """Vote in a poll that has come, by its id."""
        vote = self._client.build_poll_vote(self._polls[poll], options)
        return self._sent(self._client.send_message(self._jid(to), vote))

    def command_send_proto(self, to: str, content: Fields) -> Fields:
        """Send a message of any kind; its fields are neonize's."""
        from google.protobuf.json_format import ParseDict

        return self._sent(self._client.send_message(self._jid(to), ParseDict(content, self._proto.Message())))

    def command_reject_call(self, caller: str, call: str) -> None:
        self._client.reject_call(self._jid(caller), call)

    def command_mark_read(self, ids: list[str], chat: str, sender: str) -> None:
        self._client.mark_read(
            *ids, chat=self._jid(chat), sender=self._jid(sender), receipt=self._utils.ReceiptType.READ
        )

    def command_is_on_whatsapp(self, numbers: list[str]) -> Fields:
        found = self._client.is_on_whatsapp(*numbers)
        return {"numbers": [{"query": e.Query, "jid": address(e.JID), "is_in": e.IsIn} for e in found]}

    def command_get_user_devices(self, jids: list[str]) -> Fields:
        devices = self._client.get_user_devices(*map(self._jid, jids))
        return {"devices": [address(jid) for jid in devices]}

    def command_create_group(self, name: str, participants: list[str]) -> Fields:
        return group_fields(self._client.create_group(name, [self._jid(one) for one in participants]))

    def command_get_group_info(self, group: str) -> Fields:
        return group_fields(self._client.get_group_info(self._jid(group)))

    def command_get_joined_groups(self) -> Fields:
        return {"groups": [group_fields(group) for group in self._client.get_joined_groups()]}

    def command_set_group_name(self, group: str, name: str) -> None:
        self._client.set_group_name(self._jid(group), name)

    def command_update_group_participants(self, group: str, participants: list[str], change: str) -> Fields:
        """Change the members; what to do with them is ``add``, ``remove``, ``promote`` or ``demote``."""
        jids = [self._jid(one) for one in participants]
        done = self._client.update_group_participants(
            self._jid(group), jids, self._utils.ParticipantChange(change)
        )
        return {"outcomes": [{"jid": address(one.JID), "error": one.Error} for one in done]}

    def command_set_group_topic(self, group: str, topic: str, previous: str = "", new: str = "") -> None:
        self._client.set_group_topic(self._jid(group), previous, new, topic)

    def command_set_group_setting(self, group: str, setting: str, *, on: bool) -> None:
        """Turn ``announce`` or ``locked`` on or off."""
        getattr(self._client, f"set_group_{setting}")(self._jid(group), on)

    def command_get_group_invite_link(self, group: str, *, reset: bool = False) -> Fields:
        return {"link": self._client.get_group_invite_link(self._jid(group), reset)}

    def command_get_group_info_from_link(self, link: str) -> Fields:
        return group_fields(self._client.get_group_info_from_link(link))

    def command_join_group_with_link(self, link: str) -> Fields:
        return {"jid": address(self._client.join_group_with_link(link))}

    def command_leave_group(self, group: str) -> None:
        self._client.leave_group(self._jid(group))

    def command_disconnect(self) -> None:
        self._client.disconnect()

    def command_logout(self) -> None:
        self._client.logout()

    def command_stop(self) -> None:
        self._client.stop()

    def _connect(self) -> None:
        try:
            self._client.connect(self._proxy)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            self.report("connect_raised", **{"class": type(error).__name__}, message=str(error))
        else:
            self.report("connect_returned")

    def _answer(self, request: Fields) -> None:
        number = request.pop("id")
        name = request.pop("command")
        try:
            result = getattr(self, f"command_{name}")(**request)
        except Exception as error:  # noqa: BLE001 - the other side is told
            result = {"error": f"{type(error).__name__}: {error}"}
        line = {"answer": number, **(result or {})}
        self._lines.put(lambda: line)

    def _hand_over(self, name: str) -> Callable[[object, Proto], None]:
        def callback(_: object, event: Proto) -> None:
            # Neonize's own thread stands still meanwhile, so everything else is left to the writer.
            now = time.monotonic()
            self._lines.put(lambda: self._event_fields(name, now, event))

        return callback

    def _event_fields(self, name: str, now: float, event: Proto) -> Fields | None:
        fields = {"event": name, "time": now, **EVENTS[name](event)}
        if name == "Message" and event.Message.HasField("pollCreationMessageV3"):
            self._polls[fields["id"]] = event.Info
        if name == "Message" and event.Message.HasField("pollUpdateMessage"):
            self._votes[fields["id"]] = event
        if name == "Message" and fields["media"]:
            self._with_media[fields["id"]] = event.Message
            if self._download:
                # Its turn comes when it is there; no other event waits for that.
                threading.Thread(
                    target=self._download_first, args=(fields, event.Message), daemon=True
                ).start()
                return None
        return fields

    def _download_first(self, fields: Fields, message: Proto) -> None:
        try:
            fields |= self._fetched(message)
        except Exception as error:  # noqa: BLE001 - the other side is told
            fields["download_error"] = f"{type(error).__name__}: {error}"
        self._lines.put(lambda: fields)

    def _fetched(self, message: Proto) -> Fields:
        data = self._client.download_any(message)
        return {"sha256": hashlib.sha256(data).hexdigest(), "length": len(data)}

    def _write(self) -> None:
        while True:
            try:
                line = self._lines.get()()
            except Exception as error:  # noqa: BLE001 - one event that cannot be read must not end all others
                line = {"event": "driver_error", "message": f"{type(error).__name__}: {error}"}
            if line is not None:
                self._out.write(json.dumps(line, default=repr) + "\n")
                self._out.flush()

    def _jid(self, text: str) -> Proto:
        """Read user@server or user:device@server; a bare number is a phone's."""
        user, _, server = text.partition("@")
        user, _, device = user.partition(":")
        jid = self._utils.build_jid(user, server or "s.whatsapp.net")
        jid.Device = int(device or 0)
        return jid

    def _sent(self, response: Proto) -> Fields:
        return {"id": response.ID, "timestamp": response.Timestamp}

    def _send_uploaded(
        self,
        to: str,
        kind: str,
        path: str,
        mime: str,
        *,
        upload_as: str | None = None,
        wrong_key: bool = False,
        **more: object,
    ) -> Fields:
        """Send a file as it is, which neonize's own methods would ask ffmpeg about, or convert."""
        data = Path(path).read_bytes()
        upload = self._client.upload(data, self._utils.MediaType[f"Media{(upload_as or kind).title()}"])
        part = getattr(self._proto, f"{kind.title()}Message")(
            URL=upload.url,
            directPath=upload.DirectPath,
            fileEncSHA256=upload.FileEncSHA256,
            fileLength=upload.FileLength,
            fileSHA256=upload.FileSHA256,
            mediaKey=bytes(32) if wrong_key else upload.MediaKey,
            mimetype=mime,
            **more,
        )
        message = self._proto.Message(**{f"{kind}Message": part})
        return self._sent(self._client.send_message(self._jid(to), message))


def keep_stdout(log: Path | None) -> TextIO:
    """Return the standard output for this program alone; what others print goes to the log or to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    os.dup2(2, 1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Drive neonize by lines of JSON.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--log", type=Path, help="where all that neonize and Go print goes; default: stderr")
    parser.add_argument("--proxy", help="URL given to connect() as ProxySettings")
    parser.add_argument("--device-name", help="what the phone shows under linked devices")
    parser.add_argument("--download", action="store_true", help="hash every medium before its Message event")
    arguments = parser.parse_args()
    os.umask(0o077)
    out = keep_stdout(arguments.log)
    wall, cpu = time.monotonic(), time.process_time()
    bot = Bot(
        out,
        database=arguments.database,
        proxy=arguments.proxy,
        device_name=arguments.device_name,
        download=arguments.download,
    )
    bot.report(
        "ready",
        pid=os.getpid(),
        import_seconds=time.monotonic() - wall,
        import_cpu_seconds=time.process_time() - cpu,
    )
    # An orderly end would wait for neonize's threads, which may never end.
    try:
        bot.serve(sys.stdin)
    except BaseException:  # noqa: BLE001 - nothing must get past the exit
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
