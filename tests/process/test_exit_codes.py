"""The same mistake ends every command with the same code: 2 for wrong usage, 5 for an unknown account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Cli
from support.terminal import Terminal

NUMBER = "+4915100000002"
SEND = ("send", "a", "--to", NUMBER)

UNKNOWN: dict[str, tuple[str, ...]] = {
    "config show": ("config", "show", "NAME"),
    "disable": ("disable", "NAME"),
    "enable": ("enable", "a", "NAME"),
    "explain": ("explain", "NAME"),
    "history": ("history", "NAME"),
    "link": ("link", "NAME"),
    "list": ("list", "NAME"),
    "media": ("media", "NAME", "17"),
    "messages": ("messages", "NAME"),
    "outbox": ("outbox", "NAME"),
    "outbox --take-back": ("outbox", "NAME", "--take-back", "1"),
    "page --account": ("page", "--account", "NAME"),
    "qr": ("qr", "NAME"),
    "quarantine purge": ("quarantine", "purge", "NAME", "--yes"),
    "remove": ("remove", "NAME", "--yes"),
    "remove --unlink": ("remove", "NAME", "--unlink", "--yes"),
    "rename": ("rename", "NAME", "new"),
    "repair": ("repair", "NAME"),
    "report": ("report", "NAME"),
    "repair --no-wait": ("repair", "NAME", "--no-wait"),
    "restart": ("restart", "NAME"),
    "restore": ("restore", "NAME"),
    "set": ("set", "NAME", "note=x"),
    "send": ("send", "NAME", "--to", NUMBER, "Hello"),
    "start": ("start", "NAME"),
    "stop": ("stop", "NAME"),
    "token add --account": ("token", "add", "t", "--scope", "read", "--account", "NAME"),
    "wait": ("wait", "NAME"),
    "trace": ("trace", "3EB0A1B2C3D4E5F60718", "NAME"),
}
"""Commands that name an account that there is to be."""

WRONG: dict[str, tuple[tuple[str, ...], ...]] = {
    "a name that no account or token can have": (
        ("add", "Bad Name"),
        ("rename", "a", "Bad Name"),
        ("token", "add", "Bad Name", "--scope", "read"),
    ),
    "a phone number": (
        ("add", "new", "--phone", "12"),
        ("send", "a", "--to", "12", "Hello"),
        ("send", "a", "--to", "somebody", "Hello"),
        ("send", "a", "--to", "12@nowhere", "Hello"),
    ),
    "a duration": (
        (*SEND, "--expires", "soon", "Hello"),
        ("disable", "a", "--until", "soon"),
        ("disable", "a", "--until", "2020-01-01"),
        ("history", "--since", "soon"),
        ("history", "--since", "2120-01-01"),
        ("list", "--check", "--for", "soon"),
        ("page", "--for", "soon"),
        ("quarantine", "purge", "--older-than", "soon"),
        ("report", "--since", "soon"),
        ("restart", "--all", "--wait", "--for", "soon"),
        ("token", "add", "t", "--scope", "read", "--expires", "soon"),
        ("wait", "a", "--for", "soon"),
    ),
    "a file that cannot be read": (
        ("add", "new", "--proxy-file", "gone"),
        (*SEND, "--file", "gone"),
        (*SEND, "--file", "."),
    ),
    "a text": ((*SEND, ""), (*SEND, "x" * 4097), ("add", "new", "--device-name", "")),
    "a word of a list": (
        (*SEND, "--file", "accounts.yaml", "--kind", "song"),
        ("consumer", "reset", "crm", "--from", "soon"),
        ("page", "--scope", "all"),
        ("run", "--log-level", "loud"),
        ("set", "a", "colour=red"),
        ("set", "a", "enabled=perhaps"),
        ("stop", "--tag", "nobody"),
        ("token", "add", "t", "--scope", "all"),
        ("wait", "a", "--state", "happy"),
        ("wait", "--tag", "nobody"),
    ),
    "a number": (
        ("explain", "a", "--entries", "-1"),
        ("media", "a", "first"),
        ("messages", "a", "--limit", "x"),
        ("outbox", "a", "--row", "first"),
        (*SEND, "--wait", "99", "Hello"),
    ),
    "an identifier or a key": ((*SEND, "--key", "a b", "Hello"), (*SEND, "--reply-to", "a b", "Hello")),
    "what cannot be given together": (
        ("add", "new", "--proxy", "-", "--proxy-file", "gone"),
        ("quarantine", "purge", "a", "--all"),
        ("remove", "a", "--unlink", "--no-unlink"),
        ("restore", "a", "--json"),
        ("start", "a", "--all"),
        ("wait", "a", "--all"),
    ),
    "something that is missing": (
        ("add",),
        ("quarantine", "purge"),
        ("rename", "a"),
        ("send", "a", "Hello"),
        SEND,
        ("disable",),
        ("enable",),
        ("set", "a"),
        ("set", "a", "note"),
        ("set", "note=x"),
        ("set", "a", "note=x", "memory_limit"),
        ("start",),
        ("wait",),
    ),
    "a command or an option": (("adds", "a"), ("quarantine", "empty"), ("restore", "--every")),
}
"""Ways to use a command wrongly, each with the commands in which they are possible."""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cli = Cli(tmp_path_factory.mktemp("codes"))
    cli.configure("a: {messages: {allow: '*'}}")
    with cli.service():
        cli.until("a", "pairing")
        yield cli


@pytest.mark.parametrize("command", UNKNOWN)
def test_an_account_that_there_is_not(cli: Cli, command: str) -> None:
    name = "nobody" if len(command) % 2 else "No Body"  # as a mistyped name may be none at all
    said = cli(*(name if word == "NAME" else word for word in UNKNOWN[command]), code=5).stderr
    assert f'there is no account "{name}"' in said


@pytest.mark.parametrize("mistake", WRONG)
def test_a_command_that_is_used_wrongly(cli: Cli, mistake: str) -> None:
    before = cli.config.read_text()
    for arguments in WRONG[mistake]:
        said = cli(*arguments, code=2).stderr
        assert "rror: " in said or said.startswith("orchestrator: ")
        assert NUMBER not in said
    assert cli.config.read_text() == before
    assert list(cli.accounts()) == ["a"]


def test_wrong_usage_is_the_same_without_a_service(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    for arguments in (
        ("send", "a", "--to", "12", "Hello"),
        ("add", "new", "--phone", "12"),
        ("token", "add", "t", "--scope", "read", "--expires", "soon"),
    ):
        cli(*arguments, code=2)
    cli("repair", "nobody", code=5)
    cli("restore", "nobody", code=5)


@pytest.mark.parametrize("arguments", [("remove", "nobody"), ("remove", "nobody", "--unlink")])
def test_nobody_is_asked_about_an_account_that_there_is_not(cli: Cli, arguments: tuple[str, ...]) -> None:
    with Terminal(cli.line(*arguments), cli.environment, cli.folder) as terminal:
        assert terminal.exit_code() == 5
        assert 'there is no account "nobody"' in terminal.text
        assert "[y/N]" not in terminal.text


def test_nobody_is_asked_about_what_is_not_possible(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    with Terminal(cli.line("remove", "a", "--unlink"), cli.environment, cli.folder) as terminal:
        assert terminal.exit_code() == 4
        assert "[y/N]" not in terminal.text
