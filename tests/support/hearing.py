"""An account's client that is handed whatever bytes as the library's: a program for tests.

Run it as ``python hearing.py DATABASE FOLDER EXAMPLES`` in the environment of a sandbox, with the session of
a linked device. It connects with the real neonize, and then calls what the library calls, with event after
event. What is stored goes to the inbox in FOLDER. At the end it prints what became of them as a line of JSON.
It ends with 1, and says why on stderr, where a call raised an error, or lost a message without a word.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import sys
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.worker.library import loading

loading.prepare()

from google.protobuf.message import DecodeError  # noqa: E402 - after neonize could be prepared
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from neonize import events as library  # noqa: E402

from orchestrator.accounts.settings import Messages  # noqa: E402
from orchestrator.messages.entry import Entry  # noqa: E402
from orchestrator.messages.inbox import Inbox  # noqa: E402
from orchestrator.messages.rendering import grammar  # noqa: E402
from orchestrator.worker import events, session_secrets  # noqa: E402
from orchestrator.worker.intake import Intake  # noqa: E402
from orchestrator.worker.library import client as tested  # noqa: E402
from orchestrator.worker.losses import Losses  # noqa: E402
from orchestrator.worker.queue import Inbox as Queue  # noqa: E402

from support.entries import ENTRIES  # isort: skip # noqa: E402
from support.protobufs import ADA, GROUP, ME, Message, event, info, source  # isort: skip # noqa: E402
from support.strategies import messages  # isort: skip # noqa: E402

HANG_SECONDS = 240
"""A call returns in milliseconds."""
CODES = sorted({library.EVENT_TO_INT[kind] for kind in tested._TRANSLATIONS})
SOURCES = {source: code for code, source in tested._STORED.items()}
KNOWN = [(SOURCES[one.source], one.raw) for one in ENTRIES.values() if one.source in SOURCES]
ABOUT = st.builds(
    lambda chat, sender, mine, name, id_: info(id_, source(chat, sender, from_me=mine), name=name),
    st.sampled_from([ADA, GROUP, ME, "status@broadcast", "1@broadcast", "x@newsletter", "@"]),
    st.sampled_from([ADA, ME, "4915100009@s.whatsapp.net", "@"]),
    st.booleans(),
    st.text(max_size=10),
    st.text(max_size=30),
)
WHOLE = st.builds(
    lambda message, about: (SOURCES["message"], event(message, about).SerializePartialToString()),
    messages(Message),
    ABOUT,
)


@st.composite
def mutilated(draw: st.DrawFn, events: st.SearchStrategy[tuple[int, bytes]]) -> tuple[int, bytes]:
    """Draw an event that is cut off, or has some other bytes."""
    code, raw = draw(events)
    changed = bytearray(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5)):
        if changed:
            changed[place % len(changed)] = byte
    return code, bytes(changed)


VALID = st.one_of(
    WHOLE,
    st.sampled_from(KNOWN),
    st.sampled_from(CODES).flatmap(
        lambda code: messages(library.INT_TO_EVENT[code]).map(
            lambda made: (code, made.SerializePartialToString())
        )
    ),
)
EVENTS = st.one_of(VALID, mutilated(VALID), st.tuples(st.sampled_from(CODES), st.binary(max_size=300)))


class Offered(Inbox):
    """An inbox that counts what it is to store: it has some of that already."""

    offered = 0

    def append(self, entry: Entry) -> int | None:
        self.offered += 1
        return super().append(entry)


class Heard:
    """A client with an inbox, and everything that goes wrong."""

    def __init__(self, database: Path, folder: Path) -> None:
        self.errors: list[str] = []
        sys.unraisablehook = self._raised
        self.queue = Queue()
        keeps = Messages(allow=("*",), groups=True, from_me=True)
        self.intake = Intake(Offered.open(folder), keeps, self.queue.put)
        self.intake.watcher = losses = Losses(self.intake, keeps)
        losses.look(partial(session_secrets.read, database))
        wanted = tested.ClientSettings("fuzz", database, "Fuzz", rejects_calls=True)
        self.client = tested.Client(wanted, self.queue.put, self.intake)
        losses.listen(self.client)

    def connect(self) -> None:
        self.client.dial()
        while not any(isinstance(one, events.Connected) for one in self._wait()):
            pass
        # What the library was given to call.
        self.call: Any = self.client._client._connect_refs[2]

    def _wait(self) -> list[events.Event]:
        import select

        select.select([self.queue], [], [])
        return self.queue.take()

    def _raised(self, what: Any) -> None:  # noqa: ANN401 - as of `sys`
        self.errors.append(
            "".join(traceback.format_exception(what.exc_type, what.exc_value, what.exc_traceback))
        )

    def hand_over(self, code: int, raw: bytes) -> str:
        """Call as the library does; return what became of it."""
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        inbox = self.intake.inbox
        assert isinstance(inbox, Offered)
        before = (inbox.offered, self.intake.refused)
        buffer = ctypes.create_string_buffer(raw, len(raw) or 1)
        self.call(b"fuzz", ctypes.addressof(buffer), len(raw), code)
        self.queue.take()
        assert not self.errors, self.errors.pop()
        if inbox.offered != before[0]:
            return "stored"
        if self.intake.refused != before[1]:
            return "refused"
        assert tested._STORED.get(code) != "message" or not is_message(raw), "neither stored nor counted"
        return "nothing"


def is_message(raw: bytes) -> bool:
    """Tell whether these bytes must be stored or counted: what nobody can read must."""
    try:
        return grammar.facts(library.MessageEv.FromString(raw)).is_message
    except DecodeError:
        return True


def main() -> None:
    database, folder, examples = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    heard = Heard(database, folder)
    heard.connect()
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(EVENTS)
    def hand_over(one: tuple[int, bytes]) -> None:
        seen[heard.hand_over(*one)] += 1

    for one in KNOWN:
        seen[heard.hand_over(*one)] += 1
    hand_over()
    print(json.dumps({**seen, "entries": heard.intake.stored}), flush=True)


if __name__ == "__main__":
    # An orderly end would wait for neonize's threads, which may never end.
    try:
        main()
    except BaseException:  # noqa: BLE001 - nothing must get past the exit
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
