import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from PIL import Image
from support.neonize_process import NeonizeProcess, write_png
from typer.testing import CliRunner

from orchestrator import __version__
from orchestrator.cli import app, main
from orchestrator.sandbox.client import CONTROL_VARIABLE
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.server.faults import KINDS
from orchestrator.sandbox.wire import content

DEADLINE = 60.0
"""Seconds for a command that should take a fraction of one, on a machine that runs other tests."""
ORCHESTRATOR = [sys.executable, "-m", "orchestrator"]
CODE = f"2@AAAA,{'A' * 43}=,{'A' * 43}=,{'A' * 43}=,6"
"""The text of a QR code that no client shows."""

Done = subprocess.CompletedProcess[str]


def orchestrator(*arguments: str, env: Mapping[str, str] | None = None) -> Done:
    return subprocess.run(
        [*ORCHESTRATOR, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@contextmanager
def running(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a command that goes on; it is killed in the end, or when it takes too long."""
    with subprocess.Popen(
        [*ORCHESTRATOR, *arguments],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


@contextmanager
def serving(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    with running("sandbox", "serve", "--port=0", "--control-port=0", *arguments, env=env) as process:
        yield process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def failed(done: Done, message: str, code: int = 1) -> None:
    """Check that a command has failed with nothing but a message of ours."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr
    if code == 1:
        assert done.stderr.startswith("orchestrator: ")


def misused(arguments: list[str], message: str) -> None:
    """Check that a command of the sandbox says what is wrong with its arguments; asks no process for that."""
    result = CliRunner().invoke(app, ["sandbox", *arguments])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert f"Invalid value: {message}" in result.stderr or message in result.stderr, result.stderr


@pytest.fixture
def cli(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run commands on the shared sandbox in this process: starting one takes longer than all they do."""
    monkeypatch.setenv(CONTROL_VARIABLE, sandbox.client.address)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["orchestrator", "sandbox", *arguments])
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
        assert isinstance(end.value.code, int)
        return Done(arguments, end.value.code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def command(sandbox: SandboxProcess) -> Callable[..., Done]:
    """Run commands on the shared sandbox as a person does."""
    env = {**os.environ, CONTROL_VARIABLE: sandbox.client.address}
    return lambda *arguments: orchestrator("sandbox", *arguments, env=env)


Cli = Callable[..., Done]


# serve


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_one_document_and_stops_when_told(tmp_path: Path, stop: signal.Signals) -> None:
    with serving("--json", "--state-dir", str(tmp_path / "state")) as server:
        about = json.loads(line(server))
        assert (about["sandbox"], about["pid"]) == (__version__, server.pid)
        assert about["state_dir"] == str(tmp_path / "state")
        server.send_signal(stop)
        assert server.communicate(timeout=DEADLINE) == ("", "")
        assert server.returncode == 0


def test_serve_stops_silently_when_clients_are_connected(tmp_path: Path) -> None:
    with serving("--json", "--state-dir", str(tmp_path)) as server:
        about = json.loads(line(server))
        with (
            socket.create_connection(("127.0.0.1", about["port"]), DEADLINE) as client,
            socket.create_connection(("127.0.0.1", about["control_port"]), DEADLINE),
        ):
            client.sendall(b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\nHost: web.whatsapp.com\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
            server.send_signal(signal.SIGINT)
            assert server.communicate(timeout=DEADLINE) == ("", "")
            assert server.returncode == 0


def test_serve_tells_a_person_what_to_do_next(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with serving(env=env) as server:
        shown = line(server)
        while "Ctrl-C" not in shown:
            shown += line(server)
        folder = tmp_path / "orchestrator-sandbox"
        assert f"State: {folder}\n" in shown
        assert folder.stat().st_mode & 0o777 == 0o700
        assert re.search(r"\n +orchestrator sandbox scan QR\.png --phone \+\d+ --control http://\S+\n", shown)
        # What it tells to type is typed, in a shell that knows the command.
        (typed,) = re.findall(r"^ +(eval .*)$", shown, re.MULTILINE)
        script = f'orchestrator() {{ {sys.executable} -m orchestrator "$@"; }}\n{typed}\nenv -0'
        shell = subprocess.run(
            ["sh", "-ec", script], capture_output=True, text=True, timeout=DEADLINE, check=True
        )
        variables = dict(entry.split("=", 1) for entry in shell.stdout.rstrip("\0").split("\0"))
        assert variables["SSL_CERT_FILE"] == str(folder / "ca.pem")
        port = int(variables["https_proxy"].removeprefix("http://127.0.0.1:"))
        assert f"127.0.0.1:{port}," in shown
        # In that shell the other commands find this sandbox too.
        assert orchestrator("sandbox", "state", env=variables).returncode == 0
        server.send_signal(signal.SIGINT)
        assert server.wait(DEADLINE) == 0


def test_a_relative_xdg_folder_is_ignored(tmp_path: Path) -> None:
    with serving("--json", env={**os.environ, "XDG_STATE_HOME": "relative", "HOME": str(tmp_path)}) as server:
        about = json.loads(line(server))
    assert about["state_dir"] == str(tmp_path / ".local/state/orchestrator-sandbox")


def test_serve_ends_with_its_stdin_if_it_is_told_to(tmp_path: Path) -> None:
    with serving("--json", "--until-stdin-closes", "--state-dir", str(tmp_path)) as server:
        assert line(server)
        assert server.communicate(timeout=DEADLINE) == ("", "")
        assert server.returncode == 0


def test_a_state_folder_serves_one_sandbox(sandbox: SandboxProcess) -> None:
    done = orchestrator("sandbox", "serve", "--state-dir", str(sandbox.state_dir))
    refused = r"another sandbox \(process [0-9]+\) uses this state folder; "
    failed(done, f"^orchestrator: {sandbox.state_dir}: {refused}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"--port": "0", "--control-port": "0", option: str(port)}
        given = [part for pair in ports.items() for part in pair]
        done = orchestrator("sandbox", "serve", *given, "--state-dir", str(tmp_path))
    failed(done, f"^orchestrator: port {port} on 127.0.0.1 cannot be used: ")


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_what_is_no_port_is_wrong_usage(port: str) -> None:
    misused(["serve", f"--port={port}"], "Invalid value for '--port'")


@pytest.mark.parametrize("address", ["localhost", "0.0.0.0", "::", "224.0.0.1", "fe80::1%eth0", ""])
def test_clients_cannot_be_sent_to_what_is_no_address_of_one_machine(address: str) -> None:
    misused(["serve", f"--listen={address}"], "Invalid value for --listen: expected an IP address")


def spoil_nothing(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("a file where the folder should be")


def spoil_database(folder: Path) -> None:
    (folder / "sandbox.sqlite3").write_bytes(b"no database" * 1000)


def spoil_certificate(folder: Path) -> None:
    (folder / "ca.key").write_text("no key")


@pytest.mark.parametrize("spoil", [spoil_nothing, spoil_database, spoil_certificate])
def test_a_state_folder_that_cannot_be_used_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    spoil(folder)
    failed(
        orchestrator("sandbox", "serve", "--port=0", "--control-port=0", "--state-dir", str(folder)),
        str(folder),
    )


@pytest.mark.parametrize("missing", ["cryptography", "zxingcpp"])
def test_without_the_extra_one_is_told_how_to_install_it(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['orchestrator', 'sandbox', 'serve'];"
        "from orchestrator.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    command = r"`\S+/bin/pip install -r requirements/sandbox\.txt`"
    failed(done, rf"\({missing}[^)]*\): in a checkout of this project, run {command}\n$")


# Without a sandbox


@pytest.mark.parametrize(
    "arguments",
    [
        ["env"],
        ["run", "true"],
        ["scan", "--text", "x", "--phone", "+4915100001"],
        ["phones", "--json"],
        ["events", "--follow"],
        ["fault", "reset"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_where_no_sandbox_runs_one_is_told_how_to_start(arguments: list[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        command, *rest = arguments
        done = orchestrator("sandbox", command, "--control", address, *rest)
    failed(done, rf"^orchestrator: no sandbox answers at {address} .*'orchestrator sandbox serve'")


def test_a_control_address_that_is_none_is_wrong_usage() -> None:
    misused(
        ["state", "--control", "localhost"],
        "'localhost' is no address of a sandbox: write one like http://127.0.0.1:8444",
    )


# Programs in the sandbox


def test_the_variables_are_the_same_for_a_shell_and_as_json(sandbox: SandboxProcess, command: Cli) -> None:
    path = os.environ.get("PYTHONPATH")
    expected = sandbox.environment({"PYTHONPATH": path} if path else {})
    assert json.loads(command("env", "--json").stdout) == expected
    lines = command("env").stdout
    names = " ".join(expected)
    script = f'eval "$1"; for name in {names}; do eval "printf \'%s\\0\' \\"\\$$name\\""; done'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", lines], env={}, capture_output=True, text=True, check=True
    )
    assert shell.stdout.rstrip("\0").split("\0") == list(expected.values())


def test_a_program_is_run_in_place_of_the_command(sandbox: SandboxProcess, command: Cli) -> None:
    program = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]])); sys.exit(7)"
    done = command("run", "--", sys.executable, "-c", program, "--option", "--", "-x")
    assert (done.returncode, done.stderr) == (7, "")
    environment, arguments = json.loads(done.stdout)
    assert arguments == ["--option", "--", "-x"]
    expected = sandbox.environment({"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    assert {name: environment[name] for name in expected} == expected
    assert environment["PATH"] == os.environ["PATH"]


def test_hints_of_this_program_work_in_the_sandbox(
    sandbox: SandboxProcess, command: Cli, tmp_path: Path
) -> None:
    program = tmp_path / "orchestrator"
    program.write_text(f'#!/bin/sh\nexec {" ".join(ORCHESTRATOR)} "$@"\n')
    program.chmod(0o755)
    there = f"--config {tmp_path}/accounts.yaml --state-dir {tmp_path}/state"
    ours = f"`orchestrator sandbox run --control {sandbox.client.address} -- orchestrator {there}"
    added = command("run", "--", str(program), *there.split(), "add", "support").stdout
    assert f"{ours} link support`" in added
    assert f"{ours} run`" in added
    assert f"{ours} run`" in command("run", "--", str(program), *there.split(), "list", "--check").stderr
    shell = command("run", "--", "sh", "-c", f"{program} {there} list --check").stderr
    assert f"`orchestrator {there} run`" in shell  # in a shell of the sandbox, the command is enough


def test_nothing_is_wrong_in_the_sandbox_before_the_first_account(tmp_path: Path) -> None:
    program = tmp_path / "orchestrator"
    program.write_text(f'#!/bin/sh\nexec {" ".join(ORCHESTRATOR)} "$@"\n')
    program.chmod(0o755)
    with SandboxProcess(state_dir=tmp_path / "box") as box:
        env = {name: value for name, value in os.environ.items() if name != "ORCHESTRATOR_CONFIG"}
        env[CONTROL_VARIABLE] = box.client.address
        for _ in range(2):
            listed = orchestrator("sandbox", "run", "--", str(program), "list", env=env)
            assert (listed.returncode, "orchestrator add NAME`" in listed.stdout) == (0, True), listed.stderr
        config = tmp_path / "box" / "accounts" / "accounts.yaml"
        assert config.stat().st_mode & 0o777 == 0o600
        assert config.parent.stat().st_mode & 0o777 == 0o700
        found = orchestrator("sandbox", "run", "--", str(program), "config", "check", env=env)
        assert found.returncode == 0, found.stderr


def test_options_of_the_program_are_not_ours(command: Cli) -> None:
    assert command("run", "echo", "--control", "--help").stdout == "--control --help\n"


def test_a_program_that_cannot_be_run_is_named(command: Cli) -> None:
    failed(command("run", "/nonexistent/bot"), r"^orchestrator: /nonexistent/bot cannot be run: No such file")


# Linking


def test_a_picture_that_does_not_exist(command: Cli, number: str) -> None:
    failed(
        command("scan", "/nonexistent.png", "--phone", number),
        r"/nonexistent\.png cannot be read: No such file",
    )


def test_a_picture_that_is_none(command: Cli, number: str, tmp_path: Path) -> None:
    picture = tmp_path / "qr.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\nand so on")
    failed(command("scan", str(picture), "--phone", number), "not a picture")


def test_a_picture_without_a_code(command: Cli, number: str, tmp_path: Path) -> None:
    picture = tmp_path / "qr.png"
    Image.new("L", (200, 200), 255).save(picture)
    failed(command("scan", str(picture), "--phone", number), "no QR codes? (is|are) in the picture")


def test_a_picture_of_something_else(cli: Cli, number: str, tmp_path: Path) -> None:
    write_png("https://example.org/", tmp_path / "qr.png")
    failed(cli("scan", str(tmp_path / "qr.png"), "--phone", number), "5 parts between commas")


def test_a_picture_of_a_code_that_nobody_shows(cli: Cli, number: str, tmp_path: Path) -> None:
    write_png(CODE, tmp_path / "qr.png")
    shown = "no client shows this code now"
    failed(cli("scan", str(tmp_path / "qr.png"), "--phone", number), shown)
    failed(cli("scan", "--text", CODE, "--phone", number), shown)


def test_the_picture_may_come_on_stdin(sandbox: SandboxProcess, number: str, tmp_path: Path) -> None:
    write_png(CODE, tmp_path / "qr.png")
    with (tmp_path / "qr.png").open("rb") as picture:
        done = subprocess.run(
            [*ORCHESTRATOR, "sandbox", "scan", "-", "--phone", number, "--control", sandbox.client.address],
            stdin=picture, capture_output=True, text=True, timeout=DEADLINE, check=False,
        )  # fmt: skip
    failed(done, "no client shows this code now")


@pytest.mark.parametrize("given", [[], ["qr.png", "--text", "x"]])
def test_a_scan_needs_one_source(given: list[str]) -> None:
    misused(["scan", "--phone", "+4915100001", *given], "give either a picture or --text")


def test_a_client_is_linked(
    sandbox: SandboxProcess, cli: Cli, number: str, neonize: Callable[..., NeonizeProcess], tmp_path: Path
) -> None:
    bot = neonize()
    bot.command("connect")
    write_png(bot.qr(), tmp_path / "qr.png")
    assert (
        cli("scan", str(tmp_path / "qr.png"), "--phone", number).stdout == f"linked: device 1 of {number}\n"
    )
    bot.wait_for("Connected")
    sandbox.client.wait_for("online", phone=number)
    (row,) = [row for row in cli("phones").stdout.splitlines() if row.startswith(number)]
    assert row.split()[-4:] == ["1", "Neonize", "yes", "0"]
    done = cli("fault", "stream-error", "--target", number, "code=503")
    assert re.fullmatch(rf"fault \d+: stream-error for \{number}, struck 1 so far\n", done.stdout)
    bot.wait_for("Disconnected")
    assert cli("unlink", number).stdout == "unlinked: device 1\n"


def test_a_code_that_nobody_waits_for(cli: Cli, number: str) -> None:
    failed(cli("code", "ABCD-1234", "--phone", number), rf"no client waits for a code of \{number}")
    failed(cli("code", "ABC", "--phone", number), "orchestrator: ")


# Phones and messages


def test_phones_send_and_receive(cli: Cli, make_number: Callable[[], str], tmp_path: Path) -> None:
    ada, bob = make_number(), make_number()
    assert cli("add-phone", ada, "--name", "Ada [bold]").stdout == f"added {ada}: Ada [bold]\n"
    assert cli("add-phone", bob).returncode == 0
    failed(cli("add-phone", bob), rf"^orchestrator: \{bob} is there already$")
    failed(cli("unlink", bob), "has no linked device")

    sent = cli("send", "--from", ada, "--to", bob, "Hello\n[red]\x1b[31m").stdout.strip()
    picture = tmp_path / "cat.png"
    data = io.BytesIO()
    Image.new("L", (2, 2)).save(data, "PNG")
    picture.write_bytes(data.getvalue())
    assert cli("send", "--from", ada, "--to", bob, "--media", str(picture), "Look").returncode == 0
    assert (
        cli("send", "--from", ada, "--to", bob, "--media", str(picture), "--kind", "document").returncode == 0
    )

    text, image, document = json.loads(cli("inbox", bob, "--json").stdout)
    assert (text["id"], text["from"], text["text"]) == (sent, ada, "Hello\n[red]\x1b[31m")
    assert (image["kind"], image["mime"], image["caption"]) == ("image", "image/png", "Look")
    assert (document["kind"], document["file_name"]) == ("document", "cat.png")
    table = cli("inbox", bob).stdout
    assert "\x1b" not in table
    assert all(part in table for part in (ada, "[red]", "Look", "cat.png"))

    (entry,) = [phone for phone in json.loads(cli("phones", "--json").stdout) if phone["phone"] == ada]
    assert (entry["name"], entry["devices"]) == ("Ada [bold]", [])
    assert "Ada [bold]" in cli("phones").stdout


def test_phones_send_every_kind(cli: Cli, make_number: Callable[[], str], tmp_path: Path) -> None:
    ada, bob = make_number(), make_number()
    for number in (ada, bob):
        assert cli("add-phone", number).returncode == 0
    raw = tmp_path / "message"
    raw.write_bytes(content.Message.encode(conversation="raw"))
    between = ("--from", ada, "--to", bob)
    options = ("--set", 'options=["yes", "no"]', "--set", "select=2")
    poll = ["--kind", "poll", "--set", "question=Lunch?", *options]
    asked = cli("send", *between, *poll).stdout.strip()
    reaction = ["--kind", "reaction", "--set", f"of={asked}", "--set", "emoji=👍"]
    assert cli("send", *between, *reaction).returncode == 0
    assert cli("send", *between, "--raw", str(raw)).returncode == 0
    assert cli("send", *between, "--kind", "text", "--set", "forwarded=true", "Hello").returncode == 0
    failed(cli("send", *between, "--kind", "letter"), "'kind' must be one of text, image")
    failed(cli("send", *between, "--kind", "location"), "'latitude' must be a number from -90 to 90")
    ids = cli("burst", *between, "--count", "3", "Hi").stdout.split()
    assert cli("call", *between).stdout.strip()

    shown = json.loads(cli("inbox", bob, "--json").stdout)
    assert [one["kind"] for one in shown[:4]] == ["poll", "reaction", "text", "text"]
    assert (shown[0]["options"], shown[0]["select"]) == (["yes", "no"], 2)
    assert (shown[1]["of"], shown[1]["emoji"]) == (asked, "👍")
    assert (shown[2]["text"], shown[3]["text"], shown[3]["forwarded"]) == ("raw", "Hello", 1)
    assert len(ids) == 3
    table = cli("inbox", bob).stdout
    assert all(part in table for part in ("Lunch?", "👍", "raw", asked))

    cli("send", "--from", bob, "--to", ada, "--set", f"quote={asked}", "Yes")
    sent = json.loads(cli("sent", ada, "--json").stdout)
    assert [one["kind"] for one in sent[:4]] == ["poll", "reaction", "text", "text"]
    assert (sent[0]["to"], sent[0]["delivered"], sent[0]["read"]) == (bob, [bob], [])
    assert asked in cli("inbox", ada).stdout
    table = cli("sent", ada).stdout
    assert all(part in table for part in ("read by", "Lunch?", asked))
    assert cli("typing", ada, "--json").stdout == "[]\n"


def test_chats_are_shown_as_their_owner_sees_them(
    cli: Cli, sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    ada, bob = make_number(), make_number()
    for number in (ada, bob):
        sandbox.client.add_phone(number)
    first = sandbox.client.send_text(ada, bob, "frist")
    poll = sandbox.client.send(ada, bob, "poll", question="Lunch?", options=["yes", "no"])
    gone = sandbox.client.send_text(ada, bob, "never mind")
    sandbox.client.send(ada, bob, "edit", of=first, text="first")
    sandbox.client.send(bob, ada, "reaction", of=first, emoji="\N{PARTY POPPER}")
    sandbox.client.send(bob, ada, "vote", of=poll, options=["no"])
    sandbox.client.send(ada, bob, "revoke", of=gone)
    sandbox.client.read(bob, first)
    shown = {one["id"]: one for one in json.loads(cli("messages", bob, "--json").stdout)}
    assert list(shown) == [first, poll, gone]
    assert (shown[first]["text"], shown[first]["edits"]) == ("first", 1)
    assert shown[first]["reactions"] == {bob: "\N{PARTY POPPER}"}
    assert shown[poll]["votes"] == {bob: ["no"]}
    assert shown[gone]["deleted_by"] == ada
    table = cli("messages", ada, "--chat", bob).stdout
    for part in (
        "first",
        "edited; \N{PARTY POPPER} " + bob,
        f"read: {bob}",
        f"{bob} votes for no",
        f"deleted by {ada}",
    ):
        assert part in table
    assert "never mind" not in table
    team = sandbox.client.make_group(ada, "Team", [bob])["group"]
    sandbox.client.send_text(ada, team, "to the team")
    sandbox.client.send_text(ada, "status", "to everybody")
    for chat, text in ((team, "to the team"), ("status", "to everybody")):
        (only,) = json.loads(cli("messages", bob, "--chat", chat, "--json").stdout)
        assert only["text"] == text
    nobody = "+4915199999999"
    failed(cli("messages", bob, "--chat", nobody), rf"no phone .*`orchestrator sandbox add-phone \{nobody}`")


def test_the_clock_is_set_and_is_right_again(cli: Cli) -> None:
    assert cli("clock", "--back", "11d").stdout == "the clock is 950,400 s behind\n"
    assert cli("clock", "--ahead", "90m").stdout == "the clock is 5,400 s ahead\n"
    assert cli("clock").stdout == "the clock is right\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [(["--back", "11"], "'11' is no time"), (["--back", "1d", "--ahead", "1d"], "not both")],
)
def test_a_time_that_makes_no_sense_is_wrong_usage(given: list[str], message: str) -> None:
    misused(["clock", *given], message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "--from", "+4915199998", "--to", "+4915199999", "hello"],
        ["inbox", "+4915199999"],
        ["unlink", "+4915199999"],
    ],
)
def test_a_phone_that_is_not_there_is_named(cli: Cli, arguments: list[str]) -> None:
    failed(cli(*arguments), r"no phone has the number \+4915199")


def test_what_is_no_number_is_quoted(cli: Cli) -> None:
    failed(cli("add-phone", "+49x"), r"'\+49x' is no phone number")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "give a text, or --media"),
        (["--kind", "image", "hello"], "give a text, or --media"),
        (["--set", "of"], "write each setting once"),
        (["--raw", "x", "hello"], "--raw takes neither a text"),
        (["--media", "x", "--kind", "film"], "--kind must be one of image, sticker, video, audio, document"),
    ],
)
def test_a_message_that_makes_no_sense_is_wrong_usage(given: list[str], message: str) -> None:
    misused(["send", "--from", "+4915100001", "--to", "+4915100002", *given], message)


# What goes on


def test_the_state_is_one_document(sandbox: SandboxProcess, cli: Cli) -> None:
    before, shown, after = sandbox.client.state(), json.loads(cli("state").stdout), sandbox.client.state()
    assert shown in (before, after), "another test's client may have gone meanwhile"


def test_events_are_lines(sandbox: SandboxProcess, cli: Cli, number: str) -> None:
    start = sandbox.client.last_event()
    sandbox.client.add_phone(number)
    told = [json.loads(text) for text in cli("events", "--since", str(start)).stdout.splitlines()]
    assert told == sandbox.client.events(start)[: len(told)] != []


def test_events_are_followed_until_ctrl_c(sandbox: SandboxProcess, make_number: Callable[[], str]) -> None:
    client = sandbox.client
    start = str(client.last_event())
    with running("sandbox", "events", "--follow", "--since", start, "--control", client.address) as following:
        for _ in range(2):
            number = make_number()
            client.add_phone(number)
            while json.loads(line(following)).get("phone") != number:
                pass  # another test's client may have gone meanwhile
        following.send_signal(signal.SIGINT)
        assert following.communicate(timeout=DEADLINE) == ("", "")
        assert following.returncode == 130


def test_a_reader_that_goes_away_is_no_error(sandbox: SandboxProcess, number: str) -> None:
    sandbox.client.add_phone(number)
    for command in ("state", "events"):
        with running("sandbox", command, "--control", sandbox.client.address) as writing:
            assert writing.stdout is not None
            assert writing.stderr is not None
            writing.stdout.close()
            assert writing.stderr.read() == ""


def test_a_full_disk_is_reported(sandbox: SandboxProcess) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*ORCHESTRATOR, "sandbox", "state", "--control", sandbox.client.address],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False,
        )  # fmt: skip
    assert done.stderr == "orchestrator: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


# Faults


def test_what_a_fault_is_told_has_the_type_of_the_parameter(cli: Cli, sandbox: SandboxProcess) -> None:
    options = ["--target", "proxy:ada", "--seconds", "300"]
    assert cli("fault", "refuse", *options, "drop=false").returncode == 0
    assert cli("fault", "slow", *options, "delay=2").returncode == 0
    assert cli("fault", "failure", *options, "--times", "3", "reason=402", "message=402").returncode == 0
    refuse, slow, failure = sandbox.client.faults()
    assert refuse["drop"] is False
    assert (slow["delay"], type(slow["delay"])) == (2.0, float)
    assert (failure["reason"], failure["message"], failure["times"]) == (402, "402", 3)
    assert 0 < failure["seconds_left"] <= 300

    shown = json.loads(cli("faults", "--json").stdout)
    assert [one["id"] for one in shown] == [one["id"] for one in (refuse, slow, failure)]
    table = cli("faults").stdout
    assert all(part in table for part in ("drop=false", "delay=2.0", "reason=402 message=402", "proxy:ada"))

    assert cli("clear", str(slow["id"])).stdout == f"cleared: {slow['id']}\n"
    failed(cli("clear", str(slow["id"])), f"there is no fault {slow['id']}")
    assert cli("clear").stdout == f"cleared: {refuse['id']}, {failure['id']}\n"
    assert cli("clear").stdout == "cleared: none\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "code=1"], "kind must be one of logged-out, replaced, "),
        (["stream-error", "code=x"], "code must be a whole number, not 'x'"),
        (["stream-error", "code=99"], "code must be at least 100"),
        (["refuse", "drop=maybe"], "drop must be true or false, not 'maybe'"),
        (["stream-error", "delay=1"], "stream-error does not take delay; it takes "),
        (["stream-error", "code"], "NAME=VALUE"),
        (["stream-error", "code=1", "code=2"], "write each parameter of stream-error once"),
        (["stream-error", "target=all"], "NAME=VALUE"),
        (["failure"], "failure needs reason"),
        (["reset", "--times", "2"], "takes neither times nor seconds"),
        (["reset", "--target", "somebody"], "target 'somebody' is none of"),
    ],
)
def test_a_fault_that_cannot_be_is_wrong_usage(arguments: list[str], message: str) -> None:
    misused(["fault", *arguments], message)


def test_a_fault_without_an_end_strikes_until_it_is_cleared(cli: Cli, sandbox: SandboxProcess) -> None:
    receiver = ["code=475", "to=new", "ends=60"]
    assert cli("fault", "send-error", "--endless", "--target", "+4915109999", *receiver).returncode == 0
    (fault,) = sandbox.client.faults()
    assert (fault["times"], fault["code"], fault["to"], fault["ends"]) == (None, 475, "new", 60)
    misused(["fault", "send-error", "--endless", "--times", "2"], "--endless takes neither --times nor")


def test_an_unknown_kind_of_fault_is_answered_with_those_there_are(command: Cli) -> None:
    done = command("fault", "nonsense")
    failed(done, "^Usage: orchestrator sandbox fault ", code=2)
    assert all(kind in done.stderr for kind in KINDS)


def test_a_fault_that_means_nobody_fails(cli: Cli, number: str) -> None:
    failed(cli("fault", "reset", "--target", number), rf"reset: no open connection is \{number}")


def test_every_kind_is_listed() -> None:
    done = orchestrator("sandbox", "kinds")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    for name, kind in KINDS.items():
        assert any(row.startswith(f"{name} ") and kind.about in row for row in lines), name
    assert "reason=400 to 599, required" in done.stdout


# The command itself


def test_the_version() -> None:
    done = orchestrator("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"orchestrator {__version__}\n", "")


def test_every_command_has_help_with_an_example() -> None:
    shown = CliRunner().invoke(app, ["sandbox", "--help"]).stdout
    names = re.findall(r"^  ([a-z-]+) ", shown.partition("Commands:\n")[2], re.MULTILINE)
    assert {"serve", "env", "scan", "kinds", "run"} <= set(names)
    assert "..." not in shown.partition("Commands:\n")[2], "no line is too long"
    for name in names:
        result = CliRunner().invoke(app, ["sandbox", name, "--help"])
        assert result.exit_code == 0
        _, _, examples = result.stdout.partition("\n  Examples:\n    ")
        assert f"orchestrator sandbox {name}" in examples.partition("\n")[0]


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["sandbox", "nonsense"], ["sandbox", "scan"], ["--nonsense"]]
)
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    failed(orchestrator(*arguments), "^Usage: orchestrator", code=2)


HEAVY = {"asyncio", "cryptography", "google", "h11", "httpx", "http", "nacl", "neonize", "PIL", "rich", "ssl",
         "websockets", "zxingcpp"}  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["sandbox", "--help"], ["sandbox", "serve", "--help"], ["sandbox", "x"]],
)
def test_help_imports_only_typer_and_the_standard_library(arguments: list[str]) -> None:
    show = "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    # What typer itself imports depends on its version, and on how far it gets.
    smallest = (
        "import sys, typer\n"
        "app = typer.Typer(rich_markup_mode=None)\n"
        "app.callback()(lambda: None)\n"
        "@app.command()\ndef command(number: int = 0, flag: bool = False) -> None: ...\n"
        f"try:\n    app(['command'])\nexcept SystemExit:\n    {show}"
    )
    ours = f"import sys\nfrom orchestrator.cli import main\ntry:\n    main()\nexcept SystemExit:\n    {show}"
    by_typer, by_us = (
        set(
            subprocess.run(
                [sys.executable, "-c", program, *arguments],
                capture_output=True, text=True, timeout=DEADLINE, check=True,
            ).stderr.splitlines()[-1].split()
        )
        for program in (smallest, ours)
    )  # fmt: skip
    assert by_us - by_typer - sys.stdlib_module_names == {"orchestrator"}
    assert not by_us & HEAVY
