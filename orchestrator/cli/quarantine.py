"""The commands ``quarantine …``: what lies in quarantine, and its deletion for good."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.accounts.names import no_such_account, shorten
from orchestrator.accounts.words import counted, size
from orchestrator.cli import asking, completion, invocation, put_aside
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import ExitCode, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.config.settings import Settings
    from orchestrator.store.put_away import Entry

app = typer.Typer(
    name="quarantine",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See which sessions and messages were put away, and delete them for good.",
)

_LONGEST = 3650 * 86_400
_SHOWN = 10


@app.command(
    "list",
    epilog=examples(
        "orchestrator quarantine list",
        "orchestrator quarantine list --json | jq 'map(.bytes) | add'",
    ),
)
def list_quarantine(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """List what lies in quarantine, the newest first.

    `orchestrator restore NAME` brings a session back. The service deletes each folder when its time is over.
    """
    from orchestrator.cli.offline import kept

    where = invocation.of(context)
    settings = where.settings()
    found = put_aside.read(where)
    if not found and not as_json:
        print("the quarantine is empty")
        return
    put_aside.show(found, settings, as_json=as_json)
    if not as_json:
        total = size(sum(one.size for one in found))
        place = kept.store(where).sessions.quarantine_place
        print(f"{counted(len(found), 'folder')}, {total}, in {printable(place)}")


@app.command(
    epilog=examples(
        "orchestrator quarantine purge support",
        "orchestrator quarantine purge support-20261122T100000Z-repair",
        "orchestrator quarantine purge --older-than 2d --yes",
        "orchestrator quarantine purge --all",
    )
)
def purge(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            show_default=False,
            help="Accounts, for all that was put away of them, or names of folders in quarantine.",
            autocompletion=completion.put_away,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", show_default=False, help="Only what was put away longer ago, such as 7d."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything in quarantine.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete sessions and messages in quarantine for good: nothing brings them back.

    Deleting a session unlinks no device. If the phone still shows the device under Linked devices, remove it
    there. Folders with anything else in them stay, and so does what is being moved.
    """
    if everything and names:
        raise typer.BadParameter("name what to delete, or give --all", param_hint="--all")
    if not (everything or names or older_than):
        raise typer.BadParameter("name what to delete, or give --older-than or --all", param_hint="[NAME...]")
    oldest = None
    if older_than is not None:
        from orchestrator.cli import durations  # what reads the configuration, only where it is needed

        oldest = time.time() - durations.seconds("--older-than", older_than, 0, _LONGEST)
    where = invocation.of(context)
    settings = where.settings()
    found = list(_chosen(put_aside.read(where), names or [], settings))
    if oldest is not None:
        found = [one for one in found if one.at is not None and one.at < oldest]
    if not found:
        print("nothing in quarantine is that old" if oldest is not None else "the quarantine is empty")
        return
    _tell(found)
    total = size(sum(one.size for one in found))
    asking.confirm(f"Delete {counted(len(found), 'folder')} ({total}) for good?", yes=yes)
    result = put_aside.delete(where, [one.folder for one in found])
    print(f"deleted {counted(len(result['done']), 'folder')}, {size(result['size'])}")
    if result["kept"]:
        raise typer.Exit(ExitCode.FAILED)


def _chosen(found: Sequence[Entry], names: Sequence[str], settings: Settings) -> Iterator[Entry]:
    """Yield what is meant: everything, if no name is given.

    Raises:
        NoSuchAccount: Neither an account nor anything in quarantine has one of the names.
        OrchestratorError: Nothing in quarantine has one of the names.
    """
    for name in names:
        if any(name in (one.name, one.folder) for one in found):
            continue
        missing = f"there is nothing of {shorten(name)} in quarantine"
        if name not in settings.accounts:
            raise no_such_account(name, known={*settings.accounts, *(one.name for one in found)})
        raise OrchestratorError(f"{missing}; `orchestrator quarantine list` shows all", key="no_such_session")
    for one in found:
        if not names or one.name in names or one.folder in names:
            yield one


def _tell(found: Sequence[Entry]) -> None:
    for one in found[:_SHOWN]:
        print(f"{printable(one.folder)}: {put_aside.holds(one)}, {size(one.size)}")
    if len(found) > _SHOWN:
        print(f"and {len(found) - _SHOWN} more")
