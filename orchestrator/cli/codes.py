"""Shows codes to pair with in a terminal, each in the place of the one before."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from orchestrator.cli.words import local, printable

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class CodeScreen:
    """Where the events of `repair` and `qr` are shown; leaving it takes the code off the terminal.

    What is no terminal gets one code below the other.
    """

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._account: Mapping[str, Any] = {}
        self._stopping = False
        self._code: Mapping[str, Any] | None = None
        self._drawn = 0

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
            print(*self._picture(), self._until(), sep="\n", flush=True)

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
        from orchestrator import qr

        return qr.terminal(text).rstrip("\n").split("\n")

    def _draw(self, picture: list[str], text: str | None = None) -> None:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        texts = [] if text is None else [text]
        wide = max((len(_COLOURS.sub("", line)) for line in picture), default=0)
        high = len(picture) + sum(_rows(one, columns) for one in texts)
        if wide > columns or high >= rows:
            instead = f", or open {self._account['qr_path']}" if self._account.get("qr_path") else ""
            texts.insert(0, f"the code needs a terminal of {wide} by {high + 1} characters{instead}")
            picture = []
        back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        sys.stdout.write(back + "".join(f"{line}\n" for line in (*picture, *texts)))
        sys.stdout.flush()
        self._drawn = len(picture) + sum(_rows(one, columns) for one in texts)


def _rows(text: str, columns: int) -> int:
    """Return how many rows of a terminal a text takes, which may be wider than that."""
    return max(1, math.ceil(len(text) / max(1, columns)))
