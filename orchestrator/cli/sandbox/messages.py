"""The commands that send messages from phones, and show what phones have received."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_args

import typer

from orchestrator.cli.formatting import examples
from orchestrator.cli.sandbox.common import AsJson, Control, Number, print_json, print_table, read
from orchestrator.sandbox.client import DEFAULT_CONTROL, MediaKind, SandboxClient

CAPTIONED: Final = ("image", "video", "document")

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator sandbox send --from +4915100002 --to +4915100001 'Good morning'",
        "orchestrator sandbox send --from +4915100002 --to +4915100001 --media cat.jpg 'Look'",
        "orchestrator sandbox send --from +4915100002 --to +4915100001 --kind revoke --set of=3EB0A1",
        "orchestrator sandbox send --from +4915100002 --to 120363000000000001@g.us 'Hello all'",
    )
)
def send(
    sender: Annotated[str, typer.Option("--from", metavar="+NUMBER", help="Phone that sends the message.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="+NUMBER", help="Phone that gets the message, the address of a group, or status."
        ),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Text of the message, or caption of the attachment.")
    ] = None,
    media: Annotated[str | None, typer.Option(metavar="FILE", help="File to attach; - reads stdin.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Kind of the message, such as poll or location; of an attachment: image, sticker, video, "
            "audio, document, voice or video_note, by default as the file name suggests.",
        ),
    ] = None,
    mime: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help="MIME type of the attachment; by default as the file name suggests."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="What the kind of message takes, as text or JSON; can be repeated.",
        ),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="File with a message as protobuf, sent as it is; - reads stdin."),
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Send a message from a phone, and print the message's ID.

    The documentation of the sandbox lists the kinds of messages, and what each kind takes.
    """
    client = SandboxClient(control)
    content = _settings(settings or [])
    if raw is not None:
        if text or kind or mime or media:
            raise typer.BadParameter("--raw takes neither a text nor --media, --kind or --mime")
        print(client.send(sender, to, "raw", message=read(raw), **content))
        return
    if media is None:
        if mime or (kind is None and not text) or kind in get_args(MediaKind):
            raise typer.BadParameter("give a text, or --media with --kind and --mime as needed")
        if text:
            content["text"] = text
        print(client.send(sender, to, kind or "text", **content))
        return
    mime = mime or _guess_mime(media)
    known_kind = _media_kind(kind, mime)
    if text and known_kind in CAPTIONED:
        content["caption"] = text
    if media != "-" and known_kind == "document":
        content.setdefault("file_name", Path(media).name)
    print(client.send(sender, to, known_kind, data=read(media), mime=mime, **content))


@app.command(epilog=examples("orchestrator sandbox inbox +4915100001 --json"))
def inbox(
    number: Number,
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """Show the messages that a phone has received.

    The list includes copies of messages that the phone's linked devices have sent.
    """
    found = SandboxClient(control).inbox(number)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            message["seq"],
            message["from"],
            message["group"] or message["chat"],
            message["kind"],
            _about(message),
            _gist(message),
        ]
        for message in found
    ]
    print_table(("seq", "from", "chat", "kind", "about", "text"), rows)


@app.command(epilog=examples("orchestrator sandbox sent +4915100002"))
def sent(
    number: Number,
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """Show what a phone has sent, and who has received and read it."""
    found = SandboxClient(control).sent(number)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            message["id"],
            message["to"],
            message["kind"],
            " ".join(message["delivered"]),
            " ".join(message["read"]),
            _gist(message),
        ]
        for message in found
    ]
    print_table(("id", "to", "kind", "delivered to", "read by", "text"), rows)


@app.command(
    epilog=examples(
        "orchestrator sandbox messages +4915100002",
        "orchestrator sandbox messages +4915100002 --chat +4915100001 --json",
    )
)
def messages(
    number: Number,
    chat: Annotated[
        str | None,
        typer.Option(
            metavar="+NUMBER", help="Only the chat with this number, of the group of this address, or status."
        ),
    ] = None,
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """Show the chats of a phone as its owner sees them now.

    Edits, reactions, votes, pins, ticks and deletions are shown with the message that they are about.
    """
    found = SandboxClient(control).messages(number, chat)
    if as_json:
        print_json(found)
        return
    rows = [
        [one["id"], one["from"], one["chat"], one["kind"], _gist(one), "; ".join(_marks(one))]
        for one in found
    ]
    print_table(("id", "from", "chat", "kind", "text", "marks"), rows)


@app.command(epilog=examples("orchestrator sandbox typing +4915100002"))
def typing(
    number: Number,
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """Show who is writing or recording in the chats of a phone."""
    found = SandboxClient(control).typing(number)
    if as_json:
        print_json(found)
        return
    print_table(("from", "group", "state"), [[one["from"], one["group"], one["state"]] for one in found])


def _gist(message: dict[str, Any]) -> object:
    """Return what a message says, in short."""
    said = ("text", "emoji", "caption", "file_name", "question", "options", "name", "contacts")
    return next((message[name] for name in (*said, "of", "error") if message.get(name)), None)


def _marks(message: dict[str, Any]) -> Iterator[str]:
    """Yield what was said of a message, in short."""
    if edits := message.get("edits"):
        yield f"edited {edits} times" if edits > 1 else "edited"
    if by := message.get("deleted_by"):
        yield f"deleted by {by}"
    if by := message.get("pinned_by"):
        yield f"pinned by {by}"
    yield from (f"{emoji} {by}" for by, emoji in message.get("reactions", {}).items())
    yield from (f"{by} votes for {', '.join(options)}" for by, options in message.get("votes", {}).items())
    for tick in ("played", "read", "delivered"):
        if people := message.get(tick):
            yield f"{tick}: {' '.join(people)}"
            return


def _about(message: dict[str, Any]) -> object:
    """Return the message that a message is about: what it reacts to, edits, deletes, or quotes."""
    return message.get("of") or message.get("quote", {}).get("id")


def _settings(given: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals or not name or name in ("from", "to", "kind", "data", "message", *settings):
            raise typer.BadParameter(f"{setting!r}: write each setting once, as NAME=VALUE")
        try:
            settings[name] = json.loads(value)
        except (ValueError, RecursionError):
            settings[name] = value
    return settings


def _guess_mime(path: str) -> str:
    import mimetypes

    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _media_kind(kind: str | None, mime: str) -> MediaKind:
    family = mime.partition("/")[0]
    kind = kind or (family if family in ("image", "video", "audio") else "document")
    if kind not in get_args(MediaKind):
        raise typer.BadParameter(f"--kind must be one of {', '.join(get_args(MediaKind))}, not {kind!r}")
    return cast("MediaKind", kind)
