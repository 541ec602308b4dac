"""Tells a program of the operator's which accounts have changed: the loop around `control.changes`.

Nothing here holds up an account: the program runs in a thread's hands, and whatever goes wrong is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from orchestrator.accounts.on_change import OnChange
from orchestrator.accounts.words import counted
from orchestrator.control import notice
from orchestrator.control.changes import Call, Changes
from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, OrchestratorError, StateError
from orchestrator.service.aside import Aside
from orchestrator.service.followed import Accounts
from orchestrator.service.timers import now
from orchestrator.store import told
from orchestrator.store.protocols import Record
from orchestrator.system import commands, trust
from orchestrator.system.clock import iso
from orchestrator.system.commands import Outcome
from orchestrator.system.os_errors import trouble
from orchestrator.system.redaction import redact

log = logging.getLogger(__name__)

PLAN_SECONDS: Final = 1.0
"""The least time between two looks at what is to be told, which take longer the more accounts there are."""
AGAIN_SECONDS: Final = 30.0
"""The wait after a bug."""
_SHOWN: Final = 400
"""Characters of a program's last words that are shown."""
_SECRET: Final = 6
"""Characters from which on a variable's value is hidden: shorter ones are in many words."""


class Waiting(Accounts, Protocol):
    """Accounts for whose changes one can wait."""

    async def wait_for_change(self) -> None:
        """Return when something has changed."""


def problem(program: Path, owner: int | None = None) -> str | None:
    """Say why a program is not run, and what to do; None if it can be.

    Args:
        program: The program, absolute.
        owner: Another user who is trusted besides root and this one.
    """
    way = trust.read_way(program)
    if not way.whole:
        return (
            f"{program} does not exist, or cannot be looked at: write the program, or correct `on_change.run`"
        )
    if not program.is_file():
        return f"{program} is no file: name a program under `on_change.run`"
    weak = trust.weak_for_us(way, *(() if owner is None else (owner,)))
    if weak is not None:
        advice = weak.advice(os.geteuid() if owner is None else owner)
        return f"other users may put a program of theirs in the place of {program}: {weak.text}: {advice}"
    if not os.access(program, os.X_OK):
        return f"{program} cannot be executed by this user: `chmod u+x {program}`"
    return None


class Telling:
    """Tells a program of changes, as long as one is configured.

    Args:
        accounts: The accounts.
        record: Where what was told is written down.
    """

    def __init__(self, accounts: Waiting, record: Record) -> None:
        self._accounts = accounts
        self._record = record
        self._aside = Aside("on_change", 1)
        self._stop = commands.Stop()
        self._wake = asyncio.Event()
        self._changes: Changes | None = None
        self._last: told.Last | None = None
        self._seen = -1
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = asyncio.Lock()
        self._unsaved = False
        self._saved: told.Kept | None = None
        self._closing = False

    def start(self) -> None:
        """Begin."""
        self._background(self._listen())
        self._background(self._tend())

    def reloaded(self) -> None:
        """Take over a configuration that was read again."""
        self._wake.set()

    async def stop(self) -> None:
        """Kill the program if it runs, and tell nothing any more: what was not told is told later."""
        self._closing = True
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._save()
        self._aside.close()

    async def test(self) -> dict[str, Any]:
        """Call the program once with a test, whatever the limits say.

        Returns:
            Whether that ``worked``, and if not, the ``problem``; the ``output``'s end.

        Raises:
            OrchestratorError: No program is configured.
        """
        settings = self._accounts.settings.on_change
        if settings is None:
            raise OrchestratorError(
                "no program is configured: set `on_change:` and run `orchestrator reload`", key="no_program"
            )
        names = self._accounts.names()[:1]
        views = [self._accounts.describe(name) for name in names]
        outcome, wrong = await self._run(settings, notice.test(views, iso(now().wall) or ""))
        await self._save()
        output = without_secrets(outcome.output, settings) if outcome else ""
        return {"program": settings.run[0], "worked": wrong is None, "problem": wrong, "output": output}

    # The loop

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        while True:
            await self._accounts.wait_for_change()
            if self._accounts.settings.on_change is not None:
                self._wake.set()

    async def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        planned_at = loop.time() - PLAN_SECONDS
        while not self._closing:
            self._wake.clear()
            wait: float | None = None
            try:
                await self._follow()
                if self._changes is not None:
                    await self._welcome(self._changes)
                    self._look(self._changes)
                    wait = planned_at + PLAN_SECONDS - loop.time()
                    if wait <= 0:
                        planned_at = loop.time()
                        wait = await self._plan(self._changes)
            except Exception:
                log.exception("unhandled exception while the program of on_change was to be told of changes")
                wait = AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _follow(self) -> None:
        """Take over the configuration, if another one is in use."""
        settings = self._accounts.settings.on_change
        if settings is None:
            self._changes, self._seen = None, -1
        elif self._changes is None:
            kept = await self._load()
            there = set(self._accounts.names())
            self._last = kept.last
            self._changes = Changes(
                settings, {name: one for name, one in kept.told.items() if name in there}, kept.left_out
            )
            self._seen = -1
            self._warn(settings)
        elif self._changes.settings != settings:
            self._changes.configure(settings)
            self._seen = -1
            self._warn(settings)

    async def _welcome(self, changes: Changes) -> None:
        """In a cluster, find out what another machine has told of the accounts that have come."""
        while self._accounts.settings.cluster is not None:
            new = [name for name in self._accounts.names() if not changes.knows(name)]
            if not new:
                return
            kept = await self._load()
            for name in new:
                changes.remember(name, kept.told.get(name, {}))

    def _warn(self, settings: OnChange) -> None:
        if wrong := problem(Path(settings.run[0])):
            log.warning("on_change: %s", wrong)

    def _look(self, changes: Changes) -> None:
        """Take in which accounts have changed."""
        version = self._accounts.version
        changed, gone = self._accounts.changed_since(self._seen)
        self._seen = version
        moment = now()
        there = set(self._accounts.names()) if gone else set()
        for name in gone:
            if name not in there:
                changes.forget(name)
        for name in changed:
            changes.see(self._accounts.describe(name), moment)

    async def _plan(self, changes: Changes) -> float | None:
        """Begin a call if there is something to tell; return when to look again."""
        call = changes.call(now())
        if call is not None:
            self._background(self._tell(changes, call))
        await self._save()
        due = changes.due_in(now())
        return None if due is None else max(due, PLAN_SECONDS)

    async def _tell(self, changes: Changes, call: Call) -> None:
        settings = changes.settings
        worked = False
        try:
            document = notice.as_json(call, self._view, lambda at: iso(at) or "")
            _, wrong = await self._run(settings, document)
            worked = wrong is None
            if worked:
                log.info(
                    "on_change: %s was told of %s", settings.run[0], counted(len(call.changes), "change")
                )
        except Exception:
            log.exception("unhandled exception while the program of on_change was told of changes")
        finally:
            changes.ended(now(), worked=worked)
            self._wake.set()

    def _view(self, name: str) -> AccountView | None:
        try:
            return self._accounts.describe(name)
        except NoSuchAccount:
            return None

    # The program

    async def _run(self, settings: OnChange, document: dict[str, Any]) -> tuple[Outcome | None, str | None]:
        """Run the program; return how it ended, and what went wrong, if anything did."""
        program = settings.run[0]
        given = (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()

        def run() -> tuple[Outcome | None, str | None]:
            if wrong := problem(Path(program)):
                return None, wrong
            try:
                outcome = commands.run(
                    settings.run,
                    given,
                    variables=commands.environment(os.environ, dict(settings.env)),
                    seconds=settings.timeout,
                    stop=self._stop,
                )
            except OSError as error:
                return None, f"{program} cannot be started: {trouble(error)}"
            said = _end(without_secrets(outcome.output, settings))
            return outcome, _what_went_wrong(program, outcome, settings.timeout, said)

        async with self._busy:
            outcome, wrong = await self._aside.run(run)
        failures = 0 if wrong is None else (self._last.failures if self._last else 0) + 1
        if outcome is None or not outcome.is_stopped:
            said = None if wrong is None else redact(wrong)[: told.LONGEST]
            self._last = told.Last(round(now().wall, 3), program, said, failures)
        if wrong is not None and not self._closing:
            log.warning("on_change: %s", wrong)
        elif outcome is not None and outcome.output:
            log.info("on_change: %s said: %s", program, _end(without_secrets(outcome.output, settings)))
        return outcome, wrong

    # What outlives the service

    async def _load(self) -> told.Kept:
        try:
            return await self._aside.run(self._record.told)
        except StateError as error:
            log.error("%s", error)
            return told.Kept()

    async def _save(self) -> None:
        """Write down what was told, if that has changed."""
        changes = self._changes
        if changes is None:
            return
        kept = told.Kept(
            {name: dict(one) for name, one in changes.told().items()}, changes.left_out, self._last
        )
        if kept == self._saved:
            return
        there, configured = set(self._accounts.names()), self._accounts.settings.accounts
        before = set() if self._saved is None else {*self._saved.told}
        accounts = there | {name for name in before if name not in configured}
        try:
            await self._aside.run(lambda: self._record.keep_told(kept, accounts))
        except StateError as error:
            if not self._unsaved:
                log.error("%s", error)
            self._unsaved = True
        else:
            self._unsaved, self._saved = False, kept


def without_secrets(output: str, settings: OnChange) -> str:
    """Return what a program has printed without what is nobody's business, before anything is cut off it.

    The values of its own variables are hidden, too: the URL of a chat's webhook looks like any other, and
    programs print the URL that they could not reach, or its path alone.

    Args:
        output: What it printed.
        settings: How it was started.
    """
    forms = {form: name for name, value in settings.env for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        output = output.replace(form, f"[{forms[form]}]")
    return redact(output)


def _forms(value: str) -> Iterator[str]:
    """Yield a value, the parts of a URL that may be secret, and all that as JSON has it."""
    found = [value]
    with contextlib.suppress(ValueError):
        url = urlsplit(value)
        if url.netloc:
            found += [value[value.index(url.netloc) + len(url.netloc) :], url.path, url.query]
            found += [url.netloc.rpartition("@")[0], url.password or ""]
    for one in found:
        if len(one) >= _SECRET:
            yield one
            yield json.dumps(one)[1:-1]


def _what_went_wrong(program: str, outcome: Outcome, seconds: float, said: str) -> str | None:
    if outcome.worked:
        return None
    if outcome.is_stopped:
        return f"{program} was ended because the service stops"
    if outcome.is_late:
        what = f"{program} was killed after {seconds:g} s (`timeout:` under `on_change:` allows more)"
    elif outcome.status < 0:
        what = f"{program} was ended by signal {-outcome.status}"
    else:
        what = f"{program} has ended with exit code {outcome.status}"
    return f"{what}: {said}" if said else what


def _end(output: str) -> str:
    """Return the last words of a program, on one line."""
    line = " | ".join(part.strip() for part in output.splitlines() if part.strip())
    return line if len(line) <= _SHOWN else f"… {line[-_SHOWN:]}"
