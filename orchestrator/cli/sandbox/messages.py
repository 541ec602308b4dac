"""The commands that send messages from phones, and show what phones have received."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from orchestrator.cli.formatting import examples
from orchestrator.cli.sandbox.common import AsJson, Control, Number, print_json, print_table, read
from orchestrator.sandbox.client import DEFAULT_CONTROL, MediaKind, SandboxClient

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator sandbox send --from +4915100002 --to +4915100001 'Good morning'",
        "orchestrator sandbox send --from +4915100002 --to +4915100001 --media cat.jpg 'Look'",
        "orchestrator sandbox send --from +4915100002 --to 120363000000000001@g.us 'Hello all'",
    )
)
def send(
    sender: Annotated[str, typer.Option("--from", metavar="+NUMBER", help="Phone that sends the message.")],
    to: Annotated[
        str, typer.Option(metavar="+NUMBER", help="Phone that gets the message, or the address of a group.")
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Text of the message, or caption of the attachment.")
    ] = None,
    media: Annotated[str | None, typer.Option(metavar="FILE", help="File to attach; - reads stdin.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Kind of the attachment: image, sticker, video, audio or document; "
            "by default as the file name suggests.",
        ),
    ] = None,
    mime: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help="MIME type of the attachment; by default as the file name suggests."
        ),
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Send a message from a phone, and print the message's ID."""
    client = SandboxClient(control)
    if media is None:
        if not text or kind or mime:
            raise typer.BadParameter("give a text, or --media with --kind and --mime as needed")
        print(client.send_text(sender, to, text))
        return
    mime = mime or _guess_mime(media)
    known_kind = _media_kind(kind, mime)
    name = None if media == "-" else Path(media).name
    print(client.send_media(sender, to, known_kind, read(media), mime=mime, caption=text, file_name=name))


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
            message.get("text") or message.get("caption") or message.get("file_name") or message.get("error"),
        ]
        for message in found
    ]
    print_table(("seq", "from", "chat", "kind", "text"), rows)


def _guess_mime(path: str) -> str:
    import mimetypes

    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _media_kind(kind: str | None, mime: str) -> MediaKind:
    family = mime.partition("/")[0]
    kind = kind or (family if family in ("image", "video", "audio") else "document")
    if kind not in get_args(MediaKind):
        raise typer.BadParameter(f"--kind must be one of {', '.join(get_args(MediaKind))}, not {kind!r}")
    return cast("MediaKind", kind)
