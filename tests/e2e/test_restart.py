"""A sandbox that ends, in good order or not, and comes back with its state: its clients must not mind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import StartNeonize
from support.conversation import (
    Account,
    Contact,
    come_back,
    device_facts,
    go_away,
    new_account,
    settle,
    wait_until_confirmed,
)
from support.linked import PATIENCE, fortunes
from support.neonize_process import NeonizeProcess

from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

FLEET = 20
AT_ONCE = 4
"""How many clients of the fleet are linked at the same time; each takes more than a second of CPU."""
LONG_PATIENCE = 180.0


def wait_for_return(account: Account, seen: int) -> None:
    """Wait until a bot, which is left to itself, has lost its connection and has a new one."""
    account.bot.wait_for("Disconnected", PATIENCE, after=seen)
    account.bot.wait_for("Connected", LONG_PATIENCE, after=seen)


def came_without_code(bot: NeonizeProcess, after: int) -> bool:
    return not [e for e in bot.events[after + 1 :] if e["event"] in ("qr", "PairStatus", "LoggedOut")]


def events(sandbox: SandboxClient, name: str) -> list[dict[str, object]]:
    return [event for event in sandbox.events() if event["event"] == name]


def test_after_a_crash_everything_is_as_it_was(
    fresh_sandbox: SandboxProcess, neonize: StartNeonize, make_number: Callable[[], str]
) -> None:
    client = fresh_sandbox.client
    ann = new_account(neonize("ann", sandbox=fresh_sandbox), client, make_number())
    bob = new_account(neonize("bob", sandbox=fresh_sandbox), client, make_number())
    contact = Contact(make_number(), client)
    client.add_phone(contact.number, "Carol")
    ann.gets(contact.write(ann.number, "hello Ann"))
    bob.gets(contact.write(bob.number, "hello Bob"))
    contact.gets(ann.write(contact.number, "hello Carol"))
    bob.gets(ann.write(bob.number, "hello Bob, it's Ann"))
    go_away(bob, client)
    waiting = contact.write(bob.number, "when you are back")
    before = {account.number: device_facts(client, account)["prekeys"] for account in (ann, bob)}
    seen = ann.bot.last_index()

    fresh_sandbox.kill()
    fresh_sandbox.start()

    wait_for_return(ann, seen)
    assert came_without_code(ann.bot, seen)
    bob = come_back(bob, neonize("bob", sandbox=fresh_sandbox))
    assert came_without_code(bob.bot, -1)
    assert bob.gets(waiting)["text"] == "when you are back"
    settle(bob, contact)
    assert bob.texts().count("when you are back") == 1
    wait_until_confirmed(bob, client)

    # The sessions go on: nothing has to be sent twice, and no keys are used up or uploaded.
    assert ann.gets(contact.write(ann.number, "still there?"))["text"] == "still there?"
    assert contact.gets(ann.write(contact.number, "yes"))["text"] == "yes"
    assert bob.gets(ann.write(bob.number, "and you?"))["text"] == "and you?"
    assert ann.gets(bob.write(ann.number, "me too"))["text"] == "me too"
    assert {account.number: device_facts(client, account)["prekeys"] for account in (ann, bob)} == before
    assert events(client, "prekeys") == []
    assert events(client, "phone-undecryptable") == []
    assert [event for event in events(client, "receipt") if event["type"] == "retry"] == []
    for account in (ann, bob):
        assert "UndecryptableMessage" not in fortunes(account.bot)


def test_what_has_arrived_does_not_come_again_after_a_crash(
    fresh_sandbox: SandboxProcess, neonize: StartNeonize, make_number: Callable[[], str]
) -> None:
    client = fresh_sandbox.client
    ann = new_account(neonize(sandbox=fresh_sandbox), client, make_number())
    contact = Contact(make_number(), client)
    client.add_phone(contact.number, "Carol")
    since = client.last_event()
    message = contact.write(ann.number, "once")
    client.wait_for("receipt", PATIENCE, since, id=message)
    seen = ann.bot.last_index()
    fresh_sandbox.kill()
    fresh_sandbox.start()
    wait_for_return(ann, seen)
    settle(ann, contact)
    assert ann.texts().count("once") == 1


@contextmanager
def fleet(make_number: Callable[[], str], folder: Path) -> Iterator[tuple[SandboxProcess, list[Account]]]:
    """Link twenty clients, which stay online, in a sandbox of their own."""
    with SandboxProcess() as sandbox, ExitStack() as running:
        environment = sandbox.environment()

        def join(number: str) -> Account:
            bot = NeonizeProcess(folder / f"{number}.sqlite3", environment)
            bot.start()
            running.callback(bot.stop)
            return new_account(bot, sandbox.client, number)

        with ThreadPoolExecutor(AT_ONCE) as helpers:
            accounts = list(helpers.map(join, [make_number() for _ in range(FLEET)]))
        yield sandbox, accounts


def online(sandbox: SandboxClient) -> Mapping[str, int]:
    """Return who is online: number of the phone to that of the connection."""
    return {
        phone["phone"]: device["connection"]
        for phone in sandbox.phones()
        for device in phone["devices"]
        if device["online"]
    }


@pytest.mark.timeout(600)
def test_twenty_clients_are_all_back_after_each_restart(
    make_number: Callable[[], str], tmp_path: Path
) -> None:
    with fleet(make_number, tmp_path) as (sandbox, accounts):
        everybody = {account.number for account in accounts}
        assert set(online(sandbox.client)) == everybody
        for end in (sandbox.stop, sandbox.kill):  # by SIGTERM and by SIGKILL
            seen = {account.number: account.bot.last_index() for account in accounts}
            end()
            sandbox.start()
            for account in accounts:
                wait_for_return(account, seen[account.number])
                assert came_without_code(account.bot, seen[account.number])
            back = online(sandbox.client)
            assert set(back) == everybody
            assert len(set(back.values())) == FLEET
            assert events(sandbox.client, "prekeys") == []
            assert events(sandbox.client, "error") == []
        assert "Traceback" not in sandbox.log.read_text()
