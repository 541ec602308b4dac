"""The commands about the process of the service: ``logs`` says where its log is, ``shutdown`` ends it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, printable
from orchestrator.cli.repeating import quoted
from orchestrator.errors import NotRunning, OrchestratorError

app = typer.Typer(rich_markup_mode=None)

END_SECONDS = 45.0
"""How long `shutdown` waits for the end of the service, which takes 35 seconds at the most."""
_POLL = 0.1


@app.command(epilog=examples("orchestrator logs", "orchestrator logs --follow"))
def logs(
    context: typer.Context,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Show the end of the log and what comes, by journalctl or tail."),
    ] = False,
) -> None:
    """Say where the log of the service is.

    The log is in the journal where systemd runs the service, in the file of `run --log-file`, or on the
    terminal in which the service runs.
    """
    where = invocation.of(context)
    try:
        found = where.service().call("process")
    except NotRunning as error:
        unit = _unit(where)
        if unit is None:
            raise
        found, last = {"log": "journal", "unit": {"name": unit, "of_user": False}}, str(error)
        print(printable(f"the service is not running ({last.partition(':')[0]}); its unit is {unit}"))
    except OrchestratorError as error:
        if error.key != "unknown_command":
            raise
        raise OrchestratorError(
            "the running service is of an earlier version, which cannot say where its log is: restart the"
            " service",
            key="unknown_command",
        ) from None
    command = command_for(found)
    if not follow:
        print(printable(place(found)))
        if command is not None:
            print(f"to read the log: {quoted(command)}")
        return
    if command is None:
        raise OrchestratorError(place(found), key="no_log")
    if found["log"] == "file":
        _check_file(Path(found["path"]), command)
    os.execvp(command[0], command)


def _unit(where: invocation.Places) -> str | None:
    from orchestrator.system.units import find_unit

    return find_unit(where.state().root)


def place(found: Mapping[str, Any]) -> str:
    """Say where a log is. Pure.

    Args:
        found: What the service answers to `process`.
    """
    unit, path = found.get("unit"), found.get("path")
    match found["log"]:
        case "journal":
            return "the log is in the journal" + (f", of the unit {unit['name']}" if unit else "")
        case "file":
            return f"the log is {path}"
        case "terminal":
            return f"the log is on the terminal in which the service runs: {who(found)}"
        case "pipe":
            return f"the log goes to another program, by a pipe: {who(found)}"
        case _:
            return (
                f"the log goes nowhere: {who(found)}; start the service with `orchestrator run --log-file"
                " FILE`"
            )


def who(found: Mapping[str, Any]) -> str:
    """Say which process the service is, whose, and on which terminal. Pure."""
    on = f", on {found['terminal']}" if found.get("terminal") else ""
    return f"process {found['pid']} of {found['user']}{on}"


def command_for(found: Mapping[str, Any]) -> list[str] | None:
    """Return the command that shows a log and what comes; None if there is none. Pure."""
    unit = found.get("unit")
    match found["log"]:
        case "journal" if unit:
            whose = ["--user"] if unit["of_user"] else []
            return ["journalctl", *whose, "-u", unit["name"], "-n", "50", "-f"]
        case "journal":
            return ["journalctl", f"_PID={found['pid']}", "-n", "50", "-f"]
        case "file":
            return ["tail", "-n", "50", "-F", "--", found["path"]]
        case _:
            return None


def _check_file(path: Path, command: list[str]) -> None:
    """See that a file is safe to show on this terminal: its user may write anything into it.

    Raises:
        OrchestratorError: It is none, or another user's.
    """
    from orchestrator.system import trust

    try:
        about = path.lstat()
    except OSError as error:
        raise OrchestratorError(f"{path}: {error.strerror}", key="no_log") from None
    ours = stat.S_ISREG(about.st_mode) and about.st_uid in (0, os.geteuid())
    # `tail -F` shows whatever comes into its place later, too.
    if not ours or trust.weak_for_us(trust.read_way(path)) is not None:
        raise OrchestratorError(
            f"{path} is another user's, or others may put another file there, with control characters in it,"
            " so the file is not shown here:"
            f" `{quoted(command)} | cat -v` shows the log",
            key="no_log",
        )


@app.command(epilog=examples("orchestrator shutdown"))
def shutdown(context: typer.Context) -> None:
    """Stop the service, wherever it runs in the foreground.

    The command waits until the service has ended. All accounts together get up to 15 seconds to disconnect.
    Where systemd runs the service, `systemctl stop` stops the service: the command says so.
    """
    where = invocation.of(context)
    lock = where.state().lock
    client = where.service()
    try:
        found = client.call("shutdown")
    except NotRunning:
        holder = _holder(lock)
        if holder is None:
            raise
        what, pid = holder
        if what != "the service":
            raise OrchestratorError(
                f"no service runs, but process {pid} ({what}) uses the state folder: Ctrl-C in its terminal,"
                f" or `kill {pid}`, ends it",
                key="not_running",
            ) from None
        print(f"the service is stopping already: process {pid}", flush=True)
    else:
        print(printable(f"the service is stopping: {who(found)}"), flush=True)
    _await_end(lock)
    print("the service has ended")


def _holder(lock: Path) -> tuple[str, int] | None:
    """Return what holds the lock of a state folder, and its process id; None if nothing does."""
    from orchestrator.store.lock import is_held, read_holder

    holder = read_holder(lock) if is_held(lock) else None
    return None if holder is None else (holder.what, holder.pid)


def _await_end(lock: Path) -> None:
    from orchestrator.store.lock import is_held

    deadline = time.monotonic() + END_SECONDS
    while is_held(lock):
        if time.monotonic() > deadline:
            _still_there(lock)
        time.sleep(_POLL)


def _still_there(lock: Path) -> NoReturn:
    holder = _holder(lock)
    named = f" (process {holder[1]})" if holder else ""
    raise OrchestratorError(
        f"the service has not ended after {END_SECONDS:.0f} s{named}: its log says what it waits for",
        key="still_stopping",
    )
