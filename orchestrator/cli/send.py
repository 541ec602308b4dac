"""The command ``send``: sends a text or a file from an account."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from orchestrator.accounts import phones
from orchestrator.accounts.acts import MAX_TEXT, check_chat, person
from orchestrator.accounts.states import State as Account
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples, local, printable
from orchestrator.errors import OrchestratorError
from orchestrator.sending import media_types, wire
from orchestrator.sending.forms import MEDIA, Kind
from orchestrator.sending.row import MAX_KEY, is_key

app = typer.Typer(rich_markup_mode=None)

MOST_SECONDS: Final = 60
"""How long the command can wait, in seconds: the service's own limit."""
_CAPTIONED: Final = frozenset({Kind.IMAGE, Kind.VIDEO, Kind.DOCUMENT})


@app.command(
    epilog=examples(
        "orchestrator send support --to +4915100002 'Hello'",
        "orchestrator send support --to +4915100002 - < message.txt",
        "orchestrator send support --to +4915100002 --file offer.pdf --caption 'As you wished'",
        "orchestrator send support --to +4915100002 --queue --key bill-17 'Your bill is due'",
        "orchestrator send support --to +4915100002 -- '-5 degrees'",
    )
)
def send(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="CHAT",
            help="Phone number of the receiver with +, or the address of a chat, as `chat.id` of a message"
            " has it.",
            show_default=False,
        ),
    ],
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="The text, or what is written below the file, as with --caption; - reads it from stdin."
            " Put -- before a text that begins with a dash.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="The file to send.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="What the file is shown as: image, video, audio, voice, document or sticker. Default: by"
            " its content.",
            show_default=False,
        ),
    ] = None,
    caption: Annotated[
        str | None,
        typer.Option(
            "--caption",
            metavar="TEXT",
            help="What is written below an image, a video or a document; - reads it from stdin.",
            show_default=False,
        ),
    ] = None,
    reply_to: Annotated[
        str | None,
        typer.Option(
            "--reply-to",
            metavar="MESSAGE-ID",
            help="The message of this chat that is answered.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        int,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            max=MOST_SECONDS,
            help="How long to wait until WhatsApp has taken the message.",
        ),
    ] = MOST_SECONDS,
    queue: Annotated[bool, typer.Option("--queue", help="Do not wait: `--wait 0`.")] = False,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="A word of your own: the same command with the same key sends nothing again.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="DURATION",
            help="How long the message may wait to be sent, such as 10m. Default and most: `expires` under"
            " `sending` in the configuration.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the row of the outbox as one JSON document.")
    ] = False,
) -> None:
    """Send a text or a file from an account.

    The message is written into the account's outbox, and sent from there in its turn: it is not lost if the
    service, the account or this machine ends. The command waits until WhatsApp has taken the message, unless
    the account is not connected. `orchestrator outbox NAME` shows what waits.

    Other users of this machine can see the arguments of a running command, so send private texts through
    stdin.
    """
    invocation.keep_out_of_cores()
    text = _below(text, caption, file)
    if text == "-":
        text = _stdin()
    if key is not None and not is_key(key):
        raise typer.BadParameter(f"is 1 to {MAX_KEY} characters from ! to ~", param_hint="--key")
    more: dict[str, Any] = {} if key is None else {"key": key}
    if expires is not None:
        more["expires"] = _seconds(expires)
    chat = receiver(to)
    with _opened(file) as source:
        message = _message(chat, text, file, kind, source)
        if reply_to is not None:
            message["reply_to"] = reply_to
        if source is None:
            wire.parse(message)
        service = invocation.of(context).service()
        account = service.call("list", names=[name])["accounts"][0]
        is_connected = account.get("state") == Account.CONNECTED
        row = service.call(
            "send",
            file=source,
            name=name,
            message=message,
            wait=wait if is_connected and not queue else 0,
            **more,
        )["row"]
    if as_json:
        print(json.dumps(row, indent=2))
    _tell(name, row, "" if is_connected else str(account.get("state")), quiet=as_json)


def _below(text: str | None, caption: str | None, file: str | None) -> str | None:
    """Return the text of the message, or what is written below its file, whichever way it was given."""
    if caption is None:
        return text
    if file is None:
        raise typer.BadParameter(
            "is what is written below a file: name one with --file", param_hint="--caption"
        )
    if text is not None:
        raise typer.BadParameter("give the words once, as TEXT or here", param_hint="--caption")
    return caption


def receiver(to: str) -> str:
    """Return the address of the chat that `--to` names.

    Raises:
        OrchestratorError: It is neither a number nor an address; the message quotes nothing.
    """
    if "@" in to:
        return check_chat(to, "--to")
    try:
        return person(phones.parse(to))
    except phones.NotANumber as error:
        raise OrchestratorError(f"the number of the receiver: {error}", key="bad_number") from None


def _message(
    to: str, text: str | None, file: str | None, kind: str | None, source: int | None
) -> dict[str, Any]:
    """Return the message in the words of `sending.wire`."""
    if file is None or source is None:
        if kind is not None:
            raise typer.BadParameter(
                "says what a file is shown as: name one with --file", param_hint="--kind"
            )
        if text is None:
            raise typer.BadParameter("write a text, or name a file with --file", param_hint="TEXT")
        return {"to": to, "kind": str(Kind.TEXT), "text": text}
    shown_as = _kind(kind, source)
    message = {"to": to, "kind": str(shown_as)}
    if text is not None:
        if shown_as not in _CAPTIONED:
            raise typer.BadParameter(
                f"nothing can be written below a file of kind {shown_as}", param_hint="TEXT"
            )
        message["caption"] = text
    if shown_as is Kind.DOCUMENT:
        message["file_name"] = os.path.basename(file)  # noqa: PTH119 - of a text that need not be a path
    return message


def _kind(kind: str | None, source: int) -> Kind:
    if kind is not None:
        if kind not in MEDIA:
            raise typer.BadParameter(f"is one of {', '.join(sorted(MEDIA))}", param_hint="--kind")
        return Kind(kind)
    found = media_types.sniff(os.pread(source, media_types.HEAD_BYTES, 0))
    for one in (Kind.IMAGE, Kind.VIDEO, Kind.AUDIO):
        if found in media_types.FITS[one].types:
            return one
    return Kind.DOCUMENT


@contextlib.contextmanager
def _opened(file: str | None) -> Iterator[int | None]:
    """Open the file, with the rights of whoever gives the command.

    Raises:
        typer.BadParameter: It cannot be opened, or is no file.
    """
    if file is None:
        yield None
        return
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        is_link = os.path.islink(file)  # noqa: PTH114
        why = "it is a symbolic link: name the file itself" if is_link else error.strerror or error
        raise typer.BadParameter(f"the file cannot be opened: {why}", param_hint="--file") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise typer.BadParameter("this is no regular file: name another one", param_hint="--file")
        yield descriptor
    finally:
        os.close(descriptor)


def _tell(name: str, row: dict[str, Any], unconnected: str, *, quiet: bool) -> None:
    """Say what became of the message.

    Raises:
        OrchestratorError: It was not sent and will not be, or nobody knows.
    """
    state, number, why = row.get("state"), row.get("row"), printable(str(row.get("why") or ""))
    more = f"`orchestrator outbox {name} --row {number}` says more"
    match state:
        case "sent":
            said = f"{name}: sent as {printable(str(row.get('id')))}"
        case "queued" | "sending":
            if unconnected:
                why = f"{name} is not connected but {printable(unconnected)}"
            elif not why and state == "sending":
                why = "WhatsApp has not answered yet"
            waits = f"waits ({why})" if why else "waits for its turn"
            if row.get("queued_until"):
                then = f"it is sent at {local(str(row['queued_until']))} at the earliest"
            else:
                then = f"it expires at {local(str(row.get('expires_at')))}"
            said = f"{name}: row {number} {waits}; {then}; {more}"
        case "unknown":
            raise OrchestratorError(
                f"{name}: nobody knows yet whether row {number} was sent: {why}; {more}",
                key="delivery_unknown",
            )
        case _:
            words = why or str(state)
            raise OrchestratorError(f"{name}: row {number} was not sent: {words}", key="not_sent")
    if not quiet:
        print(said)


def _stdin() -> str:
    # One byte more than any valid text has: a text that is too long need not be read to its end.
    data = sys.stdin.buffer.read(4 * MAX_TEXT + 1)
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise OrchestratorError("the text on stdin is not UTF-8, or far too long", key="bad_text") from None


def _seconds(text: str) -> float:
    from orchestrator.cli.durations import seconds  # what reads the configuration, only where it is needed

    return seconds("--expires", text, 1, 30 * 86_400)
