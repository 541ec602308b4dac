"""The commands that move sessions: ``rename`` and ``restore``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import completion, invocation
from orchestrator.cli.accounts import check_name, check_service_reads
from orchestrator.cli.formatting import examples
from orchestrator.control.client import Client
from orchestrator.store.layout import StatePaths

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=examples("orchestrator rename support support-eu"))
def rename(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="OLD", show_default=False, autocompletion=completion.renamable)
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A name that nothing has yet.")],
) -> None:
    """Give an account another name.

    Its session, its history and its place in the configuration come along, and whether it was stopped or is
    banned: it connects again without a code. If you have renamed it in the configuration already, all the
    rest follows.
    """
    check_name(new, "NEW")
    if old == new:
        raise typer.BadParameter("that is the name it has", param_hint="NEW")
    where = invocation.of(context)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    if client is None:
        state = _rename_alone(where, where.state(), old, new)
    else:
        state = _rename_by(client, file, old, new)
    print(f"{old} is called {new} now{state}")


def _rename_by(client: Client, file: Path, old: str, new: str) -> str:
    from orchestrator.config import edit as config_edit

    if client.call("rename", name=old, new=new, begin=True)["edit"]:
        config_edit.rename_account(file, old, new)
    accounts = client.call("rename", name=old, new=new)["accounts"]
    return "".join(f": {account['state']}" for account in accounts)


def _rename_alone(where: invocation.Places, state: StatePaths, old: str, new: str) -> str:
    from orchestrator.cli.offline import changes
    from orchestrator.config import edit as config_edit
    from orchestrator.store import moving

    before = where.settings()
    with changes.exclusive(state, f"renames {old}"):
        task = moving.pending(state)
        if task is not None:
            moving.finish(state, before)
            if task in (moving.Rename(old, new), moving.Rename(old, new, begun=True)) and (
                new in before.accounts and old not in before.accounts
            ):
                return ""  # this command was interrupted, and is done now
        edit = moving.check_rename(state, before, old, new)
        moving.begin(state, moving.Rename(old, new))
        try:
            after = config_edit.rename_account(where.config_file(), old, new) if edit else before
        except BaseException:
            moving.give_up(state)
            raise
        moving.finish(state, after)
    return ""


@app.command(
    epilog=examples(
        "orchestrator restore support",
        "orchestrator restore support support-20261122T100000Z-repair",
        "orchestrator restore support ~/.local/state/orchestrator/quarantine/support-20261122T100000Z-repair",
    )
)
def restore(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    quarantine: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUARANTINE]",
            show_default=False,
            help="Which session, by the name or the path of its folder; by default the newest of NAME.",
            autocompletion=completion.quarantined,
        ),
    ] = None,
) -> None:
    """Put an account's session back from quarantine.

    The account must not run, nor have a session. A running service starts it, unless it was stopped. A
    session that WhatsApp has logged out stays logged out.
    """
    if quarantine is not None and "/" in quarantine:
        quarantine = str(Path(quarantine).expanduser().absolute())
    where = invocation.of(context)
    state = where.state()
    client = where.running_service()
    if client is None:
        from orchestrator.cli.offline import changes

        settings = where.settings()
        about = changes.restore(state, settings, name, quarantine)
        folder, notes = about.folder, list(about.notes)
        configured = name in settings.accounts
        then = f"the service is not running; `{where.start_command(settings.config_file)}` starts it"
    else:
        result = client.call("restore", name=name, quarantine=quarantine or "")
        folder, notes = result["folder"], result["notes"]
        configured = bool(result["accounts"])
        then = "".join(f"{one['name']}: {one['state']}" for one in result["accounts"])
        if configured and result["accounts"][0]["state"] == "stopped":
            then += f"; `orchestrator start {name}` starts it"
    print(f"{name} has its session of {folder} again")
    for note in notes:
        print(f"orchestrator: {note}", file=sys.stderr)
    print(
        then if configured else f"there is no account {name}; `orchestrator add {name}` takes the session up"
    )
