"""What runs in a child where the real one would load neonize: it says and does what a test has told it.

The child is `run`, a target for `Spawner`. A test tells it by files, through `Puppets`, in the folder
``stand-in`` next to the state folder, which both find by the paths they have anyway. Each run of an account
is a list of steps; without any, a run does what the real one does when all goes well: with a session it
connects, without one it shows a code until a phone is held to it.

A step is one of these words, some with an argument after a colon:

    connecting          a session is there, WhatsApp is dialled          (connecting: unpaired, for none)
    code                show a QR code                                   (code: SECONDS it is valid)
    link_code           show an eight-character code
    paired, connected   as the real one says it, with the phone's number (connected: NUMBER)
    lost                the link is gone
    beat                a heartbeat
    idle                send heartbeats until told to stop, then stop in good order; or until told to have
                        the device unlinked, then end as one that is logged out
    texts: WHAT         what becomes from now on of messages that are to be sent, and of all else that is
                        done: kept (nobody ever hears of it), queued (it waits in the outbox), refused, a
                        `Fate`, or, as without this step, sent
    deaf                send heartbeats, and ignore being told to stop
    hang                do nothing at all any more
    hold                hang in C, with the GIL held
    numb                hang, with all signals blocked that can be
    await: WORD         go on when the test says so by `Puppets.go`
    end: KIND           say the last word and exit with its code         (end: temporary_ban 3600)
    exit: CODE          exit with a code, without a word
    kill: NUMBER        end by a signal; HUP, INT and TERM are ignored
    flood               say more at once than any pipe holds   (flood: COUNT, for so many heartbeats)
    flap: COUNT         lose the link and get it back, so many times, as fast as can be
    say: JSON           send these bytes, whatever they are
    trace: TEXT         write to the file for its traceback
    log: TEXT           write to the standard error that all processes share
    garbage             say what is no message
    huge                announce a message that is far too large
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from support.pictures import PNG

from orchestrator.accounts import acts, attachments, pipe
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.outgoing import Fault
from orchestrator.messages.outbox import Outbox
from orchestrator.messages.outbox_form import KeyConflict, New, NoRow, NotWaiting, OutboxFull
from orchestrator.sending import asks, telling, wire
from orchestrator.sending.row import Pace
from orchestrator.worker.spec import LAST_CALL_SIGNAL, ChildSpec
from orchestrator.worker.tenure import Tenure
from orchestrator.worker.traceback_file import Trace

BEAT_SECONDS = 0.5
_FAULTS = {
    KeyConflict: Fault.CONFLICT,
    OutboxFull: Fault.FULL,
    NoRow: Fault.NO_ROW,
    NotWaiting: Fault.NOT_WAITING,
}
NUMBER = "4915100000001"
_POLL = 0.01


class Puppets:
    """The test's end: tells the children of a state folder what to do.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state.parent / "stand-in"
        self._folder.mkdir(exist_ok=True)

    def play(self, name: str, *runs: list[str]) -> None:
        """Say what each of an account's next runs does; the last of them is repeated."""
        done = len(self.runs(name))
        _write(self._folder / f"{name}.json", json.dumps({"from": done, "runs": runs}))

    def scan(self, name: str, number: str = NUMBER) -> None:
        """Hold the phone of a number to the account's code."""
        _write(self._folder / f"{name}.scanned", number)

    def go(self, name: str, word: str) -> None:
        """Let an account's child go on that waits for a word."""
        _write(self._folder / f"{name}.{word}", "")

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Return what each of an account's runs was started with, and its ``pid``."""
        return self._lines(f"{name}.runs")

    def acts(self, name: str) -> list[dict[str, Any]]:
        """Return what an account was asked to do at once, in the words of clients."""
        return self._lines(f"{name}.acts")

    def sends(self, name: str) -> list[dict[str, Any]]:
        """Return what an account's process was told to send, in the words of clients."""
        return self._lines(f"{name}.sends")

    def secrets(self, name: str) -> list[str]:
        """Return what an account's process was told of messages that it had asked about."""
        return [one["found"] for one in self._lines(f"{name}.secrets")]

    def texts(self, name: str) -> list[dict[str, Any]]:
        """Return the texts that an account was asked to send: ``to`` and ``text``."""
        found = [one for one in self.sends(name) if one["kind"] == "text"]
        return [{"to": one["to"].partition("@")[0], "text": one["text"]} for one in found]

    def files(self, name: str) -> list[dict[str, Any]]:
        """Return the files that an account was asked to fetch: ``media``."""
        return self._lines(f"{name}.files")

    def taken(self, name: str) -> list[int | None]:
        """Return what an account was told of what all consumers have had."""
        return [one["seq"] for one in self._lines(f"{name}.taken")]

    def _lines(self, name: str) -> list[dict[str, Any]]:
        try:
            text = (self._folder / name).read_text()
        except FileNotFoundError:
            return []
        # The last line may be one that is just being written.
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]


def run(spec: ChildSpec, connection: Any) -> NoReturn:  # noqa: ANN401 - multiprocess has no types
    """Be an account's child."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(LAST_CALL_SIGNAL, lambda *_: None)  # it hears the last call, and does nothing
        Trace.open(spec.trace)
        code = _Child(spec, connection).run()
    except (EOFError, OSError):
        code = EXIT_CODES[Kind.STOPPED]  # the parent is gone
    finally:
        os._exit(code)


class _Stopped(Exception):  # noqa: N818
    pass


class _Unlinked(Exception):  # noqa: N818
    pass


class _Child:
    def __init__(self, spec: ChildSpec, connection: Any) -> None:  # noqa: ANN401
        self._spec = spec
        self._connection = connection
        self._folder = spec.database.parents[3] / "stand-in"
        self._folder.mkdir(exist_ok=True)
        self._number = spec.phone or NUMBER
        self._tenure = Tenure(spec.until)
        self._codes = 0
        self._texts = "sent"
        self._files = ""

    def run(self) -> int:
        steps = self._steps()
        if steps is None:
            steps = self._usual_steps()
        try:
            for step in steps:
                word, _, argument = step.partition(":")
                end = self._step(word.strip(), argument.strip())
                if end is not None:
                    return end
        except _Stopped:
            return self._end(Kind.STOPPED)
        except _Unlinked:
            return self._end(Kind.LOGGED_OUT)
        return self._end(Kind.NETWORK)

    def _steps(self) -> Iterator[str] | None:
        runs = self._folder / f"{self._spec.name}.runs"
        count = len(runs.read_text().splitlines()) if runs.exists() else 0
        about = {
            "pid": os.getpid(),
            "pairing": self._spec.pairing,
            "phone": self._spec.phone,
            "proxy": self._spec.proxy,
            "device_name": self._spec.device_name,
            "had_session": self._spec.database.exists(),
            "taken": self._spec.taken,
            "modules": [name for name in ("neonize", "orchestrator.cli", "typer") if name in sys.modules],
        }
        with runs.open("a") as file:
            file.write(json.dumps(about) + "\n")
        try:
            play = json.loads((self._folder / f"{self._spec.name}.json").read_text())
        except FileNotFoundError:
            return None
        mine = play["runs"][min(count - play["from"], len(play["runs"]) - 1)]
        return iter(mine) if mine else None

    def _usual_steps(self) -> Iterator[str]:
        if self._spec.database.exists():
            yield from ("connecting", "connected", "idle")
            return
        yield "connecting: unpaired"
        yield "code" if self._spec.pairing == "qr" else "link_code"
        yield "await: scanned"
        yield from ("paired", "connected", "idle")

    def _step(self, word: str, argument: str) -> int | None:
        match word:
            case "connecting":
                self._say(pipe.Connecting(argument != "unpaired"))
            case "code":
                self._codes += 1
                now = time.time()
                text = f"2@{self._spec.name}-{self._codes}-{'A' * 200}"
                self._say(pipe.Code(text, PNG, now, now + float(argument or 60)))
            case "link_code":
                self._say(pipe.LinkCode("ABCD1234", time.time() + 160))
            case "paired":
                self._spec.database.write_bytes(b"a session")
                self._say(pipe.Paired(argument or self._number))
            case "connected":
                self._say(pipe.Connected(argument or self._number))
            case "lost":
                self._say(pipe.LinkLost("the link was cut"))
            case "beat":
                self._beat()
            case "idle":
                self._idle()
            case "texts":
                self._texts = argument
            case "deaf":
                self._idle(deaf=True)
            case "hang":
                while True:
                    time.sleep(3600)
            case "hold":
                ctypes.PyDLL(None).sleep(3600)
            case "numb":
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                ctypes.PyDLL(None).sleep(3600)
            case "await":
                self._await(argument)
            case "end":
                kind, _, expire = argument.partition(" ")
                return self._end(Kind(kind), float(expire) if expire else None)
            case "exit":
                return int(argument)
            case "kill":
                os.kill(os.getpid(), int(argument))
            case "flood":
                for _ in range(int(argument or 20_000)):
                    self._beat()
            case "files":
                self._files = argument
            case "flap":
                for _ in range(int(argument)):
                    self._say(pipe.LinkLost("the link was cut"))
                    self._say(pipe.Connected(self._number))
            case "say":
                self._connection.send_bytes(argument.encode())
            case "trace":
                if self._spec.trace is not None:
                    self._spec.trace.write_text(argument)
            case "log":
                os.write(2, argument.encode() + b"\n")
            case "garbage":
                self._connection.send_bytes(b"\x80\x04no message")
                self._idle()
            case "huge":
                os.write(self._connection.fileno(), struct.pack("!i", 1 << 30))
                self._idle()
            case _:
                raise ValueError(f"no such step: {word}")
        return None

    def _say(self, message: pipe.FromChild) -> None:
        self._connection.send_bytes(pipe.encode(message))

    def _beat(self) -> None:
        self._say(pipe.Heartbeat(time.time(), 16_000_000, 23))

    def _idle(self, *, deaf: bool = False) -> None:
        while True:
            self._beat()
            self._listen(BEAT_SECONDS, deaf=deaf)

    def _await(self, word: str) -> None:
        sign = self._folder / f"{self._spec.name}.{word}"
        beat_at = time.monotonic()
        while not sign.exists():
            if time.monotonic() >= beat_at:
                self._beat()
                beat_at = time.monotonic() + BEAT_SECONDS
            self._listen(_POLL)
        self._number = sign.read_text() or self._number
        sign.unlink()

    def _listen(self, seconds: float, *, deaf: bool = False) -> None:
        """Wait, but hear what the parent says, and notice when it is gone."""
        message = None
        if self._connection.poll(self._tenure.limit(seconds)):
            message = pipe.decode(self._connection.recv_bytes())
        if isinstance(message, pipe.Extend):
            self._tenure.extend(message.until)
            return
        self._tenure.check()
        if message is not None:
            if isinstance(message, pipe.Act):
                self._act(message)
            elif isinstance(message, pipe.Send | pipe.TakeBack):
                self._write(message)
            elif isinstance(message, pipe.Secrets):
                with (self._folder / f"{self._spec.name}.secrets").open("a") as file:
                    file.write(json.dumps({"found": message.found}) + "\n")
            elif isinstance(message, pipe.Fetch):
                self._fetch(message)
            elif isinstance(message, pipe.Taken):
                self._note_taken(message.seq)
            elif not deaf and isinstance(message, pipe.Unlink):
                raise _Unlinked
            elif not deaf:
                assert isinstance(message, pipe.Stop)
                raise _Stopped

    def _act(self, message: pipe.Act) -> None:
        with (self._folder / f"{self._spec.name}.acts").open("a") as file:
            file.write(message.body + "\n")
        if self._texts == "sent" or self._texts.startswith("{"):
            listed = asks.groups_answer([asks.Group("120363000000000001@g.us", "Friends")])
            result = listed if asks.kind(asks.from_text(message.body)) is asks.Kind.GROUPS else {}
            said = self._texts if self._texts.startswith("{") else asks.result_text(result)
            self._say(pipe.Acted(message.id, acts.Fate.DONE, None, "", said))
        elif self._texts != "kept":
            fate = acts.Fate.FAILED if self._texts == "refused" else acts.Fate(self._texts)
            self._say(pipe.Acted(message.id, fate, 463, "WhatsApp would not have it", None))

    def _write(self, message: pipe.Send | pipe.TakeBack) -> None:
        """Do what the real one does with its outbox, and what the test says with the row."""
        if isinstance(message, pipe.Send):
            with (self._folder / f"{self._spec.name}.sends").open("a") as file:
                file.write(message.body + "\n")
        if self._texts == "kept":
            return
        folder = self._spec.database.parents[2] / "messages" / self._spec.name
        folder.mkdir(exist_ok=True)
        with contextlib.closing(Outbox.open(folder)) as outbox:
            try:
                if isinstance(message, pipe.TakeBack):
                    self._say(telling.queued(message.id, outbox.take_back(message.row)))
                    return
                new = New(
                    *(wire.from_text(message.body), message.body, bytes.fromhex(message.key)),
                    *(message.key_until, message.expires_at, 10_000),
                )
                row, again = outbox.add(new)
            except (KeyConflict, OutboxFull, NoRow, NotWaiting) as error:
                self._say(telling.refused(message.id, _FAULTS[type(error)]))
                return
            self._say(telling.queued(message.id, row, again=again))
            if not again and self._texts != "queued":
                self._carry(outbox, row.number, message.id)

    def _carry(self, outbox: Outbox, number: int, id_: int) -> None:
        outbox.hand_over(number, Pace.NEW)
        self._say(telling.moved(outbox.row(number)))
        match self._texts:
            case "sent":
                row = outbox.sent(number, f"3EB0{id_}")
            case "unknown":
                row = outbox.unknown(number, "WhatsApp did not answer")
            case _:
                row = outbox.failed(number, "WhatsApp would not have it", 463)
        self._say(telling.moved(row))

    def _note_taken(self, seq: int | None) -> None:
        with (self._folder / f"{self._spec.name}.taken").open("a") as file:
            file.write(json.dumps({"seq": seq}) + "\n")

    def _fetch(self, message: pipe.Fetch) -> None:
        with (self._folder / f"{self._spec.name}.files").open("a") as file:
            file.write(json.dumps({"media": message.media}) + "\n")
        if self._files == "":
            assert self._spec.messages is not None
            folder = self._spec.messages / "media"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / message.media).write_text("a file")
            self._say(pipe.Fetched(message.id, None, ""))
        elif self._files != "kept":
            self._say(pipe.Fetched(message.id, attachments.Fault(self._files), "as the test wants it"))

    def _end(self, kind: Kind, expire: float | None = None) -> int:
        self._say(pipe.Ended(kind, f"a stand-in's end: {kind}", None, expire))
        return EXIT_CODES[kind]


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
