"""The commands that move sessions: ``rename`` and ``restore``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import completion, invocation
from orchestrator.cli.accounts import check_name, check_service_reads
from orchestrator.cli.formatting import examples, printable
from orchestrator.control.client import Client

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=examples("orchestrator rename support support-eu"))
def rename(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="OLD", show_default=False, autocompletion=completion.renamable)
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
) -> None:
    """Rename an account.

    The account keeps its session, its messages, its history, its place in the configuration, an operator's
    stop and a ban. No new code is needed. If you have already renamed the account in the configuration, this
    command does the rest.
    """
    check_name(new, "NEW")
    if old == new:
        raise typer.BadParameter("the account already has this name", param_hint="NEW")
    where = invocation.of(context)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    state = _rename_alone(where, old, new) if client is None else _rename_by(client, file, old, new)
    print(printable(f"{old} is now called {new}{state}"))


def _rename_by(client: Client, file: Path, old: str, new: str) -> str:
    from orchestrator.config import edit as config_edit

    if client.call("rename", name=old, new=new, begin=True)["edit"]:
        config_edit.rename_account(file, old, new)
    accounts = client.call("rename", name=old, new=new)["accounts"]
    return "".join(f": {account['state']}" for account in accounts)


def _rename_alone(where: invocation.Places, old: str, new: str) -> str:
    from orchestrator.cli.offline import changes, kept
    from orchestrator.config import edit as config_edit
    from orchestrator.store.moving import Rename

    before, store = where.settings(), kept.store(where)
    moves = store.moves
    with changes.exclusive(store, f"renames {old}"):
        task = moves.pending()
        if task is not None:
            moves.finish(before)
            if task in (Rename(old, new), Rename(old, new, begun=True)) and (
                new in before.accounts and old not in before.accounts
            ):
                return ""  # an earlier run of this command was interrupted, and is complete now
        edit = moves.check_rename(before, old, new, known=())
        moves.begin(Rename(old, new))
        try:
            after = config_edit.rename_account(where.config_file(), old, new) if edit else before
        except BaseException:
            moves.give_up()
            raise
        moves.finish(after)
    return ""


def _list(where: invocation.Places, *, as_json: bool) -> None:
    from orchestrator.cli import put_aside

    settings = where.settings()
    found = [one for one in put_aside.read(where) if one.restorable]
    if found or as_json:
        put_aside.show(found, settings, as_json=as_json)
    if as_json:
        return
    if over := put_aside.about_logged_out(found):
        print(printable(over))
    print(
        printable(
            "`orchestrator restore NAME` brings the newest of NAME back, `orchestrator restore NAME"
            " QUARANTINE` a certain one"
        )
        if found
        else "there is nothing in quarantine that can be brought back"
    )


@app.command(
    epilog=examples(
        "orchestrator restore",
        "orchestrator restore support",
        "orchestrator restore support support-20261122T100000Z-repair",
        "orchestrator restore support ~/.local/state/orchestrator/quarantine/support-20261122T100000Z-repair",
    )
)
def restore(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            show_default=False,
            help="The account. Without a name, the command lists what can be brought back.",
            autocompletion=completion.accounts,
        ),
    ] = None,
    quarantine: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUARANTINE]",
            show_default=False,
            help="Name or path of the session's folder in quarantine. Default: the newest of NAME.",
            autocompletion=completion.quarantined,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="List as one JSON document and nothing else.")
    ] = False,
) -> None:
    """Restore an account's session, and the messages put away with it, from quarantine.

    Without a name, the command lists what can be brought back: when and why it was put away, and until when
    it is kept.

    The account must not have a session. An account that shows a code is stopped first. Newer messages are
    never replaced. A running service starts the account, unless an operator stopped it. A session that
    WhatsApp has logged out does not work again.
    """
    if name is None:
        _list(invocation.of(context), as_json=as_json)
        return
    if as_json:
        raise typer.BadParameter("is for the list, without a NAME", param_hint="--json")
    if quarantine is not None and "/" in quarantine:
        quarantine = str(Path(quarantine).expanduser().absolute())
    where = invocation.of(context)
    client = where.running_service()
    if client is None:
        from orchestrator.cli.offline import changes, kept

        settings = where.settings()
        about = changes.restore(kept.store(where), settings, name, quarantine)
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
    print(printable(f"{name}: restored from {folder}"))
    for note in notes:
        print(f"orchestrator: {printable(note)}", file=sys.stderr)
    if not configured:
        then = f"there is no account {name}; `orchestrator add {name}` adds it with this session"
    print(printable(then))
