"""The command ``orchestrator``: a typer app whose commands are in the modules of this package.

Only the module of the requested command is imported, and each command imports what it needs when it runs.
So an operator does not wait for the imports of other commands.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Annotated, TextIO

import typer

from orchestrator import __version__
from orchestrator.cli import repeating, terminal
from orchestrator.cli.hints import HintingGroup
from orchestrator.cli.invocation import Places
from orchestrator.cli.lazy import LazyGroup
from orchestrator.errors import ExitCode, OrchestratorError

_OUTPUT_GONE = (errno.EIO, errno.ENXIO, errno.EBADF, errno.EAGAIN)
"""How writing fails on a terminal that has gone, or a pipe that is full and does not wait."""

COMMANDS = {
    "run": "service",
    "ping": "service",
    "shutdown": "process",
    "logs": "process",
    "reload": "reloading",
    "doctor": "service",
    "add": "accounts",
    "remove": "accounts",
    "set": "settings",
    "enable": "settings",
    "disable": "settings",
    "rename": "sessions",
    "restore": "sessions",
    "quarantine": "quarantine",
    "start": "accounts",
    "stop": "accounts",
    "restart": "accounts",
    "maintenance": "maintenance",
    "list": "inspect",
    "status": "inspect",
    "explain": "inspect",
    "history": "history",
    "report": "report",
    "wait": "waiting",
    "link": "link",
    "repair": "pairing",
    "qr": "pairing",
    "codes": "codes",
    "messages": "messages",
    "trace": "messages",
    "send": "send",
    "outbox": "outbox",
    "media": "media",
    "page": "page",
    "token": "token",
    "webhook": "webhooks",
    "consumer": "consumers",
    "bot": "bot",
    "on-change": "on_change",
    "config": "config",
    "cluster": "cluster",
    "install-unit": "unit.command",
    "demo": "demo.command",
    "sandbox": "sandbox",
}
"""The commands in the order of the help, each with the module of this package that has the command."""


class _Commands(LazyGroup, HintingGroup):
    modules = COMMANDS


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would take longer to import than typer itself
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"orchestrator {__version__}")
        raise typer.Exit


@app.callback()
def orchestrator(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The configuration file. Default: $ORCHESTRATOR_CONFIG, else the first that exists of "
            "./accounts.yaml, ~/.config/orchestrator/accounts.yaml and /etc/orchestrator/accounts.yaml.",
        ),
    ] = None,
    state_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The state folder. Default: `state_dir:` in the configuration, else $STATE_DIRECTORY, "
            "else ~/.local/state/orchestrator.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Keep many WhatsApp accounts connected on one machine or on several."""
    repeating.remember(config, state_dir)
    context.obj = Places(config, state_dir)


def main() -> None:
    """Run the command line and exit with one of `ExitCode`, or with 130 after Ctrl-C."""
    terminal.prepare()
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Python flushes once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not code and not isinstance(error, BrokenPipeError):  # a reader like head may have seen enough
                code = _fail(f"the output cannot be written: {error.strerror}")
    sys.exit(code)


def _run() -> int:
    terminals = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]
    try:
        app(prog_name="orchestrator")
    except OrchestratorError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        is_gone = (
            error.filename is None
            and error.errno in _OUTPUT_GONE
            and any(_is_gone(stream, was_terminal=stream in terminals) for stream in (sys.stdout, sys.stderr))
        )
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) and not is_gone:
            raise
        if error.filename is None:
            return _fail(f"the output cannot be written: {error.strerror}")
        from orchestrator.system.os_errors import trouble  # most commands do not fail

        return _fail(f"{error.filename} cannot be written: {trouble(error)}")
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _is_gone(stream: TextIO, *, was_terminal: bool) -> bool:
    """Tell whether a stream cannot be written any more."""
    try:
        stream.flush()
    except OSError:
        return True
    return was_terminal and not stream.isatty()


def _fail(message: str, code: ExitCode = ExitCode.FAILED) -> int:
    from orchestrator.cli.formatting import printable_lines  # most commands do not fail

    with contextlib.suppress(OSError):  # nobody is left to tell it to
        print(f"orchestrator: {printable_lines(message)}", file=sys.stderr)
    return code
