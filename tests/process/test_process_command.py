"""The service's own process: where its log is, how it is ended, and the file of `run --log-file`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cli import Cli, wait_for
from support.terminal import CONTROLLED, Terminal

from orchestrator.control.client import Client
from orchestrator.errors import ExitCode, OrchestratorError
from orchestrator.service import who
from orchestrator.store import realm


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    return cli


# logs


def test_the_log_in_a_file_is_found(cli: Cli) -> None:
    with cli.service() as process:
        said = cli("logs").stdout
        about = Client(cli.state / "control.sock").call("process")
    assert said.splitlines()[0] == f"the log is {cli.log}"
    assert f"tail -n 50 -F -- {cli.log}" in said
    assert about["pid"] == process.pid
    assert (about["log"], about["path"], about["unit"]) == ("file", str(cli.log), None)


def test_the_log_on_a_terminal_is_found(cli: Cli) -> None:
    line = [*CONTROLLED, *cli.line("run")]
    with Terminal(line, cli.environment, cli.folder) as terminal:
        terminal.until(lambda text: "the control socket is" in text, "the service is ready")
        said = cli("logs").stdout
        assert f"on the terminal in which the service runs: process {terminal.pid} of" in said
        assert "/dev/pts/" in said
        failed = cli("logs", "--follow", code=ExitCode.FAILED)
        assert "on the terminal in which the service runs" in failed.stderr
        ended = cli("shutdown").stdout
        assert f"process {terminal.pid} of" in ended
        assert ended.splitlines()[-1] == "the service has ended"
        assert terminal.exit_code() == 0


def test_without_a_service_and_a_unit_there_is_no_log(cli: Cli) -> None:
    failed = cli("logs", code=ExitCode.NOT_RUNNING)
    assert "the service is not running" in failed.stderr


def test_the_log_in_a_file_is_followed(cli: Cli) -> None:
    with logging_to_file(cli), cli.popen("logs", "--follow", stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        assert any("the control socket is" in line for line in follower.stdout)
        cli("stop", "a")
        assert any("a: " in line and "stopped" in line for line in follower.stdout)
        follower.kill()
        cli("shutdown")


# shutdown


def test_a_service_is_shut_down_and_gone_when_the_command_returns(cli: Cli) -> None:
    cli.has_session("a")
    with cli.service() as process:
        cli.until("a", "connected")
        assert "runs 1 account;" in cli.log.read_text()
        said = cli("shutdown").stdout
        assert f"the service is stopping: process {process.pid} of" in said
        assert said.splitlines()[-1] == "the service has ended"
        cli("ping", code=ExitCode.NOT_RUNNING)
        assert process.wait(10) == 0
    (line,) = (line for line in cli.log.read_text().splitlines() if "the command shutdown" in line)
    by = who.peer(os.getpid(), os.geteuid())
    assert line.endswith(f"the command shutdown by {by}: the service is stopping")


def test_nothing_is_shut_down_where_nothing_runs(cli: Cli) -> None:
    assert "the service is not running" in cli("shutdown", code=ExitCode.NOT_RUNNING).stderr


# run --log-file


def log_of(cli: Cli) -> Path:
    return cli.folder / "own.log"


@contextmanager
def logging_to_file(cli: Cli) -> Iterator[subprocess.Popen[str]]:
    """Run a service whose log is in a file of its own; the test ends it."""
    own = log_of(cli)
    with cli.popen("run", "--log-file", "own.log", stderr=subprocess.PIPE) as process:
        wait_for(lambda: own.exists() and "the control socket is" in own.read_text(), "the service is ready")
        yield process


def test_the_file_is_private_and_the_terminal_says_where_it_is(cli: Cli) -> None:
    own = log_of(cli)
    with logging_to_file(cli) as process:
        assert stat.S_IMODE(own.stat().st_mode) == 0o600
        assert f"the log is {own}" in cli("logs").stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert said == f"orchestrator: the log goes to {own}\n"
    assert own.read_text().rstrip().endswith("the service has stopped")


@pytest.mark.parametrize("how", ["reload", "SIGHUP"])
def test_the_file_is_opened_anew_after_a_rotation(cli: Cli, how: str) -> None:
    """Lines of accounts that run since before the rotation go into the new file, too."""
    own = log_of(cli)
    with logging_to_file(cli) as process:
        own.rename(cli.folder / "own.log.1")
        if how == "reload":
            cli("reload")
        else:
            process.send_signal(signal.SIGHUP)
        wait_for(own.exists, "there is a new file")
        assert stat.S_IMODE(own.stat().st_mode) == 0o600
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0
    assert "the service has stopped" in own.read_text()
    assert "the service has stopped" not in (cli.folder / "own.log.1").read_text()


@pytest.mark.parametrize("what", ["folder", "link", "open to others", "missing folder", "pipe"])
def test_a_file_that_is_not_safe_is_refused(cli: Cli, what: str) -> None:
    own = log_of(cli)
    if what == "folder":
        own.mkdir()
    elif what == "link":
        (cli.folder / "elsewhere").touch()
        own.symlink_to("elsewhere")
    elif what == "open to others":
        own.touch()
        own.chmod(0o666)
    elif what == "pipe":
        os.mkfifo(own)
    else:
        own = cli.folder / "missing" / "own.log"
    failed = cli("run", "--log-file", str(own), code=ExitCode.FAILED)
    assert str(own) in failed.stderr.splitlines()[-1]


def test_a_log_for_the_journal_needs_no_file(cli: Cli) -> None:
    failed = cli("run", "--log-file", "own.log", "--log-format", "journal", code=ExitCode.USAGE)
    assert "--log-format journal" in failed.stderr


def test_what_ends_the_start_is_in_the_file_and_on_the_terminal(cli: Cli) -> None:
    (cli.state).mkdir(mode=0o700)
    (cli.state / "sessions").touch()
    failed = cli("run", "--log-file", "own.log", code=ExitCode.FAILED)
    assert "sessions" in failed.stderr


# wait


def test_waiting_for_accounts_that_are_connected_is_no_waiting(cli: Cli) -> None:
    cli.has_session("a")
    with cli.service():
        cli("wait", "a")
        cli("wait", "--all", "--for", "1m")


def test_waiting_ends_with_the_time_and_says_how_each_account_is(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    cli.has_session("b")
    with cli.service():
        cli.until("a", "pairing")
        cli.until("b", "connected")
        failed = cli("wait", "a", "b", "--for", "50ms", code=ExitCode.NOT_CONNECTED)
        (line,) = failed.stderr.splitlines()
        assert line.startswith("orchestrator: a is pairing")


def test_waiting_ends_at_once_where_it_cannot_help(cli: Cli) -> None:
    cli.configure("a: {}", "idle: {enabled: false}")
    with cli.service():
        cli("stop", "a")
        failed = cli("wait", "a", code=ExitCode.FAILED)
        assert "a is stopped" in failed.stderr
        assert "waiting does not help" in failed.stderr
        assert f"`orchestrator --config {cli.config} --state-dir {cli.state} explain a`" in failed.stderr
        assert "idle is disabled" in cli("wait", "idle", code=ExitCode.FAILED).stderr
        cli("wait", "a", "--state", "stopped")


def test_waiting_for_a_pattern_or_a_tag_leaves_out_disabled_accounts(cli: Cli) -> None:
    cli.configure("shop-1: {tags: [berlin]}", "shop-2: {tags: [berlin], enabled: false}", "other: {}")
    cli.has_session("shop-1")
    with cli.service():
        cli("wait", "shop-*")
        cli("wait", "--tag", "berlin")
        cli("wait", "--tag", "berlin", "--state", "disabled", "--for", "50ms", code=ExitCode.NOT_CONNECTED)
        assert "shop-2 is disabled" in cli("wait", "shop-*", "shop-2", code=ExitCode.FAILED).stderr
        nothing = cli("wait", "*-2", code=ExitCode.FAILED).stderr
        assert "nothing to wait for: shop-2 is disabled" in nothing


def test_waiting_for_all_leaves_out_what_an_operator_stopped(cli: Cli) -> None:
    cli.configure("shop-1: {tags: [berlin]}", "shop-2: {tags: [berlin]}")
    cli.has_session("shop-1")
    with cli.service():
        cli("stop", "shop-2")
        cli("wait", "--all", "--for", "1m")
        cli("wait", "--tag", "berlin", "--for", "1m")
        assert "shop-2 is stopped" in cli("wait", "shop-2", code=ExitCode.FAILED).stderr
        nothing = cli("wait", "*-2", code=ExitCode.FAILED).stderr
        assert "nothing to wait for: shop-2 is stopped" in nothing
        cli("stop", "shop-1")
        cli("wait", "shop-*", "--state", "stopped")


def test_waiting_hears_of_a_change(cli: Cli) -> None:
    with cli.service():
        cli.until("a", "pairing")
        with cli.popen("wait", "a", "--state", "stopped") as waiting:
            cli("stop", "a")
            assert waiting.wait(60) == 0


@pytest.mark.parametrize("arguments", [[], ["a", "--all"], ["a", "--for", "soon"], ["a", "--state", "happy"]])
def test_a_wait_that_makes_no_sense(cli: Cli, arguments: list[str]) -> None:
    done = cli.run_any(cli.line("wait", *arguments))
    assert done.returncode in (ExitCode.USAGE, ExitCode.FAILED)
    assert "Traceback" not in done.stderr


def test_waiting_for_an_account_that_is_not_there(cli: Cli) -> None:
    with cli.service():
        cli("wait", "nobody", code=ExitCode.NO_SUCH_ACCOUNT)
    cli("wait", "a", code=ExitCode.NOT_RUNNING)


# link


def test_linking_an_account_that_shows_a_code_changes_nothing(cli: Cli) -> None:
    with cli.service():
        before = cli.until("a", "pairing")["pid"]
        said = cli("link", "a").stdout
        assert "qr a`" in said
        assert cli.accounts()["a"]["pid"] == before


def test_a_stopped_account_is_linked(cli: Cli) -> None:
    with cli.service():
        cli.until("a", "pairing")
        cli("stop", "a")
        cli("link", "a", "--no-wait")
        cli.until("a", "pairing")


@pytest.mark.parametrize("runs", [True, False])
def test_an_account_that_is_linked_is_refused(cli: Cli, runs: bool) -> None:
    cli.has_session("a")
    hint = f"`orchestrator --config {cli.config} --state-dir {cli.state} repair a`"
    if not runs:
        assert hint in cli("link", "a", code=ExitCode.FAILED).stderr
        return
    with cli.service():
        cli.until("a", "connected")
        assert hint in cli("link", "a", code=ExitCode.FAILED).stderr
        with pytest.raises(OrchestratorError) as refused:
            Client(cli.state / "control.sock").call("link", name="a")
        assert refused.value.key == "already_linked"


def test_linking_an_account_that_is_not_there(cli: Cli) -> None:
    cli("link", "nobody", code=ExitCode.NO_SUCH_ACCOUNT)
    with cli.service():
        cli("link", "nobody", code=ExitCode.NO_SUCH_ACCOUNT)


@pytest.mark.parametrize("line", [("list",), ("link", "a", "--no-wait"), ("repair", "a", "--no-wait")])
def test_a_state_folder_of_a_sandbox_is_told_outside_of_its_environment(
    cli: Cli, line: tuple[str, ...]
) -> None:
    cli.environment.pop(realm.VARIABLE, None)
    cli.state.mkdir(mode=0o700)
    assert "sandbox" not in cli(*line).stderr
    realm.note_world(cli.state / "world", "sandbox 0123456789abcdef")
    assert f"warning: the last service on {cli.state} was started in a sandbox's environment" in (
        cli(*line).stderr
    )


# hints


def test_hints_repeat_what_the_command_was_given(cli: Cli) -> None:
    given = f"orchestrator --config {cli.config} --state-dir {cli.state}"
    said = cli("add", "b").stdout
    assert f"`{given} run`" in said
    assert f"`{given} link b`" in said
    assert f"`{given} run`" in cli("ping", code=ExitCode.NOT_RUNNING).stderr
    with cli.service():
        cli.until("a", "pairing")
        assert f"`{given} qr a`" in cli("explain", "a").stdout or "scan " in cli("explain", "a").stdout
        cli("stop", "a")
        assert f"`{given} start a`" in cli("explain", "a").stdout
        explained = json.loads(cli("explain", "a", "--json").stdout)
        assert "`orchestrator start a`" in explained["outlook"]["advice"][0]  # for programs, as it came
