"""The command ``send``: writes a text from an account."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples
from orchestrator.errors import OrchestratorError
from orchestrator.messages import texts

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator send support --to +4915100002 'Hello, is this line up?'",
        "orchestrator send support --to +4915100002 - < message.txt",
        "orchestrator send support --to +4915100002 -- '-5 degrees'",
    )
)
def send(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help="What to write; - reads it from stdin. Put -- before one that begins with a dash.",
            show_default=False,
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="+NUMBER", help="Whom to write to.", show_default=False)],
) -> None:
    """Send a text from a connected account, such as to see that its line works.

    Returns when WhatsApp has taken it, which can take over a minute if WhatsApp is slow. Other users of this
    machine can see a running command's arguments; a text that is not for them should come from stdin.
    """
    if text == "-":
        text = _stdin()
    number = texts.check(to, text)
    invocation.of(context).service().call("send", name=name, to=f"+{number}", text=text)
    print(f"{name}: sent")


def _stdin() -> str:
    # One byte more than can ever be right: whatever is too long need not be read to its end.
    data = sys.stdin.buffer.read(4 * texts.MAX_TEXT + 1)
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise OrchestratorError(
            "the text from stdin is not valid UTF-8, or far too long", key="bad_text"
        ) from None
