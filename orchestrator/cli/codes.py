"""The command ``codes``: the QR codes of all machines of a cluster, as a list or as pictures in a folder."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from orchestrator.cli import invocation
from orchestrator.cli.database import dsn_of
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import OrchestratorError, StateError, StoreAway
from orchestrator.system.locking import flock

if TYPE_CHECKING:
    from orchestrator.postgres.dsn import Dsn
    from orchestrator.postgres.fleet_codes import Heard
    from orchestrator.store.codes.folder import QrFolder
    from orchestrator.store.codes.mirror import Change, Mirror

app = typer.Typer(rich_markup_mode=None)

_LOOK: Final = 1.0
"""Seconds between two looks at the folder."""
_ENDS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@app.command(
    epilog=examples(
        "orchestrator codes",
        "orchestrator codes --watch /run/codes",
        "orchestrator codes --dsn-file codes.secret --watch /run/codes --group staff",
    )
)
def codes(
    context: typer.Context,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Show the codes as pictures in this folder, NAME.png for each account, until a signal ends"
            " the command. The folder is for the codes alone.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="With --watch: a group that may read the pictures."),
    ] = None,
    dsn_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file with the DSN of the database. Then the command needs no configuration. Default:"
            " `store.dsn_file` in the configuration.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON. Not with --watch.")] = False,
) -> None:
    """List the accounts that show a QR code, on whichever machine of the cluster they run.

    With --watch, each code is a picture in a folder, with the promises of a service's own folder of codes:
    whole pictures only, readable for this user alone, and gone when the code is over. While the database is
    away, the command says so and waits; a code that is over goes all the same.
    """
    invocation.keep_out_of_cores()
    if watch is None and group is not None:
        raise typer.BadParameter("is for the pictures of --watch", param_hint="--group")
    if watch is not None and as_json:
        raise typer.BadParameter("cannot be combined with --watch", param_hint="--json")
    dsn = _dsn(invocation.of(context), dsn_file, watch)
    if watch is None:
        _list(dsn, as_json=as_json)
    else:
        _Watching(dsn, Path(os.path.abspath(watch)), group).run()  # noqa: PTH100 - links are not followed


def _dsn(where: invocation.Places, file: Path | None, watch: Path | None) -> Dsn:
    if file is not None:
        from orchestrator.postgres import driver, dsn

        driver.need()
        return dsn.read(file.absolute(), "--dsn-file")
    settings = where.settings()
    if watch is not None and os.path.realpath(watch) == os.path.realpath(settings.qr_dir):
        raise typer.BadParameter(
            "the service of this machine shows its own codes there: name another folder", param_hint="--watch"
        )
    return dsn_of(settings)


def _list(dsn: Dsn, *, as_json: bool) -> None:
    from orchestrator.postgres import fleet_codes, schema
    from orchestrator.postgres.database import Database

    with Database(dsn, name="orchestrator codes") as database:
        database.run(schema.check)
        found = database.run(lambda connection: fleet_codes.read(connection, fleet_codes.now))
    now = fleet_codes.now()
    left = {code.account: max(0, round(code.until - now)) for code in found}
    if as_json:
        print(
            json.dumps([{"name": name, "seconds_left": seconds} for name, seconds in left.items()], indent=2)
        )
        return
    if not left:
        print("no account shows a code")
    for name, seconds in left.items():
        print(printable(f"{name}: shows a code for {seconds} more seconds"))


class _Watching:
    """Shows the codes in a folder, until a signal ends it.

    Args:
        dsn: The database.
        place: The folder, absolute.
        group: Who may read the pictures beside this user.
    """

    def __init__(self, dsn: Dsn, place: Path, group: str | None) -> None:
        from orchestrator.store.codes.folder import QrFolder
        from orchestrator.store.codes.mirror import Mirror

        self._dsn = dsn
        self._place = place
        self._folder: QrFolder = QrFolder(place, group)
        self._mirror: Mirror = Mirror()
        self._heard: SimpleQueue[Heard] = SimpleQueue()
        self._knows = False
        self._away: str | None = None
        self._trouble: str | None = None

    def run(self) -> None:
        """Show the codes.

        Raises:
            StateError: The folder cannot be used, or the database refuses to be read from the beginning.
            OrchestratorError: Another process shows codes in the folder.
        """
        from orchestrator.postgres.database import Database
        from orchestrator.postgres.fleet_codes import CodeWatch

        with contextlib.ExitStack() as held:
            was_there = self._place.is_dir()
            if was_there:
                held.enter_context(_alone(self._place))
            self._prepare()
            if not was_there:
                held.enter_context(_alone(self._place))
            ends = held.enter_context(_Ends())
            database = held.enter_context(Database(self._dsn, name="orchestrator codes"))

            def heard(news: Heard) -> None:
                self._heard.put(news)
                ends.wake()

            watch = CodeWatch(database, heard)
            watch.start()
            held.callback(watch.close)
            held.callback(self._hide_all)
            _tell(f"shows the codes of {self._dsn} in {self._place}")
            while not ends.came:
                self._hear()
                self._follow()
                self._look()
                ends.wait(self._until_next())

    def _prepare(self) -> None:
        try:
            self._folder.prepare()
        except StateError as error:
            raise StateError(_of_ours(str(error)), key=error.key) from None

    def _hear(self) -> None:
        """Take in what was read meanwhile."""
        with contextlib.suppress(Empty):
            while True:
                heard = self._heard.get_nowait()
                if isinstance(heard, list):
                    self._knows = True
                    self._mirror.found(heard)
                    if self._away is not None:
                        _tell("the database answers again")
                    self._away = None
                elif not isinstance(heard, StoreAway) and not (self._knows and isinstance(heard, StateError)):
                    raise heard
                elif self._away != str(heard):
                    self._away = str(heard)
                    _tell(f"{heard}; codes that are over go all the same, and this command waits")

    def _follow(self) -> None:
        """Bring the folder to what it should have."""
        from orchestrator.postgres.fleet_codes import now

        for change in self._mirror.plan(now()):
            self._change(change)

    def _change(self, change: Change) -> None:
        from orchestrator.system.os_errors import advice

        place = self._folder.path(change.account)
        try:
            if change.png is None:
                self._folder.hide(change.account)
            else:
                self._folder.show(change.account, change.png, time.time())
        except (OSError, StateError) as error:
            self._mirror.failed(change)
            why = str(error) if isinstance(error, StateError) else advice(error, "picture")
            self._warn(f"{place}: {_of_ours(why)}")
        else:
            self._mirror.done(change)
            self._trouble = None
            said = (
                f"{change.account}: shows no code any more" if change.png is None else f"{place}: a new code"
            )
            print(printable(said), flush=True)

    def _look(self) -> None:
        """See that what is shown is what was written here."""
        for name in self._mirror.shown:
            place = self._folder.path(name)
            try:
                is_strange = self._folder.guard(name)
            except OSError as error:
                self._warn(f"{place}: cannot be looked at: {error.strerror}")
                continue
            if is_strange:
                self._warn(
                    f"{place}: somebody put another file in its place, and this command has removed that: see"
                    " who may write there; whoever scans such a code links a stranger's phone"
                )
            if is_strange or not os.path.lexists(place):
                self._mirror.lost(name)

    def _hide_all(self) -> None:
        """Leave no picture behind: nobody would remove it when its code is over."""
        for name in self._mirror.shown:
            try:
                self._folder.hide(name)
            except OSError as error:
                _tell(f"{self._folder.path(name)}: remove this picture by hand: {error.strerror}")

    def _until_next(self) -> float:
        from orchestrator.postgres.fleet_codes import now

        ends_at = self._mirror.ends_at()
        return _LOOK if ends_at is None else min(_LOOK, max(0.0, ends_at - now()))

    def _warn(self, text: str) -> None:
        """Say something once, until a picture could be written again."""
        if text != self._trouble:
            self._trouble = text
            _tell(text)


class _Ends:
    """Waits for a signal that ends this process, and for what a thread has to say.

    Attributes:
        came: The signals that have come.
    """

    def __init__(self) -> None:
        self.came: list[int] = []
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        for one in _ENDS:
            if signal.getsignal(one) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(one, lambda number, _: self.came.append(number))
        signal.set_wakeup_fd(self._write)
        return self

    def __exit__(self, *_: object) -> None:
        # The handlers stay: a second signal must not keep this process from removing pictures.
        signal.set_wakeup_fd(-1)

    def wake(self) -> None:
        """End a wait; from any thread."""
        with contextlib.suppress(BlockingIOError):  # it is about to end anyway
            os.write(self._write, b"\0")

    def wait(self, seconds: float) -> None:
        """Wait for a signal, or for `wake`."""
        select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Have no second command like this use the folder: each would take the other's pictures for strange.

    Raises:
        OrchestratorError: One does already.
    """
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not every file system can lock
            try:
                flock(folder)
            except BlockingIOError:
                raise OrchestratorError(
                    f"{place}: another `orchestrator codes --watch` shows codes there: end that one, or name"
                    " another folder",
                    key="already_running",
                ) from None
        yield
    finally:
        os.close(folder)


def _of_ours(text: str) -> str:
    """Return what is said of a folder of codes in the words of this command: it has options, not keys."""
    return text.replace(" with qr_dir", "").replace("qr_group", "--group")


def _tell(text: str) -> None:
    print(printable(f"orchestrator: {text}"), file=sys.stderr, flush=True)
