"""Shows pairing codes in a terminal. A new code replaces the one before."""

from __future__ import annotations

import math
import re
import signal
import sys
from collections.abc import Iterable, Mapping
from types import FrameType, TracebackType
from typing import Any, Final, Self

from orchestrator.cli.formatting import printable, time_of_day
from orchestrator.cli.terminal import judge
from orchestrator.control.view import AccountView

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class CodeScreen:
    """Shows the events of `repair` and `qr`. At the end the code is removed from the terminal.

    Where the terminal cannot move the cursor or its size is unknown, codes are printed one below the other.
    When somebody changes the terminal's size, all is drawn anew.
    """

    def __init__(self) -> None:
        self._able = judge()
        self._live = self._able.is_live
        self._account = AccountView(name="", state="")
        self._stopping = False
        self._code: Mapping[str, Any] | None = None
        self._drawn: list[int] = []
        self._drawing = False
        self._resized = False
        self._handler_before: Any = None

    def __enter__(self) -> Self:
        if self._live:
            self._handler_before = signal.signal(signal.SIGWINCH, self._take_size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._code = None
        if self._live:
            if self._handler_before is not None:
                signal.signal(signal.SIGWINCH, self._handler_before)
            self._draw([])

    def _take_size(self, _number: int, _frame: FrameType | None) -> None:
        """Draw anew, at once or when what is being drawn is drawn: a stream must not be entered twice."""
        self._resized = True
        if not self._drawing and self._account.name:
            self._redraw()

    def _redraw(self) -> None:
        self._drawing = True
        try:
            self._resized = True
            while self._resized:  # may change again meanwhile
                self._resized = False
                self._draw(self._picture(), self._status())
        finally:
            self._drawing = False

    def show(self, event: Mapping[str, Any]) -> None:
        """Show a change of state, a code, or what the service has to say first."""
        if "note" in event:
            print(printable(str(event["note"])), flush=True)
            return
        if "account" in event:
            self._account = AccountView.from_json(event["account"])
            self._stopping = bool(event.get("stopping"))
        if "code" in event:
            self._code = event["code"]
        if self._live:
            self._redraw()
        elif "account" in event:
            print(self._status(), flush=True)
        elif self._code is not None:
            print(*self._picture(), self._until(), *self._hints(), sep="\n", flush=True)

    def _status(self) -> str:
        account = self._account
        if self._stopping:
            return printable(f"{account.name}: the old process is stopping")
        if self._code is not None:
            return self._until()
        reason = f", {account.reason}" if account.reason else ""
        return printable(f"{account.name}: {account.state}{reason}")

    def _until(self) -> str:
        assert self._code is not None
        name = printable(self._account.name)
        until = time_of_day(self._code["expires_at"])
        if self._code["kind"] == "qr":
            return f"{name}: on the phone, Settings, Linked devices, Link a device (expires at {until})"
        return f"{name}: on the phone, Linked devices, Link with phone number instead (expires at {until})"

    def _picture(self) -> list[str]:
        if self._code is None:
            return []
        text: str = self._code["text"]
        if self._code["kind"] != "qr":
            return ["", printable(f"    {text[:4]}-{text[4:]}" if len(text) == 8 else f"    {text}"), ""]
        from orchestrator.store.codes import draw

        if self._able.colors:
            ink = draw.BLACK_ON_WHITE
        elif self._able.escapes:
            ink = draw.REVERSED  # without colors; right on a dark terminal
        else:
            ink = draw.BARE
        return draw.terminal(text, ink, blocks=self._able.blocks).split("\n")

    def _hints(self) -> list[str]:
        """Name the picture of the code, if a phone may not be able to read the code here."""
        path = self._account.qr_path
        if self._able.escapes or not self._able.is_terminal or not path:
            return []
        return [printable(f"if the phone cannot read the code here, as on a dark terminal, open {path}")]

    def _draw(self, picture: list[str], text: str | None = None) -> None:
        columns, rows = judge().size or (80, 24)  # the size may have changed
        texts = [] if text is None else [text]
        lengths = [len(_COLOURS.sub("", line)) for line in picture]
        wide = max(lengths, default=0)
        high = len(picture) + _rows(map(len, texts), columns)
        if wide > columns or high >= rows:
            texts.insert(0, printable(self._too_small(wide, high + 1)))
            picture, lengths = [], []
        lengths += map(len, texts)
        up = _rows(self._drawn, columns)
        back = f"\x1b[{up}F\x1b[J" if up else ""
        sys.stdout.write(back + "".join(f"{line}\n" for line in (*picture, *texts)))
        sys.stdout.flush()
        self._drawn = lengths

    def _too_small(self, wide: int, high: int) -> str:
        needed = f"the code needs a terminal of {wide} by {high} characters: make this one larger"
        if self._code is None or self._code["kind"] != "qr":
            return needed
        path, name = self._account.qr_path, self._account.name
        why_none = self._account.reason or "there is no picture of the code"
        other = f", or open {path}" if path else f" ({why_none})"
        return f"{needed}{other}, or use a code of eight characters: `orchestrator link {name} --code`"


def _rows(lengths: Iterable[int], columns: int) -> int:
    """Return how many rows of a terminal these lines take; a line may be longer than a row."""
    return sum(max(1, math.ceil(length / max(1, columns))) for length in lengths)
