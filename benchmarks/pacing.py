"""How an account takes its time: the schedule of the real pacing under a virtual clock, as table and plot.

Run as ``python -m benchmarks.pacing [--plot docs/pacing.svg]``. All comes out the same each time:
the chance in it is drawn from a fixed start.

The first plot shows ten minutes with the defaults. Sixty messages to known chats and thirty to new ones are
queued at once; every twenty seconds somebody writes and is answered. After six minutes WhatsApp refuses a
message to a new chat with its number 463. The second plot shows how many new chats an account begins on each
day after it was linked, when there are always more to begin than it may.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from support.sending_world import SENT, START, SendingWorld, address, knowing, person

from benchmarks.report import table
from orchestrator.accounts.settings import Sending
from orchestrator.sending.contacts import DAY
from orchestrator.sending.pacing import new_a_day
from orchestrator.sending.row import Pace
from orchestrator.sending.steps import Closed, End, EndKind

MINUTES = 10
REFUSED_AFTER = 6 * 60.0
KNOWN, NEW = 60, 30
WRITES_EVERY = 20.0
DAYS = 21
AHEAD = 20
"""Messages to new chats that wait at any time."""

COLORS = {Pace.REPLY: "#1a7f5a", Pace.KNOWN: "#2f5fb3", Pace.NEW: "#b8651b"}
NAMES = {Pace.REPLY: "replies", Pace.KNOWN: "known chats", Pace.NEW: "new chats"}
WIDTH, LEFT, RIGHT = 860, 110, 30


@dataclass(frozen=True)
class Minutes:
    """What went in the first minutes, in seconds from their begin.

    Attributes:
        typed: When typing began, and when the message went, by pace.
        refused: When WhatsApp refused, None if it did not.
    """

    typed: dict[Pace, list[tuple[float, float]]]
    refused: float | None


def minutes() -> Minutes:
    """Let ten minutes pass for an account with the defaults."""
    chance = random.Random(14)

    def answer(number: int, now: float) -> tuple[float, End]:
        is_new = KNOWN < number <= KNOWN + NEW
        refused = is_new and now >= START + REFUSED_AFTER
        return 0.3, End(EndKind.REFUSED, 463) if refused else SENT

    world = SendingWorld(answer=answer, contacts=dict(knowing(*range(KNOWN))), seed=14)
    world.desk.online(world.now)
    for index in range(KNOWN + NEW):
        world.send(person(index), text="x" * chance.randint(10, 120))
    at, index = START, KNOWN + NEW
    while at < START + MINUTES * 60:
        world.run(at)
        world.hear(address(index))
        world.send(person(index), text="x" * chance.randint(10, 120))
        at, index = at + WRITES_EVERY * chance.uniform(0.5, 1.5), index + 1
    world.run(START + MINUTES * 60)
    began = {number: at - START for at, number in world.typed}
    typed: dict[Pace, list[tuple[float, float]]] = {pace: [] for pace in Pace}
    for one in world.handed:
        typed[one.pace].append((began[one.number], one.at - START))
    refused = next((one.until - START for one in world.handed if one.end is EndKind.REFUSED), None)
    assert world.desk.restriction(world.now).what is Closed.NEW
    return Minutes(typed, refused)


def days() -> list[int]:
    """Return how many new chats an account begins on each day, when there are always more to begin."""
    world = SendingWorld(seed=14)
    world.desk.online(world.now)
    counts = []
    for day in range(DAYS):
        before = len(world.handed)
        for hour in range(24):
            while len(world.rows) - len(world.handed) < AHEAD:
                world.send(person(len(world.rows)), text="x" * 40, expires=100 * DAY)
            world.run(START + day * DAY + (hour + 1) * 3600 - 1)
        counts.append(len(world.handed) - before)
    return counts


# The plot


def picture(shown: Minutes, counts: Sequence[int]) -> str:
    """Return both plots as one SVG."""
    parts = [*_schedule(shown, 40), *_warm_up(counts, 300)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 540" width="{WIDTH}" height="540"'
        ' font-family="sans-serif" font-size="13" fill="#222222">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="540" fill="#ffffff"/>', *parts, "</svg>", ""])


def _schedule(shown: Minutes, top: int) -> Iterator[str]:
    scale = _scale(0, MINUTES * 60)
    yield _text(
        LEFT, top - 18, "The first ten minutes: each bar is typing, each dot a message", "start", bold=True
    )
    for row, pace in enumerate(Pace):
        y = top + 20 + row * 55
        yield _text(LEFT - 12, y + 4, NAMES[pace], "end")
        yield _text(LEFT - 12, y + 20, f"{len(shown.typed[pace])} messages", "end", faint=True)
        yield _line(LEFT, y, WIDTH - RIGHT, y, "#dddddd")
        for began, went in shown.typed[pace]:
            yield _bar(scale(began), y - 3, scale(went) - scale(began), 6, COLORS[pace], 0.25)
            yield f'<circle cx="{scale(went):.1f}" cy="{y}" r="3.5" fill="{COLORS[pace]}"/>'
    bottom = top + 165
    for minute in range(MINUTES + 1):
        yield _line(scale(minute * 60), bottom, scale(minute * 60), bottom + 5, "#888888")
        yield _text(scale(minute * 60), bottom + 20, f"{minute} min", "middle", faint=True)
    if shown.refused is not None:
        x = scale(shown.refused)
        yield _line(x, top, x, bottom, "#c0392b")
        yield _text(x + 6, top + 152, "463: new chats are closed for a day", "start", color="#c0392b")


def _warm_up(counts: Sequence[int], top: int) -> Iterator[str]:
    scale, most = _scale(0, len(counts)), 200
    bottom = top + 180

    def height(count: float) -> float:
        return bottom - count / most * 160

    yield _text(
        LEFT,
        top - 18,
        "New chats that are begun on each day after the account was linked",
        "start",
        bold=True,
    )
    for count in (0, 50, 100, 150, 200):
        yield _line(LEFT, height(count), WIDTH - RIGHT, height(count), "#dddddd")
        yield _text(LEFT - 12, height(count) + 4, str(count), "end", faint=True)
    for day, count in enumerate(counts):
        x, width = scale(day) + 3, scale(1) - scale(0) - 6
        yield _bar(x, height(count), width, bottom - height(count), COLORS[Pace.NEW], 0.7)
        yield _text(x + width / 2, bottom + 18, str(day + 1), "middle", faint=True)
    allowed = [f"{scale(day):.1f},{height(new_a_day(Sending(), day * DAY)):.1f}" for day in range(DAYS + 1)]
    yield f'<polyline points="{" ".join(allowed)}" fill="none" stroke="#222222" stroke-dasharray="4 3"/>'
    yield _text(scale(0), height(175), "dashed: how many the account may begin within 24 hours", "start")
    yield _text(WIDTH - RIGHT, bottom + 38, "day", "end", faint=True)


def _scale(low: float, high: float) -> Callable[[float], float]:
    return lambda value: LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _bar(x: float, y: float, width: float, height: float, color: str, opacity: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{color}" fill-opacity="{opacity}"/>'


def _text(
    x: float, y: float, text: str, anchor: str, *, bold: bool = False, faint: bool = False, color: str = ""
) -> str:
    fill = color or ("#777777" if faint else "")
    look = (' font-weight="bold"' if bold else "") + (f' fill="{fill}"' if fill else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{text}</text>'


# The command


def main() -> None:
    """Print the schedule; write the plot if it is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", type=Path, help="where to write the plot, as SVG")
    options = parser.parse_args()
    shown, counts = minutes(), days()
    rows = [("", "messages", "first", "last", "smallest gap")]
    for pace in Pace:
        moments = [went for _, went in shown.typed[pace]]
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        went = (f"{moments[0]:.1f} s", f"{moments[-1]:.1f} s", f"{min(gaps):.1f} s")
        rows.append((NAMES[pace], str(len(moments)), *went))
    table(f"The first {MINUTES} minutes", *rows)
    print("\nNew chats, day by day:", *counts)
    if options.plot:
        options.plot.write_text(picture(shown, counts))


if __name__ == "__main__":
    main()
