"""The command ``send``: sends a text from an account."""

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
        "orchestrator send support --to +4915100002 'Hello'",
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
            help="The text; - reads the text from stdin. Put -- before a text that begins with a dash.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="+NUMBER", help="Phone number of the receiver.", show_default=False)
    ],
) -> None:
    """Send a text from a connected account, for example as a test.

    The command returns when WhatsApp has accepted the message. That can take over a minute if WhatsApp is
    slow. Other users of this machine can see the arguments of a running command, so send private texts
    through stdin.
    """
    invocation.keep_out_of_cores()
    if text == "-":
        text = _stdin()
    number = texts.check(to, text)
    invocation.of(context).service().call("send", name=name, to=f"+{number}", text=text)
    print(f"{name}: sent")


def _stdin() -> str:
    # One byte more than any valid text has: a text that is too long need not be read to its end.
    data = sys.stdin.buffer.read(4 * texts.MAX_TEXT + 1)
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise OrchestratorError("the text on stdin is not UTF-8, or far too long", key="bad_text") from None
