"""The program of `on_change`: what it prints is shown without its secrets, wherever it is shown."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dispatching import until

from orchestrator.accounts.on_change import OnChange
from orchestrator.config.settings import Settings
from orchestrator.control import changes
from orchestrator.control.view import AccountView
from orchestrator.service import on_change
from orchestrator.service.on_change import Telling, without_secrets
from orchestrator.store.layout import StatePaths
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.told import Kept

URL = "https://hooks.example.com/services/T01ABCDEF/B02ABCDEF/abcdefghijklmnop?thread=general-room"
PASSWORD = "correct-horse"
ENV = (("CHAT_URL", URL), ("PASSWORD", PASSWORD), ("SHORT", "on"))
SECRETS = ("T01ABCDEF", "abcdefghijklmnop", "general-room", PASSWORD)


class Accounts:
    """No accounts, and a program."""

    version = 0

    def __init__(self, on_change: OnChange) -> None:
        self.settings = cast("Settings", SimpleNamespace(on_change=on_change, cluster=None, accounts={}))

    def names(self) -> list[str]:
        return []

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        raise AssertionError(name, reveal)

    def changed_since(self, version: int, *, numbers: bool = False) -> tuple[list[str], list[str]]:
        del version, numbers
        return [], []

    async def wait_for_change(self) -> None:
        await asyncio.Event().wait()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} is missing"
        time.sleep(0.01)


def try_out(folder: Path, script: str) -> dict[str, Any]:
    """Call a program with secrets in its environment as `on-change test` does."""
    program = folder / "tell"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    settings = OnChange(run=(str(program),), env=ENV)

    async def run() -> dict[str, Any]:
        kept = folder / "on_change.json"
        telling = Telling(Accounts(settings), RecordFiles(StatePaths.of(folder, environ={})))
        telling.start()
        try:
            await asyncio.to_thread(wait_for, kept)  # the first that it writes down
            return await telling.test()
        finally:
            await telling.stop()

    return asyncio.run(run())


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize(
    "said",
    [
        'echo "cannot reach $CHAT_URL with $PASSWORD"',
        # As requests and urllib3 say it.
        'echo "Max retries exceeded with url: ${CHAT_URL#https://hooks.example.com}"',
        'echo "{\\"url\\": \\"$CHAT_URL\\", \\"with\\": \\"$PASSWORD\\"}"',
        'echo "path ${CHAT_URL%%\\?*}"; echo "query ${CHAT_URL##*\\?}"',
    ],
)
def test_the_program_s_own_variables_are_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, said: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    found = try_out(tmp_path, f"{said}; exit {status}")
    assert found["worked"] is (status == 0)
    shown = f"{found} {caplog.text} {(tmp_path / 'on_change.json').read_text()}"
    assert "[CHAT_URL]" in str(found)
    assert "[CHAT_URL]" in caplog.text
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("length", range(380, 430, 5))
def test_what_is_cut_off_tells_no_secret_that_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    """The word that says what a token is may be just what is cut off."""
    caplog.set_level(logging.DEBUG)
    token = "zq7" * 6
    found = try_out(tmp_path, f"echo 'Authorization: Bearer {token} {'. ' * (length // 2)}'; exit 1")
    assert "has ended with exit code 1" in found["problem"]
    assert token[-9:] not in f"{found} {caplog.text}"


def test_a_line_whose_beginning_is_lost_is_not_shown(tmp_path: Path) -> None:
    token = "zq7" * 6
    rest = "x " * ((4096 - len(token) - 10) // 2)
    found = try_out(tmp_path, f"echo first; echo 'Authorization: Bearer {token} {rest}'; echo last")
    assert found["worked"]
    assert found["output"] == "last"


class Machine:
    """The accounts that a machine of a cluster has, and the program that it tells of them."""

    def __init__(self, folder: Path, record: RecordFiles) -> None:
        self.log = folder / "said"
        program = folder / "tell"
        program.write_text(f"#!/bin/sh\ncat >> {self.log}\n")
        program.chmod(0o700)
        self.settings: Any = SimpleNamespace(
            on_change=OnChange(run=(str(program),), lasts=0.0),
            cluster=object(),
            accounts=dict.fromkeys(("a", "b", "c")),
        )
        self.version = 0
        self.has: dict[str, AccountView] = {}
        self._at: dict[str, int] = {}
        self._changed = asyncio.Event()
        self.telling = Telling(self, record)

    def set(self, name: str, state: str | None) -> None:
        """Give the machine an account in a state, or take one away."""
        self.version += 1
        self._at[name] = self.version
        if state is None:
            del self.has[name]
        else:
            self.has[name] = AccountView(name, state, kind="crash" if state == "failed" else None)
        self._changed.set()

    def names(self) -> list[str]:
        return [*self.has]

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        del reveal
        return self.has[name]

    def changed_since(self, version: int, *, numbers: bool = False) -> tuple[list[str], list[str]]:
        del numbers
        found = [name for name, at in self._at.items() if at > version]
        return [n for n in found if n in self.has], [n for n in found if n not in self.has]

    async def wait_for_change(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def said(self) -> list[str]:
        """Return what the program was told, as account and word."""
        if not self.log.exists():
            return []
        text, found = self.log.read_text(), []
        while text.strip():
            document, end = json.JSONDecoder().raw_decode(text.lstrip())
            text = text.lstrip()[end:]
            found += [f"{one['account']['name']} {one['change']}" for one in document["changes"]]
        return found


class Shared(RecordFiles):
    """What several machines have been told, where all can read it: as with rows of a database."""

    _turn = threading.Lock()

    def keep_told(self, kept: Kept, accounts: Collection[str]) -> None:
        with self._turn:
            others = {name: words for name, words in self.told().told.items() if name not in accounts}
            super().keep_told(replace(kept, told={**others, **kept.told}), accounts)


def test_what_was_told_of_an_account_goes_where_the_account_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(on_change, "PLAN_SECONDS", 0.05)

    async def move() -> tuple[list[str], list[str]]:
        record = Shared(StatePaths.of(tmp_path, environ={}))
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
        one, two = (Machine(folder, record) for folder in folders)
        for machine in (one, two):
            machine.telling.start()
        try:
            one.set("a", "failed")
            one.set("b", "failed")
            two.set("c", "failed")
            await until(lambda: len(one.said()) == 2 and len(two.said()) == 1)
            await until(lambda: {*record.told().told} == {"a", "b", "c"})
            one.set("a", None)
            two.set("a", "failed")  # as before: nobody is told again
            two.set("c", "connected")
            await until(lambda: len(two.said()) == 2)
            two.set("a", "connected")
            await until(lambda: len(two.said()) == 3)
            await until(lambda: {*record.told().told} == {"b"})
        finally:
            for machine in (one, two):
                await machine.telling.stop()
        return one.said(), two.said()

    said = asyncio.run(move())
    assert said == (["a needs_person", "b needs_person"], ["c needs_person", "c resolved", "a resolved"])


@given(st.text(max_size=60), st.text(max_size=40), st.text(max_size=60))
def test_any_value_can_be_hidden(before: str, value: str, after: str) -> None:
    settings = OnChange(run=("/bin/true",), env=(("A", value), ("B", f"https://u:{value}@h/{value}?{value}")))
    shown = without_secrets(f"{before}{value}{after}", settings)
    if len(value) >= 6 and value.isalnum():
        assert value not in shown
