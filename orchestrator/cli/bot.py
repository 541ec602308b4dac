"""The command ``bot run``: runs a bot on the terminal of whoever writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples
from orchestrator.errors import OrchestratorError

app = typer.Typer(
    name="bot",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a bot while you write it.",
)


@app.callback()
def bot() -> None:
    """Run a bot while you write it."""


@app.command(
    epilog=examples(
        "orchestrator bot run my_bot:bot",
        "orchestrator bot run my_bot:bot --account support --path ~/bots",
        "orchestrator bot run my_bot:bot --show-errors",
    )
)
def run(
    context: typer.Context,
    bot: Annotated[
        str,
        typer.Argument(metavar="MODULE:BOT", show_default=False, help="The module, and the bot in it."),
    ],
    account: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An account whose events the bot gets, and that it may send from; may be given again."
            " Default: all.",
            autocompletion=completion.accounts,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the bot in `consumer list`. Default: dev-MODULE."),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder with the module. Default: the current folder."),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help='Types of events that the bot gets, such as "account.*"; may be given again. Default: those'
            " that it has handlers for.",
        ),
    ] = None,
    timeout: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, max=600, help="How long a handler may take.")
    ] = 60,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Start the bot anew when its files change.")
    ] = True,
    show_errors: Annotated[
        bool,
        typer.Option(
            "--show-errors",
            help="Show tracebacks with the texts of exceptions, which may have what people wrote.",
        ),
    ] = False,
) -> None:
    """Run a bot with the events of the running service, until Ctrl-C.

    The bot gets what comes in from now on. A line is printed for each event, without texts. When a file of
    the bot changes, the bot is started anew. Unlike a bot that the service runs, this one is not isolated: it
    may do whatever you may do.
    """
    invocation.keep_out_of_cores()
    from orchestrator.bots import by_hand

    client = invocation.of(context).service()
    folder = (path or Path()).expanduser().absolute()
    _check_folder(folder)
    by_hand.Run(
        app=bot,
        folder=folder,
        name=name,
        accounts=account,
        events=events,
        seconds=timeout,
        reload=reload,
        show_errors=show_errors,
        client=client,
        say=_say,
    ).run()


def _check_folder(folder: Path) -> None:
    """See that nobody else can put a program where this user runs it, as for bots of the configuration.

    Raises:
        OrchestratorError: Others can, or there is no such folder.
    """
    from orchestrator.config import bot_folder

    try:
        bot_folder.look(folder)
    except ValueError as error:
        raise OrchestratorError(f"the bot's folder is {error}", key="folder_untrusted") from None


def _say(line: str) -> None:
    from orchestrator.cli.formatting import printable_lines

    print(printable_lines(line), flush=True)
