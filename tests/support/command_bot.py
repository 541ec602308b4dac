"""A bot in neonize's own manner, with nothing of this project: each command that comes does one thing.

Run it as ``python command_bot.py DATABASE``. The text of the QR code to link it, and ``connected``, are lines
on its standard output. A command is its name, and arguments behind it. What goes wrong is answered as a text.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from neonize.client import NewClient
from neonize.events import ConnectedEv, MessageEv
from neonize.proto.waE2E import WAWebProtobufsE2E_pb2 as e2e
from neonize.utils import build_jid
from neonize.utils.enum import (
    ChatPresence,
    ChatPresenceMedia,
    MediaType,
    ParticipantChange,
    ReceiptType,
    VoteType,
)
from PIL import Image

Proto: TypeAlias = Any
"""A message of neonize's, which ship without types."""
Handler: TypeAlias = Callable[[NewClient, Proto, list[str]], object]

NO_MEDIUM = b"no real medium, but bytes of it" * 9
COMMANDS: dict[str, Handler] = {}
"""What the bot does, by name."""
polls: list[Proto] = []
"""What neonize says of the polls that have come."""


def command(function: Handler) -> Handler:
    """Have a function answer the text that is its name."""
    COMMANDS[function.__name__] = function
    return function


def chat_of(event: Proto) -> Proto:
    return event.Info.MessageSource.Chat


def sender_of(event: Proto) -> Proto:
    return event.Info.MessageSource.Sender


def picture(color: str, kind: str = "png") -> bytes:
    """Return a picture of one color."""
    out = io.BytesIO()
    Image.new("RGB", (64, 32), color).save(out, kind)
    return out.getvalue()


# Texts


@command
def ping(client: NewClient, event: Proto, _: list[str]) -> None:
    client.reply_message("pong", event)


@command
def say(client: NewClient, event: Proto, words: list[str]) -> None:
    client.send_message(chat_of(event), " ".join(words))


@command
def mention(client: NewClient, event: Proto, words: list[str]) -> None:
    client.send_message(chat_of(event), f"hello @{words[0]}")


@command
def preview(client: NewClient, event: Proto, _: list[str]) -> None:
    link = "https://example.org/a"
    text = e2e.ExtendedTextMessage(
        text=f"see {link}",
        matchedText=link,
        title="A",
        description="Of A",
        JPEGThumbnail=picture("red", "jpeg"),
    )
    client.send_message(chat_of(event), e2e.Message(extendedTextMessage=text))


@command
def forward(client: NewClient, event: Proto, words: list[str]) -> None:
    context = e2e.ContextInfo(isForwarded=True, forwardingScore=2)
    text = e2e.ExtendedTextMessage(text=" ".join(words), contextInfo=context)
    client.send_message(chat_of(event), e2e.Message(extendedTextMessage=text))


@command
def vanish(client: NewClient, event: Proto, _: list[str]) -> None:
    text = e2e.ExtendedTextMessage(text="soon gone", contextInfo=e2e.ContextInfo(expiration=86_400))
    inner = e2e.Message(extendedTextMessage=text)
    client.send_message(chat_of(event), e2e.Message(ephemeralMessage=e2e.FutureProofMessage(message=inner)))


# Attachments


def uploaded(client: NewClient, data: bytes, kind: MediaType, mime: str) -> dict[str, Any]:
    upload = client.upload(data, kind)
    return {
        "URL": upload.url,
        "directPath": upload.DirectPath,
        "fileEncSHA256": upload.FileEncSHA256,
        "fileLength": upload.FileLength,
        "fileSHA256": upload.FileSHA256,
        "mediaKey": upload.MediaKey,
        "mimetype": mime,
    }


@command
def image(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_image(chat_of(event), picture("red"), caption="look", quoted=event)


@command
def once(client: NewClient, event: Proto, _: list[str]) -> None:
    inner = client.build_image_message(picture("blue"), viewonce=True)
    wrapped = e2e.FutureProofMessage(message=inner)
    client.send_message(chat_of(event), e2e.Message(viewOnceMessageV2=wrapped))


@command
def album(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_album(chat_of(event), [picture("red"), picture("green")], caption="both")


@command
def document(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_document(
        chat_of(event), b"a,b\n1,2\n", caption="numbers", filename="a.csv", mimetype="text/csv"
    )


@command
def video(client: NewClient, event: Proto, _: list[str]) -> None:
    fields = uploaded(client, NO_MEDIUM, MediaType.MediaVideo, "video/mp4")
    part = e2e.VideoMessage(**fields, seconds=7, width=64, height=32, caption="moving")
    client.send_message(chat_of(event), e2e.Message(videoMessage=part))


@command
def gif(client: NewClient, event: Proto, _: list[str]) -> None:
    fields = uploaded(client, NO_MEDIUM, MediaType.MediaVideo, "video/mp4")
    client.send_message(
        chat_of(event), e2e.Message(videoMessage=e2e.VideoMessage(**fields, gifPlayback=True))
    )


@command
def audio(client: NewClient, event: Proto, _: list[str]) -> None:
    fields = uploaded(client, NO_MEDIUM, MediaType.MediaAudio, "audio/mp4")
    client.send_message(chat_of(event), e2e.Message(audioMessage=e2e.AudioMessage(**fields, seconds=3)))


@command
def voice(client: NewClient, event: Proto, _: list[str]) -> None:
    fields = uploaded(client, NO_MEDIUM, MediaType.MediaAudio, "audio/ogg; codecs=opus")
    part = e2e.AudioMessage(**fields, PTT=True, seconds=2, waveform=bytes(range(64)))
    client.send_message(chat_of(event), e2e.Message(audioMessage=part))


@command
def sticker(client: NewClient, event: Proto, _: list[str]) -> None:
    fields = uploaded(client, picture("red", "webp"), MediaType.MediaImage, "image/webp")
    part = e2e.StickerMessage(**fields, isAnimated=True, width=64, height=32)
    client.send_message(chat_of(event), e2e.Message(stickerMessage=part))


# Places, people, questions


@command
def location(client: NewClient, event: Proto, _: list[str]) -> None:
    place = e2e.LocationMessage(degreesLatitude=52.5, degreesLongitude=13.4, name="Here", address="A street")
    client.send_message(chat_of(event), e2e.Message(locationMessage=place))


@command
def live(client: NewClient, event: Proto, _: list[str]) -> None:
    place = e2e.LiveLocationMessage(degreesLatitude=52.5, degreesLongitude=13.4, sequenceNumber=1)
    client.send_message(chat_of(event), e2e.Message(liveLocationMessage=place))


@command
def contact(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_contact(chat_of(event), "Bob", "4915100000")


@command
def contacts(client: NewClient, event: Proto, _: list[str]) -> None:
    cards = [
        e2e.ContactMessage(displayName=name, vcard=f"BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nEND:VCARD")
        for name in ("Bob", "Eve")
    ]
    array = e2e.ContactsArrayMessage(displayName="two", contacts=cards)
    client.send_message(chat_of(event), e2e.Message(contactsArrayMessage=array))


@command
def poll(client: NewClient, event: Proto, _: list[str]) -> None:
    question = client.build_poll_vote_creation("Lunch?", ["yes", "no"], VoteType.SINGLE)
    client.send_message(chat_of(event), question)


@command
def vote(client: NewClient, event: Proto, words: list[str]) -> None:
    client.send_message(chat_of(event), client.build_poll_vote(polls[-1], words))


# What is said of messages


@command
def react(client: NewClient, event: Proto, _: list[str]) -> None:
    reaction = client.build_reaction(chat_of(event), sender_of(event), event.Info.ID, "\N{PARTY POPPER}")
    client.send_message(chat_of(event), reaction)


@command
def unreact(client: NewClient, event: Proto, words: list[str]) -> None:
    client.send_message(chat_of(event), client.build_reaction(chat_of(event), sender_of(event), words[0], ""))


@command
def edit(client: NewClient, event: Proto, _: list[str]) -> None:
    first = client.send_message(chat_of(event), "frist")
    for text in ("firts", "first"):
        client.edit_message(chat_of(event), first.ID, e2e.Message(conversation=text))


@command
def revoke(client: NewClient, event: Proto, _: list[str]) -> None:
    slip = client.send_message(chat_of(event), "a slip")
    client.revoke_message(chat_of(event), client.get_me().JID, slip.ID)


@command
def remove(client: NewClient, event: Proto, words: list[str]) -> None:
    """Delete what somebody else has written in a group."""
    client.revoke_message(chat_of(event), sender_of(event), words[0] if words else event.Info.ID)


@command
def pin(client: NewClient, event: Proto, _: list[str]) -> None:
    key = {
        "remoteJID": f"{chat_of(event).User}@{chat_of(event).Server}",
        "fromMe": False,
        "ID": event.Info.ID,
    }
    client.send_message(
        chat_of(event), e2e.Message(pinInChatMessage={"key": key, "type": 1, "senderTimestampMS": 1})
    )


# Buttons


@command
def buttons(client: NewClient, event: Proto, _: list[str]) -> None:
    choices = [{"buttonID": one, "buttonText": {"displayText": one.upper()}, "type": 1} for one in ("a", "b")]
    part = e2e.ButtonsMessage(contentText="which?", footerText="below", buttons=choices, headerType=1)
    client.send_message(chat_of(event), e2e.Message(buttonsMessage=part))


@command
def choices(client: NewClient, event: Proto, _: list[str]) -> None:
    rows = [{"rowID": "r1", "title": "Row 1"}]
    part = e2e.ListMessage(
        title="menu", description="choose", buttonText="Open", listType=1, sections=[{"rows": rows}]
    )
    client.send_message(chat_of(event), e2e.Message(listMessage=part))


@command
def flow(client: NewClient, event: Proto, _: list[str]) -> None:
    button = {"name": "quick_reply", "buttonParamsJSON": '{"display_text": "Yes", "id": "y"}'}
    part = e2e.InteractiveMessage(
        header={"title": "Title"}, body={"text": "Body"}, footer={"text": "Footer"},
        nativeFlowMessage={"buttons": [button], "messageVersion": 1},
    )  # fmt: skip
    client.send_message(chat_of(event), e2e.Message(interactiveMessage=part))


@command
def template(client: NewClient, event: Proto, _: list[str]) -> None:
    button = {"index": 0, "quickReplyButton": {"displayText": "Yes", "ID": "y"}}
    hydrated = {"hydratedContentText": "ready?", "hydratedButtons": [button]}
    client.send_message(chat_of(event), e2e.Message(templateMessage={"hydratedTemplate": hydrated}))


# What is no message


@command
def typing(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_chat_presence(
        chat_of(event), ChatPresence.CHAT_PRESENCE_COMPOSING, ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
    )


@command
def recording(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_chat_presence(
        chat_of(event), ChatPresence.CHAT_PRESENCE_COMPOSING, ChatPresenceMedia.CHAT_PRESENCE_MEDIA_AUDIO
    )


@command
def pause(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_chat_presence(
        chat_of(event), ChatPresence.CHAT_PRESENCE_PAUSED, ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
    )


@command
def watch(client: NewClient, event: Proto, _: list[str]) -> None:
    client.subscribe_presence(sender_of(event))


@command
def read(client: NewClient, event: Proto, _: list[str]) -> None:
    client.mark_read(event.Info.ID, chat=chat_of(event), sender=sender_of(event), receipt=ReceiptType.READ)


@command
def listen(client: NewClient, event: Proto, words: list[str]) -> None:
    client.mark_read(*words, chat=chat_of(event), sender=sender_of(event), receipt=ReceiptType.PLAYED)


@command
def lookup(client: NewClient, event: Proto, words: list[str]) -> None:
    found = {one.Query: one.IsIn for one in client.is_on_whatsapp(*words)}
    client.send_message(chat_of(event), " ".join(f"{number}={known}" for number, known in found.items()))


@command
def whoami(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_message(chat_of(event), client.get_me().JID.User)


@command
def privacy(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_message(chat_of(event), f"read receipts: {client.get_privacy_settings().ReadReceipts}")


# Groups


@command
def group(client: NewClient, event: Proto, words: list[str]) -> None:
    made = client.create_group(words[0], [build_jid(number) for number in words[1:]])
    client.send_message(chat_of(event), f"{made.JID.User}@{made.JID.Server}")


@command
def subject(client: NewClient, event: Proto, words: list[str]) -> None:
    client.set_group_name(chat_of(event), " ".join(words))


@command
def topic(client: NewClient, event: Proto, words: list[str]) -> None:
    client.set_group_topic(chat_of(event), "", "", " ".join(words))


@command
def promote(client: NewClient, event: Proto, words: list[str]) -> None:
    people = [build_jid(number) for number in words]
    client.update_group_participants(chat_of(event), people, ParticipantChange.PROMOTE)


@command
def announce(client: NewClient, event: Proto, _: list[str]) -> None:
    client.set_group_announce(chat_of(event), True)


@command
def link(client: NewClient, event: Proto, _: list[str]) -> None:
    client.send_message(chat_of(event), client.get_group_invite_link(chat_of(event)))


@command
def members(client: NewClient, event: Proto, _: list[str]) -> None:
    found = client.get_group_info(chat_of(event))
    client.send_message(chat_of(event), f"{len(found.Participants)} members of {found.GroupName.Name}")


@command
def leave(client: NewClient, event: Proto, _: list[str]) -> None:
    client.leave_group(chat_of(event))


def main() -> None:
    client = NewClient(str(Path(sys.argv[1])))
    client.event.qr(lambda _, text: print("qr", text.decode(), flush=True))

    @client.event(ConnectedEv)  # type: ignore[untyped-decorator]
    def on_connected(_: NewClient, __: ConnectedEv) -> None:
        print("connected", flush=True)

    @client.event(MessageEv)  # type: ignore[untyped-decorator]
    def on_message(client: NewClient, event: MessageEv) -> None:
        if event.Info.MessageSource.IsFromMe:
            return
        if event.Message.HasField("pollCreationMessageV3"):
            polls.append(event.Info)
        text = event.Message.conversation or event.Message.extendedTextMessage.text
        name, *words = text.split() or [""]
        try:
            if name in COMMANDS:
                COMMANDS[name](client, event, words)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            traceback.print_exc()
            client.send_message(chat_of(event), f"error: {type(error).__name__}: {error}")

    client.connect()


if __name__ == "__main__":
    main()
