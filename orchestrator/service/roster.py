"""The accounts that the service runs, and how others learn that one has changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.accounts.machine import Account
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.pipe import Code, LinkCode
from orchestrator.accounts.same_phone import Phones
from orchestrator.accounts.settings import Sending
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError
from orchestrator.service.drift import Drift
from orchestrator.service.fetching import Fetching
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.process import ChildProcess
from orchestrator.service.terms import Terms


@dataclass(slots=True)
class Managed:
    """An account with everything that belongs to it in this process.

    Attributes:
        account: Its machine.
        sends: What its processes were asked about sending.
        fetches: Who waits for an attachment.
        child: Its process, once it is there.
        code: The code it shows.
        timer: Its machine's next wake-up.
        version: The roster's version when it last changed.
        drifted: The roster's version when it last changed, or one of its numbers did.
        library: The library's version that its last process has loaded.
        maker: Which fork server has made its last process.
        traceback: The file with the traceback of its last process, if there is one.
        told_to_stop: Whether its process is to be asked to stop as soon as it is there.
        to_be_killed: Whether its process is to be killed as soon as it is there.
        disowned: Whether another machine has the account by now, so that nothing is told of it.
        bug: Whether the last that happened to it has met a bug in the service.
        unseen: Whether it could not be described when that was tried last.
        waiting: How many events the consumer has not had that is furthest behind, as the gateway said last.
        taken: The number up to which every consumer has had its messages, as the gateway has said last; None:
            it has no consumer.
        drift: Which of its numbers were told.
    """

    account: Account
    sends: Waiting
    fetches: Fetching
    child: ChildProcess | None = None
    code: Code | LinkCode | None = None
    timer: asyncio.TimerHandle | None = None
    version: int = 0
    drifted: int = 0
    library: str = ""
    maker: int | None = None
    traceback: Path | None = None
    told_to_stop: bool = False
    to_be_killed: bool = False
    disowned: bool = False
    bug: bool = False
    unseen: bool = False
    taken: int | None = 0
    waiting: int | None = None
    drift: Drift = field(default_factory=Drift)

    @property
    def state(self) -> State:
        """What the account is doing."""
        return self.account.state

    @property
    def stopping(self) -> bool:
        """Whether its process was asked to stop."""
        return self.account.stopping

    @property
    def sending(self) -> Sending:
        """How it sends."""
        return self.account.settings.sending


def is_leaving(name: str) -> OrchestratorError:
    """Return what somebody is told who wants something of an account that goes to another machine."""
    return OrchestratorError(
        f"{name} is leaving its machine: nothing was done; try again in a moment", key="order_not_taken"
    )


class Roster:
    """The accounts there are, in the configuration's order.

    Args:
        settings: The configuration.

    Attributes:
        settings: The configuration in use.
        accounts: Every account by its name.
        machines: The same accounts' machines.
        phones: Which of them are linked to one phone.
        version: Grows with every change of any account.
        terms: For which time the gateway hands over the events of which accounts.
        owned: The accounts that are this machine's; None where it is no part of a cluster, so that all are.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.accounts: dict[str, Managed] = {}
        self.machines: dict[str, Account] = {}
        self.phones = Phones()
        self.version = 0
        self.terms = Terms()
        self.owned: set[str] | None = None
        self._gone: dict[str, int] = {}
        self._changed = asyncio.Event()

    def get(self, name: str) -> Managed:
        """Return an account.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        managed = self.accounts.get(name)
        if managed is None:
            raise no_such_account(name, known=self.accounts)
        return managed

    def get_ours(self, name: str) -> Managed:
        """Return an account that stays on this machine.

        Raises:
            NoSuchAccount: There is none of that name.
            OrchestratorError: It is leaving this machine.
        """
        managed = self.get(name)
        if not self.is_ours(name):
            raise is_leaving(name)
        return managed

    def is_ours(self, name: str) -> bool:
        """Tell whether an account that is configured runs on this machine."""
        return self.owned is None or name in self.owned

    def add(self, managed: Managed) -> None:
        """Take an account up."""
        name = managed.account.settings.name
        self.accounts[name] = managed
        self.machines[name] = managed.account
        self.terms.begin(name)

    def remove(self, name: str) -> None:
        """Take an account out; watchers learn of it with the next change."""
        del self.accounts[name], self.machines[name]
        self._gone[name] = self.version + 1
        if self.owned is None:
            self.terms.end(name)

    def touch(self, name: str) -> None:
        """Let everybody who waits know that an account has changed, or is gone."""
        self.version += 1
        if name in self.accounts:
            self.accounts[name].version = self.accounts[name].drifted = self.version
        self._changed.set()
        self._changed.clear()

    def drift(self, name: str) -> None:
        """Let those who follow its numbers know that one of an account's has changed."""
        self.version += 1
        self.accounts[name].drifted = self.version
        self._changed.set()
        self._changed.clear()

    def changed_since(self, version: int, *, numbers: bool = False) -> tuple[list[str], list[str]]:
        """Return the names of accounts that have changed after a version, and of accounts that are gone.

        Args:
            version: The version.
            numbers: Also those of which only numbers have changed.
        """
        changed = [
            name
            for name, managed in self.accounts.items()
            if (managed.drifted if numbers else managed.version) > version
        ]
        return changed, [name for name, at in self._gone.items() if at > version]

    async def wait_for_change(self) -> None:
        """Return when an account has changed."""
        await self._changed.wait()

    def running(self) -> set[str]:
        """Return the accounts that have a process, or are to get one by themselves."""
        return {name for name, machine in self.machines.items() if machine.runs}

    def before(self, name: str) -> list[str]:
        """Return the running accounts that the configuration names before this one."""
        order = list(self.settings.accounts)
        first = order[: order.index(name)] if name in order else order
        running = self.running()
        return [other for other in first if other in running]
