"""The commands ``cluster …``: the database of `store:` made ready, and sessions moved into it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import invocation, shards
from orchestrator.cli.database import dsn_of
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import ExitCode, OrchestratorError

app = typer.Typer(
    name="cluster",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Share accounts among machines: see and move them, and make the database of `store:` ready.",
)


@app.callback()
def cluster() -> None:
    """Make the database of `store:` ready, and move sessions into it."""


@app.command(
    epilog=examples(
        "orchestrator cluster init > admin.sql",
        "orchestrator cluster init --admin-dsn-file admin.secret",
        "orchestrator cluster init --check",
    )
)
def init(
    context: typer.Context,
    admin_dsn_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the DSN of an administrator in the same database: a superuser, or a role that"
            " may make roles. Nobody else may read the file. Only this command needs it.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if the service could not work.")
    ] = False,
) -> None:
    """Make the database ready: once at the beginning, and after each update of the orchestrator.

    An administrator of the database server first allows the service to have roles and schemas for the
    accounts. With --admin-dsn-file, this command does so itself. Without it, the command prints what the
    administrator runs with psql, and exits with 1, until that was done. Then it makes the tables.
    """
    invocation.keep_out_of_cores()
    if check and admin_dsn_file is not None:
        raise typer.BadParameter("changes nothing, so it needs no administrator", param_hint="--check")
    settings = invocation.of(context).settings()
    dsn = dsn_of(settings)
    from orchestrator.postgres import dsn as dsns
    from orchestrator.postgres import setup
    from orchestrator.postgres.database import Database

    if admin_dsn_file is not None:
        setup.install(dsns.read(admin_dsn_file.absolute()), dsn)
    with Database(dsn, name="orchestrator cluster init") as database:
        found = database.run(setup.problems)
    if check:
        for problem in found:
            print(printable(problem.text), file=sys.stderr)
        if any(problem.fatal for problem in found):
            raise typer.Exit(ExitCode.FAILED)
        print(printable(f"{dsn}: ready"))
        return
    if found and found[0].key == "admin":
        print(setup.script(dsn))
        print(
            printable(
                "orchestrator: have an administrator run this with psql in the database, then run"
                " `orchestrator cluster init` again"
            ),
            file=sys.stderr,
        )
        raise typer.Exit(ExitCode.FAILED)
    done = setup.make_ready(dsn)
    print(printable(f"{dsn}: {', '.join(done) or 'was ready'}"))
    for problem in found:
        if not problem.fatal:
            print(printable(problem.text), file=sys.stderr)


Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="The accounts. Default: all.")]


@app.command("import", epilog=examples("orchestrator cluster import ~/.local/state/orchestrator"))
def import_(
    context: typer.Context,
    state: Annotated[Path, typer.Argument(metavar="STATE", help="The state folder that has the sessions.")],
    names: Names = None,
) -> None:
    """Move sessions from a state folder into the database, without a new code.

    No service may run, neither with the folder nor with the database. Each session is moved whole or not at
    all, with its account's messages, wishes and history. The files then go into quarantine in the folder,
    because a session must not be used twice. What is linked to no phone stays.
    """
    _move(context, state, names, into=True)


@app.command(epilog=examples("orchestrator cluster export /var/lib/orchestrator"))
def export(
    context: typer.Context,
    state: Annotated[Path, typer.Argument(metavar="STATE", help="The state folder that gets the sessions.")],
    names: Names = None,
) -> None:
    """Move sessions from the database into a state folder, as files; `import` does the opposite."""
    _move(context, state, names, into=False)


def _move(context: typer.Context, state: Path, names: list[str] | None, *, into: bool) -> None:
    invocation.keep_out_of_cores()
    where = invocation.of(context)
    settings = where.settings()
    dsn_of(settings)
    from orchestrator.cli.offline import changes, transfer
    from orchestrator.service import stores
    from orchestrator.store.layout import StatePaths

    folder = StatePaths.of(state.absolute(), environ={})
    if into and not folder.sessions.is_dir():
        raise OrchestratorError(
            f"{folder.root} is no state folder that has sessions: name the folder in which a service has kept"
            " its accounts in files",
            key="folder_unusable",
        )
    move = transfer.bring_in if into else transfer.bring_out
    with (
        stores.opened(settings, where.state(), commands=True) as store,
        changes.exclusive(store, "moves sessions"),
    ):
        moved = move(store, folder, names or [])
    for name in moved.done:
        print(printable(f"{name}: moved"))
    stays = [f"linked to no phone: {len(moved.unlinked)}"] if moved.unlinked else []
    stays += [f"in quarantine: {moved.quarantined}"] if moved.quarantined else []
    if stays:
        print(printable(f"stays where it is: {'; '.join(stays)}"))
    for name, why in moved.failed.items():
        print(printable(f"orchestrator: {name}: not moved: {why}"), file=sys.stderr)
    if moved.failed:
        raise typer.Exit(ExitCode.FAILED)


shards.add(app)
