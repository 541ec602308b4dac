"""The commands `config …`: what the configuration can hold, and whether a file is right."""

from __future__ import annotations

import json

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples

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
    print(f"{settings.config_file}: {len(settings.accounts)} accounts, {enabled} of them enabled")


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
