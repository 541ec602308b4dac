"""The commands ``orchestrator sandbox …``: run a sandbox, and do what people do with their phones."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, cast, get_args

import typer

from orchestrator.cli.formatting import printable
from orchestrator.sandbox.client import (
    CONTROL_VARIABLE,
    DEFAULT_CONTROL,
    DEFAULT_CONTROL_PORT,
    DEFAULT_PORT,
    MediaKind,
    SandboxClient,
    SandboxError,
)

if TYPE_CHECKING:
    from orchestrator.sandbox.server.faults import Param

INSTALL: Final = "pip install 'whatsapp-orchestrator[sandbox]'"
PARENT_GONE_SECONDS: Final = 10.0
"""Time for an orderly stop when stdin has closed; then the process ends itself the hard way."""

app = typer.Typer(
    name="sandbox",
    help="A WhatsApp server on this machine, to try bots without a phone.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _checked(address: str) -> str:
    try:
        return SandboxClient(address).address
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Control = Annotated[
    str,
    typer.Option(
        callback=_checked,
        envvar=CONTROL_VARIABLE,
        metavar="URL",
        help="Where the sandbox can be controlled.",
    ),
]
Phone = Annotated[
    str, typer.Option("--phone", metavar="+NUMBER", help="Number of the phone; it is made if needed.")
]
Number = Annotated[str, typer.Argument(metavar="+NUMBER", help="Number of the phone.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def _examples(*lines: str) -> str:
    # The backspace keeps the lines as they are.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


# The server


@app.command(
    epilog=_examples(
        "orchestrator sandbox serve",
        "orchestrator sandbox serve --port 0 --control-port 0 --state-dir /tmp/box --json",
    )
)
def serve(
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port for WhatsApp clients; 0 is any free one.")
    ] = DEFAULT_PORT,
    control_port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="Port for the other commands; 0 is any free one."),
    ] = DEFAULT_CONTROL_PORT,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for phones, devices and messages; by default "
            "$XDG_STATE_HOME/orchestrator-sandbox or ~/.local/state/orchestrator-sandbox.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="When it listens, print one line of JSON and nothing else.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more, to stderr.")] = False,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
) -> None:
    """Run the sandbox in the foreground until Ctrl-C.

    It listens on 127.0.0.1 only. What it knows is kept in the state folder for the next time.
    """
    import asyncio
    import logging

    try:
        from orchestrator.sandbox.crypto.certs import CertificateError
        from orchestrator.sandbox.server.main import Options, StartError, run
        from orchestrator.sandbox.server.store import StoreError
        from orchestrator.sandbox.wire.tokens import TokenError
    except ImportError as error:
        if (error.name or "orchestrator").startswith("orchestrator"):
            raise
        raise SandboxError(
            f"the sandbox needs packages that are not installed ({error.name}): {INSTALL}"
        ) from None

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if until_stdin_closes:
        _stop_when_stdin_closes()
    folder = (state_dir or _default_state_dir()).absolute()
    listening = False

    def ready(about: dict[str, Any]) -> None:
        nonlocal listening
        listening = True
        print(json.dumps(about) if as_json else _how_to_use(about), flush=True)

    try:
        asyncio.run(run(Options(folder, port, control_port), ready))
    except (StartError, StoreError, CertificateError, TokenError) as error:
        raise SandboxError(str(error)) from None
    except OSError as error:
        if listening:
            raise
        raise SandboxError(f"{error.filename or folder}: {error.strerror or error}") from None


def _default_state_dir() -> Path:
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    # A relative one is to be ignored, says the XDG Base Directory Specification.
    return (base if base.is_absolute() else Path.home() / ".local/state") / "orchestrator-sandbox"


def _stop_when_stdin_closes() -> None:
    """Stop this process as SIGTERM does when whoever holds the other end of stdin closes it or is gone."""
    import signal
    import threading
    import time

    def watch() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass  # there is no stdin at all
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PARENT_GONE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _how_to_use(about: dict[str, Any]) -> str:
    control = f"http://127.0.0.1:{about['control_port']}"
    option = "" if control == DEFAULT_CONTROL else f" --control {control}"
    return f"""\
The sandbox listens on 127.0.0.1:{about["port"]}, and for commands on {control}
State: {about["state_dir"]}

In the shell where a bot is to run:
    eval "$(orchestrator sandbox env{option})"
To link it, when it shows its QR code:
    orchestrator sandbox scan QR.png --phone +4915100001{option}

Ctrl-C stops it."""


# Programs that are to take the sandbox for WhatsApp


@app.command(epilog=_examples('eval "$(orchestrator sandbox env)"', "orchestrator sandbox env --json"))
def env(
    control: Control = DEFAULT_CONTROL,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead.")] = False,
) -> None:
    """Print, for a shell, what sends a bot to the sandbox.

    Evaluated, it changes the environment so that neonize takes the sandbox for WhatsApp.
    """
    from orchestrator.sandbox.environment import as_shell

    path = os.environ.get("PYTHONPATH")
    variables = SandboxClient(control).environment({"PYTHONPATH": path} if path else {})
    print(json.dumps(variables, indent=2) if as_json else as_shell(variables).rstrip("\n"))


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=_examples("orchestrator sandbox run -- python bot.py --name support"),
)
def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", show_default=False)],
    control: Control = DEFAULT_CONTROL,
) -> NoReturn:
    """Run a program that takes the sandbox for WhatsApp.

    It is run in place of this one, with the variables that 'env' prints.
    """
    environment = SandboxClient(control).environment()
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        raise SandboxError(f"{command[0]} cannot be run: {error.strerror}") from None


# Phones


@app.command(
    epilog=_examples(
        "orchestrator sandbox scan qr/support.png --phone +4915100001",
        "orchestrator sandbox scan - --phone +4915100001 < support.png",
        "orchestrator sandbox scan --text '2@…' --phone +4915100001",
    )
)
def scan(
    phone: Phone,
    png: Annotated[
        str | None,
        typer.Argument(metavar="PNG", help="Picture with the code; - is stdin.", show_default=False),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the code says, instead of a picture.")
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Hold a phone to a QR code, which links a client."""
    if (png is None) == (text is None):
        raise typer.BadParameter("give either a picture or --text")
    _print_linked(SandboxClient(control).scan(phone, text=text, png=None if png is None else _read(png)))


@app.command(epilog=_examples("orchestrator sandbox code ABCD-1234 --phone +4915100001"))
def code(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="The eight characters, with a dash or without.")
    ],
    phone: Phone,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Type the code of a client into a phone, which links it."""
    _print_linked(SandboxClient(control).enter_code(phone, code))


@app.command(epilog=_examples("orchestrator sandbox phones", "orchestrator sandbox phones --json"))
def phones(
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """List the phones and their linked devices."""
    found = SandboxClient(control).phones()
    if as_json:
        _print_json(found)
        return
    rows: list[list[object]] = []
    for phone in found:
        first: list[object] = [phone["phone"], phone["name"]]
        devices = [
            [one["device"], one["os"], "yes" if one["online"] else "no", one["queued"]]
            for one in phone["devices"]
        ]
        for device in devices or [["", "", "", ""]]:
            rows.append([*first, *device])
            first = ["", ""]
    _print_table(("phone", "name", "device", "os", "online", "queued"), rows)


@app.command(epilog=_examples("orchestrator sandbox add-phone +4915100001 --name Ada"))
def add_phone(
    number: Number,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What others see.")] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Add a phone.

    One that scans a code need not be added before.
    """
    phone = SandboxClient(control).add_phone(number, name)
    print(f"{phone['phone']} is there: {_text(phone['name'])}")


@app.command(
    epilog=_examples(
        "orchestrator sandbox unlink +4915100001", "orchestrator sandbox unlink +4915100001 --device 2"
    )
)
def unlink(
    number: Number,
    device: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Only this device; by default all.", show_default=False),
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Log a phone's linked devices out, as its owner can."""
    gone = SandboxClient(control).unlink(number, device)
    print(f"unlinked: device {', '.join(map(str, gone))}")


# Messages


@app.command(
    epilog=_examples(
        "orchestrator sandbox send --from +4915100002 --to +4915100001 'Good morning'",
        "orchestrator sandbox send --from +4915100002 --to +4915100001 --media cat.jpg 'Look'",
        "orchestrator sandbox send --from +4915100002 --to 120363000000000001@g.us 'Hello all'",
    )
)
def send(
    sender: Annotated[str, typer.Option("--from", metavar="+NUMBER", help="The phone that sends it.")],
    to: Annotated[str, typer.Option(metavar="+NUMBER", help="Who gets it; or a group's address.")],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The text, or what stands below the media.")
    ] = None,
    media: Annotated[str | None, typer.Option(metavar="FILE", help="Attachment; - is stdin.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What the attachment is: image, sticker, video, audio or document; "
            "by default what its name suggests.",
        ),
    ] = None,
    mime: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Its MIME type; by default what its name suggests.")
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Send a message from a phone, and print the message's id."""
    client = SandboxClient(control)
    if media is None:
        if not text or kind or mime:
            raise typer.BadParameter("give a text, or --media with --kind and --mime as needed")
        print(client.send_text(sender, to, text))
        return
    mime = mime or _guess_mime(media)
    known_kind = _media_kind(kind, mime)
    name = None if media == "-" else Path(media).name
    print(client.send_media(sender, to, known_kind, _read(media), mime=mime, caption=text, file_name=name))


@app.command(epilog=_examples("orchestrator sandbox inbox +4915100001 --json"))
def inbox(
    number: Number,
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """Show what a phone has received.

    That includes copies of what its own linked devices have sent.
    """
    found = SandboxClient(control).inbox(number)
    if as_json:
        _print_json(found)
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
    _print_table(("seq", "from", "chat", "kind", "text"), rows)


# What goes on


@app.command(epilog=_examples("orchestrator sandbox state | jq .connections"))
def state(
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Print everything at once, as one JSON document."""
    _print_json(SandboxClient(control).state())


@app.command(
    epilog=_examples("orchestrator sandbox events --since 120", "orchestrator sandbox events --follow")
)
def events(
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    since: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only those after this number.")] = 0,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Print what has happened, one JSON object a line."""
    client = SandboxClient(control)
    for event in client.follow(since) if follow else client.events(since):
        print(json.dumps(event), flush=follow)


# Faults


@app.command(
    epilog=_examples(
        "orchestrator sandbox fault stream-error --target +4915100001 code=503",
        "orchestrator sandbox fault failure --target +4915100001 --times 3 reason=403",
        "orchestrator sandbox fault refuse --seconds 30",
    )
)
def fault(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What goes wrong; 'kinds' lists them.", show_default=False)
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="What the kind can be told.", show_default=False),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="T", help="For whom: all, pairing, +NUMBER, +NUMBER:DEVICE, connection:N or proxy:USER."
        ),
    ] = "all",
    times: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many it strikes; by default one, or with --seconds any number."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(metavar="S", help="How long it lies in wait or lasts; by default until used up."),
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Make something go wrong, now or for the next clients.

    What can go wrong, and what each kind can be told, is listed by 'kinds'.
    """
    from orchestrator.sandbox.server.faults import KINDS, FaultBook, FaultError

    known = KINDS[kind].params if kind in KINDS else {}
    limits = {"times": times, "seconds": seconds}
    params: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals or name in ("kind", "target", "times", "seconds", *params):
            raise typer.BadParameter(f"{setting!r}: write what {kind} can be told as NAME=VALUE, each once")
        params[name] = _value(value, known.get(name))
    try:
        FaultBook(lambda: 0).make({"kind": kind, "target": target, **params})
    except FaultError as error:
        raise typer.BadParameter(str(error)) from None
    made = SandboxClient(control).fault(kind, target, **params)
    print(f"fault {made['id']}: {kind} for {made['target']}, has struck {made['struck']}")


@app.command(epilog=_examples("orchestrator sandbox faults", "orchestrator sandbox faults --json"))
def faults(
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """List the faults that lie in wait or last."""
    found = SandboxClient(control).faults()
    if as_json:
        _print_json(found)
        return
    columns = ("id", "kind", "target", "times", "seconds_left", "struck")
    rows = []
    for one in found:
        params = {key: value for key, value in one.items() if key not in columns and value is not None}
        settings = " ".join(f"{key}={_text(value)}" for key, value in params.items())
        rows.append([*(one[column] for column in columns), settings])
    _print_table(("id", "kind", "for", "times", "seconds left", "struck", "told"), rows)


@app.command(epilog=_examples("orchestrator sandbox clear", "orchestrator sandbox clear 3"))
def clear(
    id: Annotated[  # noqa: A002 - the name that the help shows
        int | None, typer.Argument(metavar="ID", min=1, help="The fault's number; by default all.")
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """End a fault, or all of them."""
    gone = SandboxClient(control).clear_faults(id)
    print(f"cleared: {', '.join(str(one['id']) for one in gone) or 'none'}")


@app.command(epilog=_examples("orchestrator sandbox kinds"))
def kinds() -> None:
    """List the kinds of faults.

    Those of 'now' strike the open connections they mean; the others lie in wait: for the next connection
    ('connect'), the next client that has said who it is ('identified'), or the next one that wants to be
    linked ('pairing').
    """
    from orchestrator.sandbox.server.faults import KINDS

    rows = []
    for name, kind in KINDS.items():
        told = "\n".join(_param_line(key, param) for key, param in kind.params.items())
        when = f"{kind.when}, lasting" if kind.lasting else kind.when
        rows.append([name, when, told, kind.about])
    _print_table(("kind", "when", "can be told", "what happens"), rows)


# What the commands have in common


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SandboxError(f"{path} cannot be read: {error.strerror}") from None


def _guess_mime(path: str) -> str:
    import mimetypes

    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _media_kind(kind: str | None, mime: str) -> MediaKind:
    family = mime.partition("/")[0]
    kind = kind or (family if family in ("image", "video", "audio") else "document")
    if kind not in get_args(MediaKind):
        raise typer.BadParameter(f"--kind must be one of {', '.join(get_args(MediaKind))}, not {kind!r}")
    return cast("MediaKind", kind)


def _value(text: str, param: Param | None) -> float | str:
    """Read a value as the parameter's type; what cannot be read stays text, of which the check complains."""
    kind = param.type if param else str
    if kind is bool:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    try:
        value: float | str = kind(text)
    except ValueError:
        return text
    return value


def _param_line(name: str, param: Param) -> str:
    if param.choices:
        values = " or ".join(param.choices)
    elif param.low is not None and param.high is not None:
        values = f"{param.low:.0f} to {param.high:.0f}"
    else:
        values = {bool: "true or false", str: "text"}.get(param.type, "number")
    default = "" if param.default is None else f", by default {_text(param.default)}"
    return f"{name}={values}{', required' if param.required else default}"


def _text(value: object) -> str:
    """Write a value as JSON does, but text without quotes and without what a terminal takes for commands."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return "\n".join(map(printable, text.split("\n")))


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2))


def _print_linked(linked: dict[str, Any]) -> None:
    print(f"linked: device {linked['device']} of {linked['phone']}")


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from orchestrator.cli.table import console

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    console(piped=200).print(table)
