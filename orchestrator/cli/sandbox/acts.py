"""The commands for what phones do besides writing single messages."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from orchestrator.cli.formatting import examples
from orchestrator.cli.sandbox.common import Control
from orchestrator.sandbox.client import DEFAULT_CONTROL, SandboxClient

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

app = typer.Typer(rich_markup_mode=None)

From = Annotated[str, typer.Option("--from", metavar="+NUMBER", help="Phone that acts.")]
To = Annotated[str, typer.Option(metavar="+NUMBER", help="Number of the other side.")]


@app.command(
    epilog=examples("orchestrator sandbox burst --from +4915100002 --to +4915100001 --count 200 --rate 50")
)
def burst(
    sender: From,
    to: Annotated[str, typer.Option(metavar="+NUMBER", help="Phone that gets them, or a group's address.")],
    count: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Number of messages.")],
    rate: Annotated[
        float, typer.Option(metavar="R", min=0, max=2000, help="Messages a second; 0: as many as possible.")
    ] = 0,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="Text that stands before the numbers.")
    ] = "message",
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Begin to send many numbered texts, and print their IDs."""
    for message_id in SandboxClient(control).send_burst(sender, to, count, rate, text=text):
        print(message_id)


@app.command(epilog=examples("orchestrator sandbox call --from +4915100002 --to +4915100001 --video"))
def call(
    sender: From,
    to: To,
    video: Annotated[bool, typer.Option("--video", help="Call with a picture.")] = False,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Call a number, and print the ID of the call.

    All linked devices of the number ring, for 30 seconds.
    """
    print(SandboxClient(control).call(sender, to, video=video))


@app.command(
    epilog=examples(
        "orchestrator sandbox clock --back 11d",
        "orchestrator sandbox clock --ahead 90m",
        "orchestrator sandbox clock",
    )
)
def clock(
    ahead: Annotated[
        str | None, typer.Option(metavar="TIME", help="How far ahead, such as 90m, 12h or 11d.")
    ] = None,
    back: Annotated[str | None, typer.Option(metavar="TIME", help="How far behind.")] = None,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Set the clock of the sandbox ahead or back.

    With neither --ahead nor --back, the clock is right again.

    All times that clients are told move with the clock. Codes, faults and time-outs do not.
    """
    if ahead is not None and back is not None:
        raise typer.BadParameter("give --ahead or --back, not both")
    seconds = _seconds(ahead) if ahead is not None else -_seconds(back) if back is not None else 0.0
    SandboxClient(control).set_clock(seconds)
    print("the clock is right" if not seconds else f"the clock is {abs(seconds):,.0f} s {_side(seconds)}")


def _side(seconds: float) -> str:
    return "ahead" if seconds > 0 else "behind"


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no time: write a number and s, m, h or d, such as 11d")
    return float(int(match[1]) * UNITS[match[2]])
