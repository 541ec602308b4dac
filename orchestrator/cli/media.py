"""The command ``media``: fetches the file of a message."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from orchestrator.accounts import attachments
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples
from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator media support 4611686018427387904",
        "orchestrator media support 4611686018427387904 --output invoice.pdf",
        "orchestrator media support 4611686018427387904 --output - | file -",
    )
)
def media(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    media_id: Annotated[
        str,
        typer.Argument(
            metavar="MEDIA-ID",
            help="The number of the file, as `messages --json` shows it.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a copy to this new file; - writes it to stdout.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fetch the file of a message from WhatsApp, and print where it is.

    The account must run. A file that was fetched before is not fetched again. Strangers send files: the
    service never opens them, and neither should a program that trusts its input.
    """
    if not attachments.is_id(media_id):
        raise typer.BadParameter(
            f"is a number, which `orchestrator messages {name} --json` shows", param_hint="MEDIA-ID"
        )
    if output == "-" and sys.stdout.isatty():
        # What is in the file could steer the terminal.
        raise typer.BadParameter(
            "a terminal would obey what is in the file: name a new file, or redirect the output",
            param_hint="--output",
        )
    path = _fetch(invocation.of(context).service(), name, media_id)
    if output is None:
        print(path)
    else:
        _copy(path, output)


def _fetch(service: Client, name: str, media_id: str) -> Path:
    while True:
        try:
            return Path(service.call("media", name=name, media=media_id)["path"])
        except OrchestratorError as error:
            # The service answers within half a minute, and a large file takes longer.
            if error.key != "media_pending":
                raise


def _copy(path: Path, output: str) -> None:
    from orchestrator.messages.media_files import open_file

    try:
        with open_file(path.parent.parent, path.name) as source:
            if output == "-":
                _print(source)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(output, flags, 0o600), "wb") as copy:
                _fill(source, copy, output)
    except FileExistsError:
        raise OrchestratorError(
            f"{output} exists already: name a file that does not exist", key="folder_unusable"
        ) from None
    except OSError as error:
        raise OrchestratorError(
            f"{output}: the file cannot be copied: {error.strerror or error}; name another file",
            key="folder_unusable",
        ) from None


def _print(source: IO[bytes]) -> None:
    """Copy a file to stdout, as far as anybody reads it."""
    import shutil

    try:
        shutil.copyfileobj(source, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        return  # a reader like head has seen enough
    except OSError as error:
        raise OrchestratorError(
            f"the output cannot be written: {error.strerror or error}", key="folder_unusable"
        ) from None


def _fill(source: IO[bytes], copy: IO[bytes], output: str) -> None:
    """Copy all of a file, or leave nothing."""
    import shutil

    try:
        shutil.copyfileobj(source, copy)
        copy.flush()
    except BaseException:
        with contextlib.suppress(OSError):
            Path(output).unlink()
        raise
