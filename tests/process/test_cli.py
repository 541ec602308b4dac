"""Commands as an operator gives them, in processes of their own; only the children are stand-ins."""

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from support.cli import COMMAND, PATIENCE, STAND_IN, Cli, bare, wait_for
from support.stand_in_orchestrator import NO_STOP_DEADLINE
from support.terminal import Terminal
from typer.testing import CliRunner

from orchestrator import __version__
from orchestrator.cli import app

FIELDS = {
    "name", "state", "since", "reason", "kind", "phone", "pid", "attempt", "next_retry_at", "held",
    "restarts", "uptime_s", "last_seen_at", "phone_seen_at", "phone_unlinks_at", "qr_path", "qr_expires_at",
    "memory_bytes", "cpu_s", "open_files", "threads", "isolation", "stored", "waiting",
    "refused", "lost", "queued", "restricted", "restricted_until", "last_exit",
    "tags", "proxy", "last_in_at", "last_out_at", "note", "disabled_until", "cause", "same_phone",
    "shard", "lease_age_s",
}  # fmt: skip
"""What an account has in ``list --json``."""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


# Help


def test_every_command_has_help_with_an_example(cli: Cli) -> None:
    commands = [
        "run", "add", "remove", "list", "repair", "qr", "start", "stop", "restart", "explain", "reload",
        "doctor", "install-unit", "rename", "restore",
    ]  # fmt: skip
    text = cli("--help").stdout
    for command in commands:
        assert re.search(rf"^  {command} ", text, re.MULTILINE), command
        # Enough of processes: these words come from no other place than those above.
        assert f"orchestrator {command}" in CliRunner().invoke(app, [command, "--help"]).stdout
    assert cli("--version").stdout == f"orchestrator {__version__}\n"


def test_names_are_completed(cli: Cli) -> None:
    cli.configure("support: {}", "sales: {}")

    def complete(*words: str) -> list[str]:
        line = " ".join(["orchestrator", *cli.line(*words)[3:]])
        cli.environment |= {
            "_ORCHESTRATOR_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        return cli.run([*COMMAND]).stdout.split()

    assert complete("explain", "s") == ["support", "sales"]
    assert complete("stop", "support", "s") == ["sales"]
    assert complete("resta") == ["restart"]
    cli.config.write_text("nonsense: [")
    assert complete("explain", "s") == []


# Without a service


def test_the_first_account_makes_the_configuration(cli: Cli) -> None:
    cli.config.unlink(missing_ok=True)
    said = cli("add", "support", "--phone", "+49 (151) 000-0001", "--device-name", "Desk").stdout
    assert "support is in" in said
    assert "orchestrator run" in bare(said)
    text = cli.config.read_text()
    assert "#" in text
    assert '"+491510000001"' in text
    cli.config.write_text(text.replace("support:", "support:  # the front desk"))
    cli("add", "spare", "--disabled", "--proxy", "socks5://user:geheim@127.0.0.1:1080")
    assert "# the front desk" in cli.config.read_text()
    found = cli.accounts()
    assert list(found) == ["support", "spare"]
    assert (found["support"]["state"], found["support"]["reason"]) == (
        "stopped",
        "the service is not running",
    )
    assert found["support"]["phone"] == "+49…01"
    assert cli.accounts("--reveal")["support"]["phone"] == "+491510000001"
    assert found["spare"]["state"] == "disabled"
    assert found["support"].keys() == FIELDS
    assert cli("add", "support", code=1).stderr.startswith("orchestrator: ")
    assert "geheim" not in cli("list").stdout + cli("explain", "spare").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "Support"],
        ["add", "../up"],
        ["add", "a", "--phone", "123"],
        ["add", "a", "--proxy", "ftp://geheim@host:1"],
        ["add", "a", "--memory-limit", "much"],
        ["add", "b", "--tag", "Sales"],
        ["add", "b", *(f"--tag=t{number}" for number in range(21))],
        ["list", "--tag", "nowhere"],
        ["start"],
        ["stop", "a", "--all"],
        ["list", "--for", "5m"],
        ["restart", "a", "--for", "5m"],
        ["list", "--watch", "--needs-person", "--for", "5m"],
        ["status", "--watch", "--check"],
        ["stop", "--tag", "x", "--all"],
        ["list", "--watch", "--check"],
        ["list", "--wide", "--json"],
        ["list", "--wide", "--watch"],
        ["run", "--log-level", "LOUD"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_with_2(cli: Cli, arguments: list[str]) -> None:
    cli.configure("a: {}")
    before = cli.config.read_text()
    assert "geheim" not in cli(*arguments, code=2).stderr
    assert cli.config.read_text() == before


def test_a_wide_list_and_explain_say_what_processes_use(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    header, row = cli("list", "--wide").stdout.splitlines()
    assert " ".join(header.split()) == (
        "NAME STATE SINCE TAGS PID MEMORY CPU FILES THREADS ISOLATED RESTARTS STORED WAITING OUTBOX PHONE"
        " NOTE NEXT REASON"
    )
    assert row.split()[3:10] == ["-"] * 7, "without a service there is no process"
    with cli.service():
        about = cli.until("a", "connected")
        _, row = cli("list", "--wide").stdout.splitlines()
        assert f" {about['pid']} " in row
        assert f" {about['open_files']} " in row
        assert re.search(r" \d+\.\ds ", row), "CPU seconds"
        said = bare(cli("explain", "a").stdout)
        assert f" of CPU time, {about['open_files']} open files, {about['threads']} threads" in said


def test_accounts_are_found_by_their_tags(cli: Cli) -> None:
    cli.configure("a: {tags: [sales, brazil]}", "b: {tags: sales}", "c: {enabled: false}")
    cli.has_session("a")
    cli("add", "d", "--disabled", "--tag", "brazil", "--tag", "on")

    def shown(*arguments: str) -> dict[str, list[str]]:
        found = json.loads(cli("list", "--json", *arguments).stdout)
        return {one["name"]: one["tags"] for one in found}

    def looked() -> None:
        assert shown() == {"a": ["sales", "brazil"], "b": ["sales"], "c": [], "d": ["brazil", "on"]}
        assert [*shown("--tag", "sales")] == ["a", "b"]
        assert [*shown("--tag", "sales", "--tag", "brazil")] == ["a"]
        assert shown("--tag", "on", "--tag", "sales") == {}
        assert cli("list", "--tag", "on", "--tag", "sales").stdout == "no account has all of these tags\n"
        assert [*shown("b", "c", "--tag", "sales")] == ["b"]
        assert " sales,brazil " in cli("list", "--wide").stdout
        assert "sales, brazil" in cli("explain", "a").stdout
        complaint = " ".join(cli("list", "--tag", "sale", code=2).stderr.split())
        assert 'no account has the tag "sale"' in complaint
        assert "brazil, on, sales" in complaint

    looked()
    with cli.service():
        cli.until("a", "connected")
        looked()
        cli("list", "--check", "--tag", "on")
        cli("list", "--check", "--tag", "sales", code=3)
        # A check of nobody proves nothing.
        assert "all of the tags" in cli("list", "--check", "--tag", "on", "--tag", "sales", code=2).stderr
    looked()


def test_what_needs_a_service_exits_with_4(cli: Cli) -> None:
    cli.configure("a: {}")
    for arguments in (
        ["start", "a"],
        ["stop", "--all"],
        ["restart", "a"],
        ["reload"],
        ["qr", "a"],
        ["list", "-w"],
        ["list", "--check"],
        ["list", "--needs-person"],
    ):
        assert "the service is not running" in cli(*arguments, code=4).stderr


def test_accounts_that_there_are_not_exit_with_5(cli: Cli) -> None:
    cli.configure("a: {}")
    every = (["list", "b"], ["explain", "b"], ["remove", "b"])
    for arguments in (*every, ["repair", "b"], ["repair", "b", "--no-wait"]):
        assert "b" in cli(*arguments, code=5, program=STAND_IN).stderr
    with cli.service():
        for arguments in (*every, ["repair", "b"], ["qr", "b"], ["start", "b"], ["stop", "b", "c"]):
            assert "b" in cli(*arguments, code=5).stderr
        # What can be done is done all the same.
        assert "a: stopped" in cli("stop", "a", "b", code=5).stdout


@pytest.mark.parametrize("command", [["list"], ["run"], ["repair", "a"], ["explain", "a"], ["remove", "a"]])
def test_a_bad_configuration_is_told_with_all_its_problems(cli: Cli, command: list[str]) -> None:
    cli.config.write_text("colour: red\naccounts:\n  a: {phone: 12}\n")
    said = cli(*command, code=1, program=STAND_IN).stderr
    assert said.startswith("orchestrator: ")
    assert "accounts.yaml:1" in said
    assert "accounts.yaml:3" in said


def test_no_configuration_at_all_is_told_with_what_to_do(cli: Cli) -> None:
    said = cli.run([*COMMAND, "list"], code=1).stderr
    assert "orchestrator add" in said


def test_what_the_last_service_left_is_shown(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}", "c: {}", "d: {max_retries: 0}")
    for name in ("a", "b", "c"):
        cli.has_session(name)
    cli.puppets.play("b", ["connecting", "end: temporary_ban 3600"])
    cli.puppets.play("d", ["exit: 3"])
    with cli.service():
        cli.until("a", "connected")
        cli.until("b", "banned")
        cli.until("d", "failed")
        cli("stop", "c")
    found = cli.accounts()
    assert {name: one["state"] for name, one in found.items()} == {
        "a": "stopped", "b": "banned", "c": "stopped", "d": "failed"
    }  # fmt: skip
    assert found["a"]["reason"] == "the service is not running"
    assert found["a"]["phone"] == "+49…01"
    assert found["b"]["next_retry_at"] is not None
    assert found["c"]["reason"] == "stopped by an operator"
    assert all(one["pid"] is None for one in found.values())
    said = cli("explain", "b").stdout
    assert "b is banned" in said
    assert "connecting → banned" in said
    assert json.loads(cli("explain", "a", "--json").stdout)["outlook"]["next"].endswith(
        "the service is not running"
    )
    (cli.state / "status.json").write_text("{nonsense")
    assert "damaged" in cli("list", code=1).stderr


def test_remove_without_a_service(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    for name in ("a", "b"):
        cli.has_session(name)
    traceback = cli.state / "tracebacks" / "a.txt"
    traceback.parent.mkdir(0o700)
    traceback.touch()
    cli("remove", "a")
    assert not traceback.exists()
    assert "a:" not in cli.config.read_text()
    assert not (cli.state / "sessions/a/session.sqlite3").exists()
    (kept,) = (cli.state / "quarantine").glob("a-*Z-removed")
    assert (kept / "session.sqlite3").exists()
    assert "is kept" in cli("remove", "b", "--keep-session", "--yes").stdout
    assert (cli.state / "sessions/b/session.sqlite3").exists()
    assert cli("list").stdout.startswith("there are no accounts yet")


# With a service


def test_ping_tells_a_probe_whether_the_service_answers(cli: Cli) -> None:
    cli.configure("a: {}")
    assert "the service is not running" in cli("ping", code=4).stderr
    assert not cli("ping", code=4).stdout
    with cli.service() as service:
        about = json.loads(cli("ping", "--json").stdout)
        assert (about["pid"], about["accounts"]) == (service.pid, 1)
        assert f"version {about['version']}, process {service.pid}, accounts: 1" in cli("ping").stdout
        cli("ping", "a", code=2)
        # A configuration that somebody is just editing says nothing about the service.
        cli.config.write_text("accounts: [")
        assert cli("ping").stdout
    assert "the service is not running" in cli("ping", code=4).stderr


def test_ping_of_a_program_that_is_no_service(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.state.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(cli.state / "control.sock"))
        assert "not running" in cli("ping", code=4).stderr
        other.listen()
        with cli.popen("ping", program=COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")
            said, complaint = asking.communicate()
        assert (asking.returncode, said) == (1, "")
        assert "is not an orchestrator service" in complaint


def test_list_shows_a_line_for_each_account(cli: Cli) -> None:
    cli.configure("a: {}", "spare: {enabled: false}", f"{'n' * 60}: {{}}")
    cli.has_session("a")
    cli.puppets.play("n" * 60, ["connecting: unpaired", "end: network"])
    with cli.service():
        account = cli.until("a", "connected")
        assert account.keys() == FIELDS
        assert account["uptime_s"] >= 0
        lines = cli("list").stdout.splitlines()
        assert lines[0].split() == ["NAME", "STATE", "SINCE", "PID", "PHONE", "NEXT", "REASON"]
        assert [line.split()[:2] for line in lines[1:3]] == [["a", "connected"], ["spare", "disabled"]]
        assert len(lines) == 4
        assert not any(line != line.rstrip() or "\x1b" in line for line in lines)
        assert cli("list", "a").stdout.count("\n") == 2
        cli.environment["PYTHONIOENCODING"] = "ascii"
        assert "+49...01" in cli("list").stdout
        del cli.environment["PYTHONIOENCODING"]
        with Terminal(cli.line("list"), cli.environment, cli.folder, columns=80) as terminal:
            assert terminal.exit_code() == 0
        shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.text).splitlines()
        assert "\x1b[" in terminal.text
        assert len(shown) == 4
        assert all(len(line) <= 80 for line in shown)


def test_watch_goes_on(cli: Cli) -> None:
    cli.configure("a: {}")
    with (
        cli.service(),
        cli.popen("list", "--watch", program=COMMAND, stdout=subprocess.PIPE) as lines,
        cli.popen("list", "--watch", "--json", program=COMMAND, stdout=subprocess.PIPE) as documents,
        Terminal(cli.line("list", "--watch"), cli.environment, cli.folder) as terminal,
    ):
        terminal.until(lambda text: "pairing" in text, "that it is pairing")
        cli.puppets.scan("a")
        terminal.until(lambda text: "connected" in text, "that it is connected")
        assert lines.stdout is not None
        assert documents.stdout is not None
        assert any("a connected" in line for line in lines.stdout)
        assert any(json.loads(line)["state"] == "connected" for line in documents.stdout)
        terminal.interrupt()
        assert terminal.exit_code() == 130
        lines.send_signal(signal.SIGINT)
        assert lines.wait(PATIENCE) == 130


def test_orders(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}", "spare: {enabled: false}")
    cli.has_session("a")
    with cli.service():
        pid = cli.until("a", "connected")["pid"]
        # neither the whole command line nor neonize may be in a child of this parent
        assert cli.puppets.runs("a")[-1]["modules"] == []
        assert cli("restart", "a").returncode == 0
        wait_for(lambda: cli.accounts()["a"]["pid"] not in (None, pid), "it has a new process")
        cli.until("a", "connected")
        assert cli("stop", "--all").stdout == "a: stopped\nb: stopped\n"
        assert "since" in cli("explain", "a").stdout
        assert "enable spare` first" in cli("start", "spare", code=1).stderr
        cli("start", "a")
        cli.until("a", "connected")
    with cli.service():
        cli.until("a", "connected")
        assert cli.accounts()["b"]["state"] == "stopped"


def test_add_reload_and_remove(cli: Cli) -> None:
    cli.configure("a: {}")
    session = cli.has_session("a")
    with cli.service() as service:
        cli.until("a", "connected")
        assert "orchestrator link b" in bare(cli("add", "b").stdout)
        cli.until("b", "pairing")
        assert cli("reload").stdout == "nothing has changed\n"
        text = cli.config.read_text()
        cli.config.write_text(text + "  c: {}\n")
        assert cli("reload").stdout == "added: c\n"
        cli.config.write_text(text + "  c: {phone: 3}\n  d: {}\n")
        said = cli("reload", code=1).stderr
        assert "phone" in said
        assert "c" in cli.accounts()
        # What somebody is just editing keeps nobody from looking and stopping.
        cli.config.write_text("accounts: [")
        cli("stop", "a")
        cli.config.write_text(text)
        service.send_signal(signal.SIGHUP)
        wait_for(lambda: "c" not in cli.accounts(), "c is gone")
        cli("remove", "a")
        assert list(cli.accounts()) == ["b"]
        assert not session.exists()
        other = cli.folder / "other.yaml"
        other.write_text("accounts: {}\n")
        line = [*COMMAND, "--config", str(other), "--state-dir", str(cli.state), "add", "x"]
        assert "another configuration" in cli.run(line, code=1).stderr
        assert other.read_text() == "accounts: {}\n"


def test_explain(cli: Cli) -> None:
    cli.configure("a: {max_retries: 0}")
    cli.puppets.play("a", ["kill: 9"])
    with cli.service():
        cli.until("a", "failed")
        said = bare(cli("explain", "a").stdout)
        assert said.startswith("a is failed\n")
        for part in ("SIGKILL", "orchestrator start a", "starting → failed", "next ", "you can "):
            assert part in said
        found = json.loads(cli("explain", "a", "--json", "--entries", "1").stdout)
        assert found.keys() == {"account", "outlook", "timeline", "maintenance"}
        assert len(found["timeline"]) == 1


# Pairing


def test_repair_on_a_terminal_shows_the_code_until_connected(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")
        with Terminal(cli.line("repair", "a", "--yes"), cli.environment, cli.folder) as terminal:
            terminal.until(lambda _: terminal.has_picture(), "a code")
            cli.puppets.scan("a", "4915100000042")
            assert terminal.exit_code() == 0
        assert "a is connected as +49…42" in terminal.text
        # The code is taken off the terminal.
        assert terminal.text.rfind("\x1b[J") > terminal.text.rfind("█")
        assert list((cli.state / "quarantine").glob("a-*Z-repair"))


def test_repair_elsewhere_returns_at_once(cli: Cli) -> None:
    cli.configure("a: {}", 'b: {phone: "+4915100000001"}')
    cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")
        assert "orchestrator qr a" in bare(cli("repair", "a", "--yes").stdout)
        cli.until("a", "pairing")
        with cli.popen("qr", "a", program=COMMAND, stdout=subprocess.PIPE) as qr:
            assert qr.stdout is not None
            assert any("█" in line for line in qr.stdout)
            cli.puppets.scan("a")
            assert qr.stdout.read().splitlines()[-1] == "a is connected as +49…01"
            assert qr.wait(PATIENCE) == 0
        assert "no code to scan" in cli("qr", "a", code=1).stderr
        cli("repair", "b", "--code")
        with Terminal(cli.line("repair", "b", "--code"), cli.environment, cli.folder) as terminal:
            terminal.until(lambda text: "ABCD-1234" in text, "the code")
            terminal.interrupt()
            assert terminal.exit_code() == 130
        assert cli.accounts()["b"]["state"] == "pairing"
        assert "phone:" in cli("repair", "a", "--yes", "--code", "--any-phone", code=1).stderr


def test_a_small_terminal_is_told_where_the_picture_is(cli: Cli) -> None:
    cli.configure("a: {}")
    with cli.service():
        path = cli.until("a", "pairing")["qr_path"]
        for rows, columns in ((10, 200), (60, 40)):
            with Terminal(
                cli.line("qr", "a"), cli.environment, cli.folder, rows=rows, columns=columns
            ) as terminal:
                terminal.until(lambda text: path in text, "where the picture is")
                assert not terminal.has_picture()


def test_repair_without_a_service_runs_the_account_until_it_is_connected(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    cli.has_session("a")
    png = cli.state / "qr/a.png"
    with cli.popen("repair", "a", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as repair:
        wait_for(png.exists, "the picture is there")
        assert f"process {repair.pid} (repairs a)" in cli("run", code=1, program=STAND_IN).stderr
        cli.puppets.scan("a")
        out, err = repair.communicate(timeout=PATIENCE)
        assert repair.returncode == 0, err
        assert "a is connected as +49…01" in out
        assert "to keep the account connected, start the service: `orchestrator run`" in bare(out)
        assert "the service is not running (`orchestrator run` starts it), so this command" in bare(err)
    assert not png.exists()
    assert len(cli.puppets.runs("a")) == 1
    assert cli.puppets.runs("b") == []
    assert cli.accounts()["a"]["reason"] == "the service is not running"
    with Terminal(cli.line("repair", "a", program=STAND_IN), cli.environment, cli.folder) as terminal:
        terminal.until(lambda _: terminal.has_picture(), "a code")
        terminal.interrupt()
        assert terminal.exit_code() == 130
    assert not png.exists()
    cli.puppets.play("b", ["connecting: unpaired", "end: passkey"])
    assert "b is failed" in cli("repair", "b", code=1, program=STAND_IN).stderr


def test_repair_without_waiting_leaves_the_pairing_to_the_next_service(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    cli.puppets.play("a", ["connecting", "end: locked"], [])
    with cli.service():
        cli.until("a", "banned")
        cli.has_session("a")
    assert cli.accounts()["a"]["state"] == "banned"
    cli("repair", "a", "--no-wait")
    assert list((cli.state / "quarantine").glob("a-*Z-repair"))
    with cli.service():
        cli.until("a", "pairing")


# The service


def test_a_second_service_says_who_is_there(cli: Cli) -> None:
    cli.configure("a: {}")
    with cli.service() as service:
        said = cli("run", code=1, program=STAND_IN).stderr
        assert f"process {service.pid} (the service)" in said
        assert (cli.state / "control.sock").stat().st_mode & 0o777 == 0o600
        assert cli.accounts()["a"]
    assert not (cli.state / "control.sock").exists()


def test_a_service_that_was_killed_is_followed_by_another(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    with cli.service(code=-signal.SIGKILL) as service:
        child = cli.until("a", "connected")["pid"]
        service.kill()
    assert (cli.state / "control.sock").exists()
    assert "the service is not running" in cli("stop", "a", code=4).stderr
    assert cli.accounts()["a"]["pid"] is None
    with cli.service():
        assert cli.until("a", "connected")["pid"] != child


def test_a_second_signal_hurries(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.puppets.play("a", ["connecting", "connected", "deaf"])
    cli.environment[NO_STOP_DEADLINE] = "1"
    with cli.service() as service:
        cli.until("a", "connected")
        service.send_signal(signal.SIGINT)
        wait_for(lambda: "SIGINT: the service is stopping" in cli.log.read_text(), "it stops")
        assert cli.accounts()["a"]["pid"]
        assert "not running" not in cli("list").stdout
        assert "the service is stopping" in cli("start", "a", code=4).stderr
        service.send_signal(signal.SIGINT)
        assert service.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_when_all_is_done_changes_nothing(cli: Cli, number: signal.Signals) -> None:
    cli.configure("a: {}")
    with cli.service() as service:
        service.send_signal(signal.SIGTERM)
        wait_for(lambda: "the service has stopped" in cli.log.read_text(), "it has stopped")
        while service.poll() is None:
            service.send_signal(number)
        assert service.returncode == 0


def test_a_service_with_a_socket_elsewhere_is_found(cli: Cli) -> None:
    cli.configure("a: {}")
    runtime = cli.folder / "run"
    cli.environment["RUNTIME_DIRECTORY"] = str(runtime)
    with cli.service():
        assert (runtime / "control.sock").exists()
        del cli.environment["RUNTIME_DIRECTORY"]
        wait_for(lambda: cli.accounts()["a"]["state"] == "pairing", "it is found, and pairing")
    assert not (runtime / "control.sock").exists()


def test_the_state_folder_is_found_by_the_configuration(cli: Cli) -> None:
    cli.configure("a: {}", top=f"state_dir: '{cli.state}'  # here\n")
    with cli.service():
        (account,) = json.loads(cli.run([*COMMAND, "list", "--json"]).stdout)
        assert account["state"] != "stopped"
        cli.config.write_text(cli.config.read_text() + "nonsense: [")
        cli.run([*COMMAND, "stop", "a"])


def test_the_log_is_what_was_asked_for(cli: Cli) -> None:
    cli.configure("a: {}")
    with cli.service("--log-format", "json", "--log-level", "debug"):
        cli.until("a", "pairing")
    records = [json.loads(line) for line in cli.log.read_text().splitlines()]
    assert {"DEBUG", "INFO"} <= {record["level"] for record in records}


def test_a_folder_that_cannot_be_used_is_told(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.state.write_text("a file")
    for command in (["run"], ["repair", "a"], ["repair", "a", "--no-wait"]):
        assert str(cli.state) in cli(*command, code=1, program=STAND_IN).stderr


def test_a_reader_that_has_seen_enough_is_no_error(cli: Cli) -> None:
    cli.configure(*(f"a{number}: {{}}" for number in range(300)))
    line = " ".join(cli.line("list", "--json"))
    assert cli.run(["sh", "-c", f"{line} | head -n 1"]).stderr == ""


# Proxies with a password


SECRET_URL = "socks5://ada:hunter2@127.0.0.1:1"


def test_add_reads_a_proxy_from_stdin(cli: Cli) -> None:
    done = cli("add", "a", "--disabled", "--proxy", "-", text=f"{SECRET_URL}\n")
    assert "hunter2" not in done.stdout + done.stderr
    assert SECRET_URL in cli.config.read_text()
    for text, said in {
        "": "found nothing",
        "\n": "found nothing",
        f"{SECRET_URL}\n{SECRET_URL}\n": "found more",
        SECRET_URL + "x" * 20_000: "found more",
        "ada:hunter2@h:1": "found one without ://",
    }.items():
        complaint = cli("add", "b", "--proxy", "-", code=2, text=text).stderr
        assert said in complaint
        assert "hunter2" not in complaint
    assert "b:" not in cli.config.read_text()


def test_add_names_a_file_with_the_proxy(cli: Cli) -> None:
    path = cli.folder / "proxy.secret"
    path.write_text(SECRET_URL)
    path.chmod(0o644)
    assert "chmod 600" in cli("add", "a", "--proxy-file", "proxy.secret", code=2).stderr
    path.chmod(0o600)
    cli("add", "a", "--disabled", "--proxy-file", "proxy.secret")
    assert f"proxy_file: {path}" in cli.config.read_text().replace('"', "")
    both = cli("add", "b", "--proxy", "http://h:1", "--proxy-file", str(path), code=2)
    assert "cannot be combined" in both.stderr
    assert "other users can see a command line" in " ".join(cli("add", "--help").stdout.lower().split())


def test_reload_sees_another_content_of_a_proxys_file(cli: Cli) -> None:
    path = cli.folder / "proxy.secret"
    path.write_text(SECRET_URL)
    path.chmod(0o600)
    cli.configure("a: {proxy_file: proxy.secret}", "b: {}")
    for name in "ab":
        cli.has_session(name)
    with cli.service():
        before = {name: cli.until(name, "connected")["pid"] for name in "ab"}
        assert "nothing has changed" in cli("reload").stdout
        path.write_text(SECRET_URL.replace("hunter2", "hunter3"))
        assert "changed: a" in cli("reload").stdout
        wait_for(lambda: cli.accounts()["a"]["pid"] not in (None, before["a"]), "a has a new process")
        assert cli.until("b", "connected")["pid"] == before["b"]
        path.chmod(0o644)
        assert "other users may read" in cli("reload", code=1).stderr
        assert cli.until("a", "connected")["pid"] != before["a"]
    assert "hunter" not in cli.log.read_text()
