"""What can be done with the output: its one judge, which all commands ask.

A terminal need not move a cursor, have a size, or know other letters than ASCII.
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
"""What a code is drawn with where it can be."""
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
"""How letters are written for whoever does not know them; all others become a question mark."""
_UNDERSTANDS: Final = (
    *("alacritty", "ansi", "contour", "cygwin", "foot", "ghostty", "gnome", "iterm", "kitty", "konsole"),
    *("linux", "mintty", "mlterm", "putty", "rxvt", "screen", "st-", "tmux", "vt1", "vt2", "vt3", "vt4"),
    *("vte", "wezterm", "xterm"),
)
"""How the names of terminals begin that understand ECMA-48, whether or not this machine has heard of them."""
_NO_UTF8: Final = ("C", "POSIX")
_ERRORS: Final = "orchestrator.plain"
_ASCII: Final = "orchestrator_ascii"
"""ASCII under another name: click writes UTF-8 to what is called ASCII, as it takes that for a mistake."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What can be done with a stream.

    Attributes:
        is_terminal: Somebody sees what is written.
        escapes: Escape sequences are understood.
        colours: Colors are understood and wanted.
        blocks: The block characters can be written.
        size: Columns and rows; None if they are not known.
    """

    is_terminal: bool
    escapes: bool
    colours: bool
    blocks: bool
    size: tuple[int, int] | None

    @property
    def is_live(self) -> bool:
        """Tell whether what was written can be replaced."""
        return self.escapes and self.size is not None


def judge(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Terminal:
    """Return what can be done with a stream.

    Args:
        stream: The stream; standard output if not given.
        environ: The environment, if it is not this process's.
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
    """Tell whether a terminal of that name (TERM) understands ECMA-48's escape sequences."""
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
    """Return a text in letters that standard output knows, so that its length is what will be seen."""
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
    """Make the standard streams fit for every command: open, and able to write every text somehow.

    What is closed becomes /dev/null: else the next file that is opened would become standard output.
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
    """Tell whether a stream takes nothing but ASCII: by its encoding, or as a terminal of the locale C.

    Python itself takes the locale C for UTF-8, and a terminal for which it was chosen does not.
    """
    given = os.environ
    if codecs.lookup(stream.encoding).name == "ascii":
        return True
    if not _is_terminal(stream) or given.get("PYTHONIOENCODING") or given.get("PYTHONUTF8") == "1":
        return False
    # LC_CTYPE is not asked: it is what Python sets where it takes C for UTF-8.
    return (given.get("LC_ALL") or given.get("LANG")) in _NO_UTF8


@contextmanager
def sane() -> Iterator[None]:
    """Have SIGTERM and SIGHUP leave the context as Ctrl-C does, so that it can show the cursor again."""

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
