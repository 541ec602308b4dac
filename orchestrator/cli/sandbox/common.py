"""What the commands of the sandbox have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestrator.cli.formatting import printable
from orchestrator.cli.repeating import quoted
from orchestrator.sandbox.client import CONTROL_VARIABLE, SandboxClient, SandboxError

ACCOUNTS: Final = "accounts"
"""The folder in the sandbox's folder that is the state folder of a service in the sandbox."""
INSTALL: Final = f"`{quoted([sys.prefix])}/bin/pip install -r requirements/sandbox.txt`"
"""How the packages of the sandbox get into this environment, in a checkout of this project.

On the package index, the name of this project may be anybody's.
"""


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


def check_ours(place: Path, control: str) -> None:
    """See that nobody but root and this user decides what is in a folder or a file that a sandbox has named.

    Any user of the machine may listen where a sandbox is expected, and choose what it names: a configuration,
    which names programs to run, or a link to a file of this user's, which would be sent there.

    Args:
        place: The folder or the file; it may be missing.
        control: The address of the sandbox.

    Raises:
        SandboxError: Others may change it.
    """
    from orchestrator.system import trust

    if (weak := trust.weak_for_us(trust.read_way(place))) is not None:
        raise SandboxError(
            f"the sandbox at {control} is not used: it keeps {place}, and others may change that:"
            f" {weak.text}; start a sandbox of your own, on other ports"
        )
