"""Where commands look for the service: where the service reads that it is, however the file is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import COMMAND, Cli

from orchestrator.control.client import Client
from orchestrator.errors import ConfigError, ExitCode, NoSuchAccount


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def command(cli: Cli, *arguments: str) -> list[str]:
    """Return a command that has to find out from the configuration where the service is."""
    return [*COMMAND, "--config", str(cli.config), *arguments]


SPELLINGS = {
    "byte-order mark": "\ufeffstate_dir: {state}\naccounts: {{a: {{}}}}\n",
    "quoted key": '"state_dir": {state}\naccounts: {{a: {{}}}}\n',
    "escaped key": '"state\\x5fdir": {state}\naccounts: {{a: {{}}}}\n',
    "comment before JSON": '# ours\n{{"state_dir": "{state}", "accounts": {{"a": {{}}}}}}\n',
    "document start": '--- {{state_dir: "{state}", accounts: {{a: {{}}}}}}\n',
    "indented": "   state_dir: {state}\n   accounts:\n     a: {{}}\n",
    "merge": "<<: {{state_dir: {state}}}\naccounts: {{a: {{}}}}\n",
    "value on lines": "accounts: {{a: {{}}}}\nstate_dir: >-\n  {state}\n",
    "old Mac": "accounts: {{a: {{}}}}\rstate_dir: {state}\r",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_an_account_is_removed_from_the_service_that_runs_it(cli: Cli, text: str) -> None:
    cli.config.write_text(text.format(state=cli.state), newline="")
    session = cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")
        (account,) = json.loads(cli.run(command(cli, "list", "--json")).stdout)
        assert account["state"] == "connected"
        cli.run(command(cli, "stop", "a"))
        cli.run(command(cli, "start", "a"))
        cli.until("a", "connected")
        cli.config.write_text(f"state_dir: {cli.state}\naccounts: {{a: {{}}}}\n")  # one that can be edited
        cli.run(command(cli, "remove", "a", "--yes"))
        with pytest.raises(NoSuchAccount):
            Client(cli.state / "control.sock").call("explain", name="a")
    assert not session.exists()
    assert list((cli.state / "quarantine").glob("a-*"))
    assert not (cli.folder / ".local").exists()  # the usual place was not even looked at


@pytest.fixture
def running(cli: Cli) -> Iterator[Cli]:
    """A service whose configuration is about to be spoilt."""
    cli.config.write_text(f"accounts: {{a: {{}}}}\nstate_dir: {cli.state}\n")
    with cli.service():
        yield cli


ALL = (["list"], ["stop", "a"], ["reload"], ["explain", "a"], ["qr", "a"], ["repair", "a"], ["remove", "a"])


def test_a_file_that_does_not_tell_where_the_service_is_is_an_error(running: Cli) -> None:
    cli = running
    good = cli.config.read_text()
    spoilt: dict[str, str | bytes] = {
        "found an empty file": "",
        "not valid YAML": "accounts: [\n",
        "expected text in UTF-8, found the byte": b"\xff" + good.encode(),
        "expected text, found binary data": good.encode("utf-16-le"),
        "expected every key once": f"state_dir: /elsewhere\n{good}",
        "found a text": good.replace(":", ";"),
    }
    for message, text in spoilt.items():
        cli.config.write_bytes(text if isinstance(text, bytes) else text.encode())
        for arguments in ALL:
            said = cli.run(command(cli, *arguments), code=1).stderr
            assert message in said
            assert "name the state folder with --state-dir" in said
            assert "not running" not in said
        cli("list")  # with --state-dir
    cli.config.unlink()
    for arguments in ALL:
        assert "there is no such file" in cli.run(command(cli, *arguments), code=1).stderr
    cli.config.mkdir()
    assert "expected a file, found a folder" in cli.run(command(cli, "stop", "a"), code=1).stderr
    cli.config.rmdir()
    os.mkfifo(cli.config)
    assert "found a pipe" in cli.run(command(cli, "stop", "a"), code=1).stderr


def test_what_is_wrong_elsewhere_in_the_file_does_not_matter(running: Cli) -> None:
    text = running.config.read_text()
    for wrong in ("nonsense: 1\n", "nonsense: [\n", "quarantine_days: x\n"):
        running.config.write_text(text + wrong)
        (account,) = json.loads(running.run(command(running, "list", "--json")).stdout)
        assert account["state"] != "stopped"
        running.run(command(running, "stop", "a"))
        running.run(command(running, "start", "a"))


def test_a_file_that_is_good_and_names_no_folder_means_that_no_service_runs(cli: Cli) -> None:
    for text in ("accounts: {a: {}}\n", "# state_dir: /x\naccounts: {a: {}}\n", "nonsense: 1\n"):
        cli.config.write_text(text)
        assert "not running" in cli.run(command(cli, "stop", "a"), code=ExitCode.NOT_RUNNING).stderr
    cli.config.unlink()
    # Nothing names a configuration, and none is there.
    assert "not running" in cli.run([*COMMAND, "stop", "a"], code=ExitCode.NOT_RUNNING).stderr
    cli.run(command(cli, "add", "a"))
    assert "a: {}" in cli.config.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
def test_a_file_that_may_not_be_read_is_an_error(cli: Cli) -> None:
    from orchestrator.cli.invocation import Places

    cli.config.write_text(f"state_dir: {cli.state}\naccounts: {{}}\n")
    cli.config.chmod(0o600)
    for folder in (cli.folder, *list(cli.folder.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="this user may not read it"):
            Places(str(cli.config)).service()
    finally:
        os.seteuid(0)


def test_reload_says_that_another_state_folder_needs_a_restart(cli: Cli) -> None:
    cli.config.write_text(f"state_dir: {cli.state}\naccounts: {{a: {{}}}}\n")
    other = cli.folder / "other"
    cli.names_state = False
    with cli.service():
        cli.names_state = True
        assert cli("reload").stdout == "nothing has changed\n"
        cli.config.write_text(f"state_dir: {other}\naccounts: {{a: {{}}}}\n")
        for _ in range(2):  # for as long as it is so
            assert cli("reload").stdout == "takes effect when the service restarts: state_dir\n"
        said = cli.run(command(cli, "reload"), code=ExitCode.NOT_RUNNING).stderr
        assert (
            "if `state_dir:` was changed while the service runs, name the old folder with --state-dir" in said
        )
        cli.config.write_text(f"state_dir: {cli.state}\naccounts: {{a: {{}}}}\n")
        assert cli("reload").stdout == "nothing has changed\n"
        cli.config.write_text("accounts: {a: {}}\n")
        assert cli("reload").stdout == "takes effect when the service restarts: state_dir\n"


def test_a_folder_that_the_command_line_names_is_not_the_files_business(cli: Cli) -> None:
    cli.configure("a: {}")
    with cli.service():  # with --state-dir
        cli.configure("a: {}", top="state_dir: /elsewhere\n")
        assert cli("reload").stdout == "nothing has changed\n"


# Texts and arguments


def test_a_text_that_begins_with_a_dash(cli: Cli) -> None:
    cli.configure("a: {}")
    to = ("--to", "+4915100000001")
    for text in ("-5 degrees", "--Hello", "-x"):
        said = cli("send", "a", *to, text, code=ExitCode.USAGE).stderr
        assert "Put -- before a TEXT that begins with a dash" in said
        assert "`orchestrator send … -- '-5 degrees'`" in said
        assert "not running" in cli("send", "a", *to, "--", text, code=ExitCode.NOT_RUNNING).stderr
    assert "begins with a dash" not in cli("stop", "-x", code=ExitCode.USAGE).stderr
    said = cli("sandbox", "send", "--from", "+4915100001", *to, "-5", code=ExitCode.USAGE).stderr
    assert "`orchestrator sandbox send … -- '-5 degrees'`" in said
    assert "a number without +" in cli("send", "a", "--to", "-4915100000001", "hi", code=2).stderr


def test_dashes_that_are_none_are_named(cli: Cli) -> None:
    cli.configure("a: {}")
    for arguments in (
        ["list", "\u2013json"],
        ["\u2014help"],
        ["add", "x", "\u2212-disabled"],
        ["reload", "\u2013x"],
    ):
        code = ExitCode.NO_SUCH_ACCOUNT if arguments[0] == "list" else ExitCode.USAGE
        assert f"U+{ord(arguments[-1][0]):04X} (" in cli(*arguments, code=code).stderr


def test_names_that_only_look_right_are_told_from_those_that_are(cli: Cli) -> None:
    cli.configure("support: {}")
    look_alike = "supp\u043ert"
    named = "U+043E (CYRILLIC SMALL LETTER O) as character 5"
    assert named in cli("add", look_alike, code=ExitCode.USAGE).stderr
    for arguments in (
        ["list", look_alike],
        ["explain", look_alike],
        ["remove", look_alike],
        ["repair", look_alike],
    ):
        assert named in cli(*arguments, code=ExitCode.NO_SUCH_ACCOUNT).stderr
    with cli.service():
        for arguments in (
            ["list", look_alike],
            ["stop", look_alike],
            ["qr", look_alike],
            ["remove", look_alike],
        ):
            assert named in cli(*arguments, code=ExitCode.NO_SUCH_ACCOUNT).stderr


def test_a_number_is_written_to_the_file_without_what_was_between_its_digits(cli: Cli) -> None:
    cli("add", "a", "--phone", "+55 (11) 98765-4321")
    assert 'phone: "+5511987654321"' in cli.config.read_text()
    said = cli("add", "b", "--phone", "+55 11 8765 4321", code=1).stderr
    assert "that is the number of the account a" in said
