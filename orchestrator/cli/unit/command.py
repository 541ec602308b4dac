"""The command ``install-unit``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import OrchestratorError

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "sudo /opt/orchestrator/bin/orchestrator install-unit",
        "orchestrator install-unit --dry-run",
        "sudo /opt/orchestrator/bin/orchestrator install-unit --instance sales",
        "sudo /opt/orchestrator/bin/orchestrator install-unit --uninstall",
    )
)
def install_unit(
    context: typer.Context,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="User that runs the service; by default a new user."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Configuration; by default /etc/orchestrator/accounts.yaml, created if missing.",
        ),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Install one of several services, orchestrator@NAME, with its own user and folders.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be written or removed, and change nothing.")
    ] = False,
    uninstall: Annotated[
        bool,
        typer.Option("--uninstall", help="Remove the unit; keep state, configuration and user."),
    ] = False,
) -> None:
    """Install this program as a systemd service.

    Writes the unit, and creates its user and its folders. Correct files are left unchanged. Make your own
    changes with `systemctl edit orchestrator`: an upgrade keeps them.
    """
    from orchestrator.cli.unit import install
    from orchestrator.cli.unit import plan as units

    where = invocation.of(context)
    if where.state_dir:
        raise typer.BadParameter("the unit always keeps its state below /var/lib", param_hint="--state-dir")
    named = config or where.config
    file = None if named is None else Path(named).absolute()
    if uninstall:
        one = units.unit_of(instance, file)
        if not dry_run:
            install.check_machine()
        _say(install.uninstall(one, dry_run=dry_run))
        return
    if not dry_run:
        install.check_machine()
    unit = units.plan(instance, user, file)
    if dry_run:
        files = unit.files()
        if unit.config is None and not unit.config_file.exists():
            files[unit.config_file] = unit.first_config()
        for path, text in files.items():
            print(f"# {path}\n{text}")
        if unit.config is None:
            print(printable(f"# {unit.example_file}: what `orchestrator config example` prints"))
        print(f"# folders: {unit.state}, {unit.config_file.parent}; while the service runs, {unit.runtime}")
        return
    _say(install.install(unit))
    for note in units.notes(unit):
        print(note)
    print(f"to start the service now and at every boot: systemctl enable --now {unit.name}")
    print(f"to apply a change: systemctl restart {unit.name}")


def _say(done: Iterator[str]) -> None:
    """Print each step as it is done.

    Raises:
        OrchestratorError: A file or folder cannot be written.
    """
    try:
        for sentence in done:
            print(sentence, flush=True)
    except OSError as error:
        raise OrchestratorError(
            f"{error.filename or 'the output'}: {error.strerror}", key="folder_unusable"
        ) from None
