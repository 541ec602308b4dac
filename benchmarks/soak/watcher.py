"""Looks at everything, again and again: the service's word, WhatsApp's, the files, and the processes."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.meter import Memory
from benchmarks.soak import processes
from benchmarks.soak.observation import Account, Dial, Finding, Link, Observation, Parent, Process
from benchmarks.soak.world import GATEWAY, World
from orchestrator.control.client import Stream
from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.client import SandboxError
from orchestrator.store.layout import DATABASE
from orchestrator.store.sessions import files as session_files

ANSWER_SECONDS = 5.0
"""Seconds for the service's answer to `list`; it takes some thousandths."""
GENERATIONS = 3
"""The gateway, its maker of readers, and a reader."""
PROCESS_LOOKS = 4
"""Every so many looks, the processes are looked at."""
_QUARANTINED = re.compile(r"(.+)-[0-9]{8}T[0-9]{6}Z-([a-z0-9_]+?)(?:-[0-9]+)?")
_CHAT = "web.whatsapp.com"
_GUARD = re.compile(r'"linked_phone": "[0-9]+"')
"""The one place where the service writes a whole number down: which phone an account may be linked to."""


class Watcher:
    """Makes observations of a world.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._looks = itertools.count()
        self._event = (world.life, 0)
        self._round = itertools.cycle(world.names)
        self._accounts = {number: name for name, number in world.numbers.items()}
        self._scanned: dict[Path, int] = {}

    def look(self) -> Observation:
        """Return what there is to be seen now."""
        world = self._world
        # Before the states: what is seen of an account at rest has then happened while it was.
        files = {name: _fingerprint(world.service.paths.session(name)) for name in world.names}
        dials = tuple(self._dials())
        up = world.up  # before: it may be killed while it is asked
        about = self._about()
        up = up and world.up
        wall = time.time()
        accounts = None if about is None else {one["name"]: _account(one) for one in about}
        links = self._links()
        full = next(self._looks) % PROCESS_LOOKS == 0
        found = self._processes() if full else None
        return Observation(
            at=world.clock.look(),
            wall=wall,
            accounts=accounts,
            up=up,
            links=links,
            dials=dials,
            pictures=frozenset(self._pictures()),
            processes=found,
            parent=self._parent(accounts) if full else None,
            quarantined=self._quarantined(),
            identities=dict(self._identity(next(self._round))),
            files=files,
            excused=world.excused(),
            silent=world.silent(),
            parting=world.parting(),
            wishes=world.wishes(),
            bans=world.bans(),
        )

    def _about(self) -> list[dict[str, Any]] | None:
        try:
            with Stream(self._world.service.client.path, {"command": "list"}, ANSWER_SECONDS) as answer:
                for _ in answer:
                    pass
                return list(answer.result["accounts"])
        except OrchestratorError:
            return None

    def _dials(self) -> Iterator[Dial]:
        world = self._world
        life = world.life
        try:
            events = world.sandbox.client.events(self._event[1] if self._event[0] == life else 0)
        except SandboxError:
            return
        if events:
            self._event = (life, events[-1]["seq"])
        for event in events:
            if event["event"] == "opened" and event.get("host") == _CHAT and "user" in event:
                yield Dial(event["user"], event["at"])
            elif event["event"] == "login-refused" and event["reason"] == 402:
                world.banned(self._accounts[event["phone"]], event["at"])

    def _links(self) -> Mapping[str, frozenset[Link]] | None:
        life = self._world.life
        try:
            connections = self._world.sandbox.client.connections()
        except SandboxError:
            return None
        found: dict[str, set[Link]] = {name: set() for name in self._world.names}
        for one in connections:
            if one["state"] in ("logged-in", "online"):
                found[self._accounts[one["phone"]]].add(Link(life, one["connection"]))
        return {name: frozenset(links) for name, links in found.items()}

    def _pictures(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            for path in self._world.service.paths.qr.iterdir():
                if path.suffix == ".png":
                    yield path.stem

    def _quarantined(self) -> Mapping[tuple[str, str], int]:
        counts: Counter[tuple[str, str]] = Counter()
        with contextlib.suppress(FileNotFoundError):
            for path in self._world.service.paths.quarantine.iterdir():
                if match := _QUARANTINED.fullmatch(path.name):
                    counts[match[1], match[2]] += 1
        return counts

    def _identity(self, name: str) -> Iterator[tuple[str, str | None]]:
        """Yield whom a session is of, if it can be read now: its process may be writing to it."""
        database = self._world.service.paths.session(name)
        with tempfile.TemporaryDirectory(dir=self._world.folder) as folder:
            copy = Path(folder) / database.name
            try:
                for file in session_files(database):
                    if file.exists() and not file.name.endswith("-shm"):
                        shutil.copyfile(file, copy.with_name(file.name))
                with closing(sqlite3.connect(copy)) as connection:
                    columns = "jid, registration_id, noise_key, identity_key, signed_pre_key, adv_key"
                    rows = list(connection.execute(f"SELECT {columns} FROM whatsmeow_device"))
            except (OSError, sqlite3.Error):
                return
        if not rows:
            yield name, None
            return
        jid, registration, *keys = rows[0]
        for key in keys:
            self._world.secrets.add_key(key, f"a key of {name}")
        text = f"{jid} {registration} {keys[0].hex()}"
        yield name, hashlib.sha256(text.encode()).hexdigest()[:16]

    def _processes(self) -> tuple[Process, ...]:
        world = self._world
        prefix = f"{world.service.paths.sessions}/"
        own = world.service.running_pid
        found = []
        everybody = list(processes.marked(world.mark))
        # The gateway makes processes, too: its readers.
        gateways = {own}
        for _ in range(GENERATIONS):
            gateways |= {one.pid for one in everybody if one.parent in gateways and GATEWAY in one.command}
        for one in everybody:
            for finding in world.secrets.found(one.command, "a process's command line"):
                world.found(finding)
            if one.pid == own:
                continue
            sessions = {
                file.removeprefix(prefix).removesuffix(f"/{DATABASE}")
                for file in processes.open_files(one.pid)
                if file.startswith(prefix) and file.endswith(f"/{DATABASE}")
            }
            helper = one.parent == own or one.pid in gateways
            found.append(Process(one.pid, frozenset(sessions), helper))
        return tuple(found)

    def _parent(self, accounts: Mapping[str, Account] | None) -> Parent | None:
        pid = self._world.service.running_pid
        if pid is None or accounts is None:
            return None
        children = sum(one.pid is not None for one in accounts.values())
        try:
            memory = Memory.of(pid).private
            return Parent(pid, children, len(processes.open_files(pid)), processes.thread_count(pid), memory)
        except (OSError, KeyError, ValueError):
            return None  # it was killed just now

    # Secrets

    def leaks(self, *, whole: bool = False) -> Iterator[Finding]:
        """Yield the secrets that are in what the service has said.

        Args:
            whole: Look at everything again: a secret may have become known after it was said.
        """
        world = self._world
        paths = world.service.paths
        overlap = 4 * world.secrets.longest
        for path in [world.service.log, paths.status, *_files(paths.timeline)]:
            start = 0 if whole or path == paths.status else self._scanned.get(path, 0)
            try:
                with path.open("rb") as file:
                    file.seek(max(0, start - overlap))
                    text = file.read().decode(errors="replace")
                    self._scanned[path] = file.tell()
            except FileNotFoundError:
                continue
            if path == paths.status:
                text = _GUARD.sub("", text)
            yield from world.secrets.found(text, path.name)
        about = self._about()
        if about is not None:
            yield from world.secrets.found(json.dumps(about), "list --json")
        if whole:
            for name in world.names:
                with contextlib.suppress(OrchestratorError):
                    said = world.service.client.call("explain", name=name, entries=1000)
                    yield from world.secrets.found(json.dumps(said), f"explain {name}")


def _account(about: Mapping[str, Any]) -> Account:
    retry = about["next_retry_at"]
    return Account(
        about["state"],
        about["since"],
        about["pid"],
        None if retry is None else datetime.fromisoformat(retry).timestamp(),
    )


def _fingerprint(database: Path) -> tuple[object, ...]:
    """Return what changes when anybody writes to a session: which files there are, their sizes and times."""
    found: list[object] = []
    for file in session_files(database):
        with contextlib.suppress(FileNotFoundError):
            about = file.stat()
            found.append((file.name, about.st_ino, about.st_size, about.st_mtime_ns))
    return tuple(found)


def _files(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(folder.iterdir())
    return []
