"""The commands that do what a person does with a phone: add it, link clients, unlink them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.formatting import examples
from orchestrator.cli.sandbox.common import (
    ACCOUNTS,
    AsJson,
    Control,
    Number,
    Phone,
    as_text,
    check_ours,
    print_json,
    print_table,
    read,
)
from orchestrator.sandbox.client import DEFAULT_CONTROL, SandboxClient, SandboxError

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator sandbox scan qr/support.png --phone +4915100001",
        "orchestrator sandbox scan support --phone +4915100001",
        "orchestrator sandbox scan - --phone +4915100001 < support.png",
        "orchestrator sandbox scan --text '2@…' --phone +4915100001",
    )
)
def scan(
    phone: Phone,
    png: Annotated[
        str | None,
        typer.Argument(
            metavar="PNG",
            help="Picture of the code; - reads stdin. The name of an account of `orchestrator sandbox run --"
            " orchestrator run` stands for its picture.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text of the code, instead of a picture.")
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Scan a client's QR code with a phone, to link the client."""
    if (png is None) == (text is None):
        raise typer.BadParameter("give either a picture or --text")
    client = SandboxClient(control)
    _print_linked(client.scan(phone, text=text, png=None if png is None else read(_picture(client, png))))


def _picture(client: SandboxClient, given: str) -> str:
    """Return the path of a picture, which may be given as the name of an account of the sandbox's service."""
    from orchestrator.accounts.names import is_name
    from orchestrator.store.layout import QR_FOLDER

    if given == "-" or not is_name(given) or Path(given).exists():
        return given
    picture = Path(client.about()["state_dir"]) / ACCOUNTS / QR_FOLDER / f"{given}.png"
    check_ours(picture, client.address)
    if not picture.exists():
        raise SandboxError(
            f"there is no file {given}, and no code of an account of that name in {picture.parent}: give the"
            " path of the picture, or wait until the account shows a code"
        )
    return str(picture)


@app.command(epilog=examples("orchestrator sandbox code ABCD-1234 --phone +4915100001"))
def code(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="The eight characters, with or without the dash.")
    ],
    phone: Phone,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Type a client's pairing code into a phone, to link the client."""
    _print_linked(SandboxClient(control).enter_code(phone, code))


@app.command(epilog=examples("orchestrator sandbox phones", "orchestrator sandbox phones --json"))
def phones(
    control: Control = DEFAULT_CONTROL,
    as_json: AsJson = False,
) -> None:
    """List the phones and their linked devices."""
    found = SandboxClient(control).phones()
    if as_json:
        print_json(found)
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
    print_table(("phone", "name", "device", "os", "online", "queued"), rows)


@app.command(epilog=examples("orchestrator sandbox add-phone +4915100001 --name Ada"))
def add_phone(
    number: Number,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name that others see.")] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Add a phone.

    A phone that scans a code is added automatically.
    """
    phone = SandboxClient(control).add_phone(number, name)
    print(f"added {phone['phone']}: {as_text(phone['name'])}")


@app.command(
    epilog=examples(
        "orchestrator sandbox unlink +4915100001", "orchestrator sandbox unlink +4915100001 --device 2"
    )
)
def unlink(
    number: Number,
    device: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Log out only this device; by default all devices.", show_default=False
        ),
    ] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Log out a phone's linked devices, as the phone's owner can."""
    gone = SandboxClient(control).unlink(number, device)
    print(f"unlinked: device {', '.join(map(str, gone))}")


def _print_linked(linked: dict[str, Any]) -> None:
    print(f"linked: device {linked['device']} of {linked['phone']}")
