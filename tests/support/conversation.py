"""People who write to each other in tests: accounts by their bots, contacts by their phones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.linked import PATIENCE, Linked, devices, link, wait_until
from support.neonize_process import Event, NeonizeProcess

from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

_markers = itertools.count(1)


@dataclass(frozen=True)
class Account(Linked):
    """Somebody who lets a bot write."""

    def write(self, to: str, text: str) -> str:
        """Send a text to a number or a group; return the message's id."""
        return str(self.bot.command("send_text", to=bare(to), text=text)["id"])

    def gets(self, message_id: str) -> Event:
        """Return the event that shows a message, waiting for it if need be."""
        return self.bot.wait_for("Message", PATIENCE, lambda e: e["id"] == message_id and shows(e))

    def hears(self, receipt: str, message_id: str) -> Event:
        """Return the receipt of that type for a message, waiting for it if need be."""

        def wanted(event: Event) -> bool:
            return event["type"] == receipt and message_id in event["ids"]

        return self.bot.wait_for("Receipt", PATIENCE, wanted)

    def texts(self, after: int = -1) -> list[str]:
        """Return what the bot has shown so far, in the order in which it did."""
        return [e["text"] for e in self.bot.events[after + 1 :] if e["event"] == "Message" and shows(e)]


@dataclass(frozen=True)
class Contact:
    """Somebody with nothing but a phone."""

    number: str
    sandbox: SandboxClient

    def write(self, to: str, text: str) -> str:
        """Send a text to a number or a group; return the message's id."""
        return self.sandbox.send_text(self.number, to, text)

    def gets(self, message_id: str) -> dict[str, Any]:
        """Return a message from the phone's inbox, waiting for it if need be; it must be there once."""
        return in_inbox(self.sandbox, self.number, message_id)


def bare(address: str) -> str:
    """Write a number as bots are told it; a group's address stays as it is."""
    return address.removeprefix("+")


def shows(event: Event) -> bool:
    """Tell whether a Message event has anything to show; a group's keys come as messages too."""
    return bool(event["text"] or event["media"])


def in_inbox(sandbox: SandboxClient, number: str, message_id: str) -> dict[str, Any]:
    """Return a message from a phone's inbox, waiting for it if need be; it must be there once."""
    sandbox.wait_for("received", PATIENCE, phone=number, id=message_id)
    (message,) = [message for message in sandbox.inbox(number) if message["id"] == message_id]
    return message


def lid(sandbox: SandboxClient, number: str) -> str:
    """Return the hidden address of a number."""
    (address,) = [phone["lid"] for phone in sandbox.phones() if phone["phone"] == number]
    return str(address)


def device_facts(sandbox: SandboxClient, account: Linked) -> dict[str, Any]:
    """Return what the sandbox knows of an account's bot, such as how many stanzas and prekeys it has."""
    (phone,) = [phone for phone in sandbox.phones() if phone["phone"] == account.number]
    (facts,) = [device for device in phone["devices"] if device["device"] == account.device]
    return dict(facts)


def new_account(bot: NeonizeProcess, sandbox: SandboxClient, number: str) -> Account:
    """Link a bot that has just been started."""
    return Account(**vars(link(bot, sandbox, number)))


@contextmanager
def own_account(
    sandbox: SandboxProcess, number: str, folder: Path, *, download: bool = False
) -> Iterator[Account]:
    """Start and link a bot that several tests share."""
    with NeonizeProcess(folder / "bot.sqlite3", sandbox.environment(), download=download) as bot:
        yield new_account(bot, sandbox.client, number)


def wait_until_confirmed(account: Account, sandbox: SandboxClient) -> None:
    """Wait until an account's bot has confirmed all it was sent: it does so after it has shown it.

    What it has not confirmed when it ends comes again.
    """
    wait_until(lambda: device_facts(sandbox, account)["queued"] == 0, "not all is confirmed")


def go_away(account: Account, sandbox: SandboxClient, *, kill: bool = False) -> None:
    """End an account's bot once it has confirmed all, or kill it at once; wait until the sandbox notices."""
    connection = devices(sandbox, account.number)[account.device]
    if kill:
        account.bot.kill()
    else:
        wait_until_confirmed(account, sandbox)
        account.bot.stop()
    if connection is not None:
        sandbox.wait_for("closed", PATIENCE, connection=connection)


def come_back(account: Account, bot: NeonizeProcess) -> Account:
    """Bring an account online with a new process, and wait until it has all that waited for it."""
    bot.command("connect")
    bot.wait_for("OfflineSyncCompleted", PATIENCE)
    return Account(bot, account.number, account.device)


def settle(account: Account, sender: Account | Contact) -> None:
    """Wait until everything sent to an account before now has been shown: a last message says so."""
    account.gets(sender.write(account.number, f"that was all ({next(_markers)})"))
