"""What a command imports decides how fast it starts: the commands of every day import only what they need."""

import sys
from collections.abc import Collection
from pathlib import Path

import pytest
from support.cli import COMMAND, Cli
from support.inboxes import append, writing

from orchestrator.cli import COMMANDS

HEAVY = {
    "PIL", "asyncio", "concurrent", "cryptography", "email", "http", "httpx", "importlib.metadata",
    "logging", "multiprocess", "neonize", "orchestrator.accounts.machine", "orchestrator.config.reader",
    "orchestrator.service", "orchestrator.service.supervisor", "orchestrator.system.redaction",
    "psutil", "pydantic", "qrcode", "random", "rich", "ruamel", "secrets", "shlex", "ssl", "tempfile",
    "unittest", "xml", "yaml",
}  # fmt: skip
"""Takes long to import, and is needed by few commands."""
OFFLINE = {
    "orchestrator.config.reader", "yaml",
    "email", "importlib.metadata", "pydantic", "random", "secrets", "tempfile",  # of pydantic
}  # fmt: skip
"""What reads the configuration."""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def imported(cli: Cli, *arguments: str, code: int = 0) -> set[str]:
    """Return the modules that a command imports."""
    line = [sys.executable, "-X", "importtime", *COMMAND[1:], *cli.line(*arguments)[len(COMMAND) :]]
    done = cli.run(line, code=code)
    found = {
        text.rpartition("|")[2].strip()
        for text in done.stderr.splitlines()
        if text.startswith("import time:")
    }
    assert "orchestrator.cli" in found
    return found


def needless(cli: Cli, *arguments: str, code: int = 0, but: Collection[str] = ()) -> set[str]:
    """Return what a command imports that is heavy or belongs to another command."""
    own = {COMMANDS[one] for one in arguments[:1] if one in COMMANDS}
    others = {f"orchestrator.cli.{module}" for module in set(COMMANDS.values()) - own}
    return imported(cli, *arguments, code=code) & (HEAVY | others) - set(but)


def test_commands_that_ask_the_service_import_only_what_they_need(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")
        assert not needless(cli, "list", "--json")
        assert not needless(cli, "list", but={"rich", "random"})
        assert not needless(cli, "explain", "a")
        assert not needless(cli, "qr", "a", code=1)
        assert not needless(cli, "start", "a")
        assert not needless(cli, "restart", "a")
        assert not needless(cli, "stop", "a")
        assert not needless(cli, "reload")
        assert not needless(cli, "ping")


def test_without_a_service_the_list_reads_no_configuration_that_the_last_service_has_read(cli: Cli) -> None:
    cli.configure("a: {phone: '+4915100001'}")
    with cli.service():
        pass
    assert not needless(cli, "list", "--json")
    assert not needless(cli, "list", but={"rich", "random"})
    assert not needless(cli, "explain", "a", but={"logging", "orchestrator.system.redaction"})


def test_commands_that_find_no_service_import_only_what_they_need(cli: Cli) -> None:
    cli.configure("a: {phone: '+4915100001'}")
    assert not needless(cli, "list", "--json", but=OFFLINE)
    assert not needless(cli, "list", but={*OFFLINE, "rich", "random"})
    assert not needless(cli, "explain", "a", but={*OFFLINE, "logging", "orchestrator.system.redaction"})
    assert not needless(cli, "start", "a", code=4)
    assert not needless(cli, "ping", code=4)


def test_doctor_looks_at_a_machine_on_which_no_process_can_be_made(cli: Cli) -> None:
    cli.configure("a: {}")
    # `multiprocess` wants a folder for temporary files when it is imported. Whether there is one, is a check.
    assert "multiprocess" not in imported(cli, "doctor", "--json", "--only", "machine")


def test_messages_are_read_without_neonize_and_without_the_configuration(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    cli.configure("a: {}")
    assert not needless(cli, "history", but={"logging", "orchestrator.system.redaction"})
    assert not needless(cli, "messages", "a", "--json", but={"logging"})
    assert not needless(cli, "messages", "a", but={"logging"})
    assert not needless(cli, "trace", "3EB0A10", but={"logging"})


def test_help_and_mistakes_import_only_what_they_need(cli: Cli) -> None:
    assert not needless(cli, "--version")
    assert not needless(cli, "lits", code=2)
    assert not needless(cli, "list", "--help")
    assert not needless(cli, "messages", "--help")
    assert not needless(cli, "trace", "--help")
    assert not needless(cli, "sandbox", "--help")
    # The first sentences of all commands are in all modules.
    assert not imported(cli, "--help") & HEAVY
