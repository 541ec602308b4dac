"""Shows codes to pair with in a terminal, each in the place of the one before."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from orchestrator.cli.formatting import local, printable
from orchestrator.cli.terminal import judge

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class CodeScreen:
    """Where the events of `repair` and `qr` are shown; leaving it takes the code off the terminal.

    What is no terminal, or moves no cursor, or does not say its size, gets one code below the other.
    """

    def __init__(self) -> None:
        self._able = judge()
        self._live = self._able.is_live
        self._account: Mapping[str, Any] = {}
        self._stopping = False
        self._code: Mapping[str, Any] | None = None
        self._drawn: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._code = None
        if self._live:
            self._draw([])

    def show(self, event: Mapping[str, Any]) -> None:
        """Show what has changed."""
        if "account" in event:
            self._account = event["account"]
            self._stopping = bool(event.get("stopping"))
        if "code" in event:
            self._code = event["code"]
        if self._live:
            self._draw(self._picture(), self._status())
        elif "account" in event:
            print(self._status(), flush=True)
        elif self._code is not None:
            print(*self._picture(), self._until(), *self._hints(), sep="\n", flush=True)

    def _status(self) -> str:
        name = self._account.get("name", "")
        if self._stopping:
            return f"{name}: its process is stopping"
        if self._code is not None:
            return self._until()
        reason = self._account.get("reason")
        return printable(f"{name}: {self._account.get('state')}" + (f", {reason}" if reason else ""))

    def _until(self) -> str:
        assert self._code is not None
        name = self._account.get("name", "")
        until = local(self._code["expires_at"])[-8:]
        if self._code["kind"] == "qr":
            return f"{name}: on the phone, Settings, Linked devices, Link a device (this code: until {until})"
        return f"{name}: on the phone, Linked devices, Link with phone number instead (until {until})"

    def _picture(self) -> list[str]:
        if self._code is None:
            return []
        text: str = self._code["text"]
        if self._code["kind"] != "qr":
            return ["", f"    {text[:4]}-{text[4:]}" if len(text) == 8 else f"    {text}", ""]
        from orchestrator.store.codes import draw

        if self._able.colours:
            ink = draw.BLACK_ON_WHITE
        elif self._able.escapes:
            ink = draw.REVERSED  # which is no color, and right on a dark terminal
        else:
            ink = draw.BARE
        return draw.terminal(text, ink, blocks=self._able.blocks).split("\n")

    def _hints(self) -> list[str]:
        """Say where else the code is, if it may be hard to read here."""
        path = self._account.get("qr_path")
        if self._able.escapes or not self._able.is_terminal or not path:
            return []
        return [printable(f"if the phone cannot read it here, as on a dark terminal: open {path}")]

    def _draw(self, picture: list[str], text: str | None = None) -> None:
        columns, rows = judge().size or (80, 24)  # it may have changed, or be gone
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
        if path := self._account.get("qr_path"):
            instead = f", or open {path}"
        elif self._code is not None and self._code["kind"] == "qr":
            instead = f"; {self._account.get('reason') or 'there is no picture of it'}"
        else:
            instead = ""
        return f"the code needs a terminal of {wide} by {high} characters{instead}"


def _rows(lengths: Iterable[int], columns: int) -> int:
    """Return how many rows of a terminal lines of these lengths take, which may be wider than that."""
    return sum(max(1, math.ceil(length / max(1, columns))) for length in lengths)
