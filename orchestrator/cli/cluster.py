"""The commands ``cluster …``: the database of `store:` made ready, and sessions moved into it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from orchestrator.config.settings import Settings
    from orchestrator.postgres.dsn import Dsn

app = typer.Typer(
    name="cluster",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make the database of `store:` ready, and move sessions into it.",
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
    administrator runs with psql, until that was done. Then it makes the tables.
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
            "orchestrator: have an administrator run this with psql in the database, then run `orchestrator"
            " cluster init` again",
            file=sys.stderr,
        )
        return
    done = setup.make_ready(dsn)
    print(printable(f"{dsn}: {', '.join(done) or 'was ready'}"))
    for problem in found:
        if not problem.fatal:
            print(printable(problem.text), file=sys.stderr)


def dsn_of(settings: Settings) -> Dsn:
    """Return where the database is that the configuration names.

    Raises:
        ConfigError: It names none.
        StoreUnusable: The file cannot be used, or the driver is not installed.
    """
    if settings.store is None:
        raise ConfigError(
            f"{settings.config_file} has no `store:`, so there is no database: docs/postgres.md says how to"
            " begin"
        )
    from orchestrator.postgres import driver, dsn

    driver.need()
    return dsn.read(settings.store)
