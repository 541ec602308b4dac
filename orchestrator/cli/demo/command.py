"""The command ``demo``: shows the service at work, on a machine without phones and without internet."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.accounts.names import shorten
from orchestrator.cli.formatting import examples, printable
from orchestrator.cli.sandbox.common import INSTALL
from orchestrator.cli.terminal import judge
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError
from orchestrator.system import interpreter

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.cli.demo.story import Screen
    from orchestrator.consumers.settings import Tcp

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=examples("orchestrator demo", "orchestrator demo --once --keep ./demo"))
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the story, also on a terminal.")] = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Use and keep this folder, which must be empty or new.",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT",
            help="Where the page listens, such as 0.0.0.0:8080 in a container. The demonstration then goes on"
            " until it is told to end. Default: a free port of 127.0.0.1.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the service at work with three accounts, a bot and a webhook, on this machine only.

    Runs the real service against the sandbox, a WhatsApp test server with its own phones. Phones scan QR
    codes, and accounts connect and write to each other. A bot answers, and a webhook receives. One account is
    logged out and linked again. The process of another account is killed. The story begins with a link to the
    page, where all of it can be watched in a browser. Nothing leaves this machine, and the files are removed
    at the end.

    On a terminal, or with --listen, the demonstration goes on until Ctrl-C, so that you can try commands.
    Otherwise the demonstration ends after the story. The exit code is 0 after the whole story, 130 after an
    earlier interruption, and 1 after an error.
    """
    from orchestrator.cli.demo import story as stage
    from orchestrator.sandbox.client import SandboxError

    page = None if listen is None else _address(listen)
    if page is not None:
        _check_free(page)
    able = judge()
    on_terminal = able.is_terminal
    screen: Screen = LiveScreen() if able.is_live else LineScreen()
    with stage.signals() as news:
        with _folder(keep) as folder:
            try:
                show = stage.Demo(folder, screen, _program(), news, page)
                told = show.run(once=once or not (on_terminal or page))
            except SandboxError as error:
                if not news.empty():  # Ctrl-C reached the sandbox before the sandbox had its own session
                    raise KeyboardInterrupt from None
                if INSTALL not in str(error):
                    raise
                raise OrchestratorError(
                    f"the demonstration needs more packages: in a checkout of this project, run {INSTALL}",
                    key="packages_missing",
                ) from None
        print(f"the demonstration has ended; its files are {f'in {folder}' if keep else 'removed'}")
    if not told:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    from orchestrator.service import needs

    needs.check_before_imports()
    if keep is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="orchestrator-demo-") as name:
            yield Path(name)
        return
    folder = keep.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise OrchestratorError(f"{folder}: {error.strerror}", key="folder_unusable") from None
    if not empty:
        raise OrchestratorError(f"{folder} is not empty: name a new folder", key="folder_unusable")
    yield folder


def _address(text: str) -> Tcp:
    from orchestrator.consumers.settings import Tcp

    try:
        return Tcp.parse(text)
    except ValueError:
        raise typer.BadParameter(
            f'expected "ADDRESS:PORT" such as 0.0.0.0:8080, found {printable(shorten(text))}',
            param_hint="--listen",
        ) from None


def _check_free(page: Tcp) -> None:
    """See that the page can be where it is wanted: its link would lead to another program otherwise.

    Raises:
        OrchestratorError: Another program listens there, or nobody can.
    """
    from orchestrator.service.companions.listeners import open_tcp, why_not

    try:
        open_tcp(page.host, page.port).close()
    except OSError as error:
        raise OrchestratorError(
            f"the page cannot listen on {page}: {why_not(error)}", key="page_not_served"
        ) from None


def _program() -> str:
    """Return the command as a person on this machine types it."""
    import shlex

    return "orchestrator" if shutil.which("orchestrator") else shlex.join(interpreter.program())


class LineScreen:
    """Shows the story line by line, and between its lines how the accounts change."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._states: dict[str, tuple[str, int | None]] = {}
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.page([f"{time.monotonic() - self._start:6.1f} s  {printable(text)}"])

    def now(self, text: str) -> None:
        """Print nothing: the sentence about the step's end says what matters."""

    def accounts(self, accounts: Sequence[AccountView]) -> None:
        """Print the accounts whose state has changed."""
        for account in accounts:
            name, state = account.name, (account.state, account.pid)
            if self._states.get(name) != state and account.state != "starting":
                process = f" (process {account.pid})" if account.pid else ""
                self.say(f"    {name}: {account.state}{process}")
            self._states[name] = state

    def page(self, lines: Sequence[str]) -> None:
        """Print the lines."""
        with self._lock:
            print(*lines, sep="\n", flush=True)

    def live(self) -> contextlib.AbstractContextManager[object]:
        """Do nothing: there is no terminal to show changes on."""
        return contextlib.nullcontext()


class LiveScreen:
    """Shows the story line by line, and below the story a table of the accounts."""

    def __init__(self) -> None:
        from orchestrator.cli import table

        self._start = time.monotonic()
        self._console = table.console()
        self._accounts: Sequence[AccountView] = ()
        self._now = ""
        self._now_since = self._start

    def say(self, text: str) -> None:
        """Print a sentence above the table."""
        self.page([f"{time.monotonic() - self._start:6.1f} s  {printable(text)}"])

    def now(self, text: str) -> None:
        """Show the current step."""
        self._now, self._now_since = text, time.monotonic()

    def accounts(self, accounts: Sequence[AccountView]) -> None:
        """Show the accounts."""
        self._accounts = accounts

    def page(self, lines: Sequence[str]) -> None:
        """Print the lines above the table, unwrapped, so that they can be copied."""
        self._console.print("\n".join(lines), soft_wrap=True)

    def live(self) -> contextlib.AbstractContextManager[object]:
        """Show the table, made anew four times a second, because the table says how long ago things were."""
        from rich.live import Live

        return Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=4,
            vertical_overflow="crop",
        )

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from orchestrator.cli import table

        seconds = time.monotonic() - self._now_since
        text = printable(f"→ {self._now} ({seconds:.0f} s)")
        now = Text(text, style="bold", no_wrap=True, overflow="ellipsis")
        return Group("", table.make(self._accounts, processes=True), "", now)
