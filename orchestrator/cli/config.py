"""The commands `config …`: what the configuration can hold, and whether a file is right."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.words import counted
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import NotRunning

app = typer.Typer(
    name="config",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check the configuration file, and explain what it can hold.",
)


@app.command(epilog=examples("orchestrator config check", "orchestrator --config new.yaml config check"))
def check(context: typer.Context) -> None:
    """Check the configuration file alone.

    Every problem is shown with its line. The service does not have to run, and is not touched.
    """
    settings = invocation.of(context).settings()
    enabled = sum(account.enabled for account in settings.accounts.values())
    print(f"{settings.config_file}: {counted(len(settings.accounts), 'account')}, {enabled} of them enabled")


@app.command(epilog=examples("orchestrator config schema > accounts.schema.json"))
def schema() -> None:
    """Print a JSON Schema of the configuration file.

    An editor completes and checks the file by the schema.
    """
    from orchestrator.config import reference

    print(json.dumps(reference.json_schema(), indent=2))


@app.command(epilog=examples("orchestrator config example > accounts.yaml"))
def example() -> None:
    """Print a configuration with every key, its explanation and its default."""
    from orchestrator.config import reference

    print(reference.example(), end="")


@app.command(name="reference")
def explain_keys() -> None:
    """Print the page of the documentation that explains every key, in Markdown."""
    from orchestrator.config import reference

    print(reference.reference(), end="")


@app.command(
    epilog=examples(
        "orchestrator config show support",
        "orchestrator config show support --json | jq '.[] | select(.origin != \"built-in\")'",
    )
)
def show(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Show the settings of an account that are in force, and where each comes from.

    A setting comes from the account's own section, from `defaults`, or is built in. Numbers are masked, and a
    proxy is shown without its password. Without a running service, the settings are those of the file.
    """
    where = invocation.of(context)
    try:
        found = where.service().call("settings", name=name)["settings"]
    except NotRunning:
        from orchestrator.config import in_force

        settings = where.settings()
        if name not in settings.accounts:
            raise no_such_account(name, known=settings.accounts, file=settings.config_file) from None
        found = [one._asdict() for one in in_force.of_account(settings, name)]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    keys, values = (max(len(one[what]) for one in found) for what in ("key", "value"))
    for one in found:
        print(printable(f"{one['key']:<{keys}}  {one['value']:<{values}}  {one['origin']}"))
