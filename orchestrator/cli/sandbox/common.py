"""What the commands of the sandbox have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestrator.cli.formatting import printable
from orchestrator.sandbox.client import CONTROL_VARIABLE, SandboxClient, SandboxError

INSTALL: Final = "pip install 'whatsapp-orchestrator[sandbox]'"


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
        help="Address where the sandbox takes commands.",
    ),
]
Phone = Annotated[
    str, typer.Option("--phone", metavar="+NUMBER", help="Number of the phone; an unknown phone is added.")
]
Number = Annotated[str, typer.Argument(metavar="+NUMBER", help="Number of the phone.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def read(path: str) -> bytes:
    """Return a file's bytes; ``-`` is stdin.

    Raises:
        SandboxError: The file cannot be read.
    """
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SandboxError(f"{path} cannot be read: {error.strerror}") from None


def as_text(value: object) -> str:
    """Return a value as JSON, but a text without quotes and without control characters for the terminal."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return "\n".join(map(printable, text.split("\n")))


def print_json(document: object) -> None:
    """Print a JSON document."""
    print(json.dumps(document, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table of values."""
    from orchestrator.cli.table import show_rows

    show_rows(columns, (map(as_text, row) for row in rows))
