"""Tells what a terminal can do. All commands ask here.

Some terminals cannot move the cursor, have no size, or know only ASCII.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final, TextIO

BLOCKS: Final = "▀▄█"
"""The characters that draw a code, if the terminal knows them."""
_PLAIN: Final = {
    "…": "...",
    "→": "->",
    "“": '"',
    "”": '"',
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{EN DASH}": "-",
    "—": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{NO-BREAK SPACE}": " ",
}
"""Replacements in ASCII for a terminal that does not know a character; others become a question mark."""
_UNDERSTANDS: Final = (
    *("alacritty", "ansi", "contour", "cygwin", "foot", "ghostty", "gnome", "iterm", "kitty", "konsole"),
    *("linux", "mintty", "mlterm", "putty", "rxvt", "screen", "st-", "tmux", "vt1", "vt2", "vt3", "vt4"),
    *("vte", "wezterm", "xterm"),
)
"""Prefixes of TERM whose terminals understand ECMA-48, even if this machine's terminfo lacks them."""
_NO_UTF8: Final = ("C", "POSIX")
_ERRORS: Final = "orchestrator.plain"
_ASCII: Final = "orchestrator_ascii"
"""ASCII under another name: click takes the name ASCII for a mistake, and writes UTF-8 instead."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The abilities of a stream.

    Attributes:
        is_terminal: The stream is a terminal.
        escapes: The terminal understands escape sequences.
        colors: The terminal understands colors, and the user wants them.
        blocks: The stream can encode the block characters.
        size: Columns and rows; None if unknown.
    """

    is_terminal: bool
    escapes: bool
    colors: bool
    blocks: bool
    size: tuple[int, int] | None

    @property
    def is_live(self) -> bool:
        """Tell whether written text can be replaced."""
        return self.escapes and self.size is not None


def judge(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Terminal:
    """Return the abilities of a stream.

    Args:
        stream: The stream; by default standard output.
        environ: The environment; by default that of this process.
    """
    stream = stream or sys.stdout
    environ = os.environ if environ is None else environ
    is_terminal = _is_terminal(stream)
    escapes = is_terminal and _understands(environ.get("TERM", ""))
    return Terminal(
        is_terminal,
        escapes,
        escapes and not environ.get("NO_COLOR"),
        _can_write(BLOCKS, stream),
        _size(stream) if is_terminal else None,
    )


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):  # it is closed
        return False


def _understands(name: str) -> bool:
    """Tell whether a terminal with this name (TERM) understands ECMA-48's escape sequences."""
    if name.startswith(_UNDERSTANDS):
        return True
    if name in ("", "dumb", "unknown"):
        return False
    try:
        import curses

        curses.setupterm(name, -1)
        up = curses.tigetstr("cuu")
    except Exception:  # noqa: BLE001 - it has no class where curses is missing or half there
        return False
    return up is not None and up.startswith(b"\x1b[")


def _size(stream: TextIO) -> tuple[int, int] | None:
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return None
    return (columns, rows) if columns > 0 and rows > 0 else None


def _can_write(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plain(text: str) -> str:
    """Return a text in characters that standard output can encode, so that its length is the printed one."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if encoding.lower() in ("utf-8", "utf8") or text.isascii():
        return text
    return text.encode(encoding, _ERRORS).decode(encoding)


def _write_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in wrong), error.end


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    from encodings.ascii import getregentry

    codec = getregentry()
    codec.name = name
    return codec


codecs.register_error(_ERRORS, _write_plainly)
codecs.register(_find_codec)


def prepare() -> None:
    """Prepare the standard streams: all are open, and none fails on a character.

    A closed stream becomes /dev/null. Otherwise the next opened file would become standard output.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_ASCII if _is_ascii(stream) else None, errors=_ERRORS)


def _is_ascii(stream: TextIO) -> bool:
    """Tell whether a stream knows only ASCII: by its encoding, or as a terminal in the locale C.

    In the locale C, Python itself writes UTF-8, but the terminal does not understand it.
    """
    given = os.environ
    if codecs.lookup(stream.encoding).name == "ascii":
        return True
    if not _is_terminal(stream) or given.get("PYTHONIOENCODING") or given.get("PYTHONUTF8") == "1":
        return False
    # LC_CTYPE proves nothing: Python sets it in the locale C.
    return (given.get("LC_ALL") or given.get("LANG")) in _NO_UTF8


@contextmanager
def sane() -> Iterator[None]:
    """Make SIGTERM and SIGHUP leave the context as Ctrl-C does, so that the cursor is shown again."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
