"""The commands ``orchestrator sandbox …``: run a sandbox, and do what people do with their phones."""

from __future__ import annotations

import typer

from orchestrator.cli.lazy import LazyGroup

COMMANDS = {
    "serve": "sandbox.server",
    "env": "sandbox.server",
    "run": "sandbox.server",
    "scan": "sandbox.phones",
    "code": "sandbox.phones",
    "phones": "sandbox.phones",
    "add-phone": "sandbox.phones",
    "unlink": "sandbox.phones",
    "send": "sandbox.messages",
    "inbox": "sandbox.messages",
    "sent": "sandbox.messages",
    "messages": "sandbox.messages",
    "typing": "sandbox.messages",
    "burst": "sandbox.acts",
    "call": "sandbox.acts",
    "clock": "sandbox.acts",
    "state": "sandbox.server",
    "events": "sandbox.server",
    "fault": "sandbox.faults",
    "faults": "sandbox.faults",
    "clear": "sandbox.faults",
    "kinds": "sandbox.faults",
}
"""The commands in the order of the help, each with the module of `orchestrator.cli` that has the command."""


class _Commands(LazyGroup):
    modules = COMMANDS


app = typer.Typer(
    cls=_Commands,
    name="sandbox",
    help="Run a WhatsApp server on this machine, to try bots without a phone.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
