"""The unit as shipped, with the installed wheel, under a real systemd that is booted for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from support.probed import PROBED, abstract_socket, aims_at, not_closed, own_folders, read_findings
from support.service import ROOT
from support.systemd_box import Box, cannot, need_box
from support.systemd_unit import HOME, PROBING, PROGRAM, UnitService, install_wheel

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(900)

ORPHAN_SECONDS = 30.0
"""Within how many seconds nothing may be left of a main process that was killed; it takes 0.1 by itself. Less
than `DIAL_SECONDS`, by which a process that dials ends in any case."""
PROBE = Path("/opt/orchestrator-probe.py")
_PLACES = (
    "/", "/etc/orchestrator", "/opt", "/run", "/run/orchestrator", "/srv", "/tmp", "/usr", "/var/lib",
    "/var/lib/orchestrator", "/var/log", "/var/tmp", "/dev/shm",
)  # fmt: skip
"""Folders that an account's process has no business in."""
STAMP = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|^<\d>")
"""What a message that has its time and priority from the journal must not have in its text."""


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    need_box()
    wheel: Path = request.getfixturevalue("wheel")
    with Box() as box:
        install_wheel(box, wheel)
        yield box


@pytest.fixture(scope="module")
def numbers(make_number: Callable[[], str]) -> dict[str, str]:
    return {name: make_number() for name in ("support", "proxied")}


@pytest.fixture(scope="module")
def installed(box: Box, shared_sandbox: SandboxProcess, numbers: dict[str, str]) -> UnitService:
    """The unit, started with two accounts that have been linked, one of which has a proxy of its own."""
    box.run(PROGRAM, "install-unit")
    service = UnitService(box, shared_sandbox)
    box.path(PROBE).write_bytes((ROOT / "tests/support/unit_probe.py").read_bytes())
    box.path("/tmp/mine.outside").write_text("")
    probe = f"ExecStartPost={HOME}/bin/python {PROBE} /var/lib/orchestrator/probe.json"
    service.lead_to_sandbox(probe, "RestartSec=100ms")
    proxy = f"http://ada:geheim@127.0.0.1:{shared_sandbox.port}"
    service.command("add", "support", "--phone", numbers["support"])
    service.command("add", "proxied", "--phone", numbers["proxied"], "--proxy", proxy)
    box.systemctl("enable", "--now", service.unit)
    # It was ready when that came back: it takes commands. Nobody is connected yet, and it does not wait.
    assert {account["state"] for account in service.accounts().values()} <= {"starting", "pairing"}
    assert re.match(r"0/2 connected, [12] ", service.status())
    with box.telling():
        for name, number in numbers.items():
            service.pair(name, number)
    return service


@pytest.fixture
def service(installed: UnitService) -> Iterator[UnitService]:
    """The unit, with both accounts connected."""
    config = installed.box.path(installed.config)
    good = config.read_text()
    with installed.box.telling():
        yield installed
    config.write_text(good)
    installed.box.systemctl("reset-failed")
    installed.box.systemctl("start", installed.unit)
    installed.command("reload")
    for name in ("support", "proxied"):
        installed.wait_for_state(name, "connected")


def until_status(service: UnitService, text: str) -> None:
    service.box.until(lambda: service.status() == text, f"{text} instead of {service.status()}")


def paired(service: UnitService, name: str) -> int:
    """Return how often an account has shown a code."""
    path = service.box.path(service.state / f"timeline/{name}.jsonl")
    return sum(json.loads(line)["to"] == "pairing" for line in path.read_text().splitlines())


# How it is


def test_its_status_counts_the_accounts(service: UnitService) -> None:
    until_status(service, "2/2 connected")
    service.command("stop", "proxied")
    until_status(service, "1/1 connected; 1 stopped")
    said = service.box.systemctl("status", "--no-pager", service.unit).stdout
    assert 'Status: "1/1 connected; 1 stopped"' in said
    service.command("start", "proxied")
    until_status(service, "2/2 connected")


def test_folders_and_files_are_for_whom_they_are_meant(service: UnitService) -> None:
    def about(*paths: Path) -> set[str]:
        return set(service.box.run("stat", "--format=%n %U:%G %a", *paths).stdout.splitlines())

    state, run, config = service.state, service.runtime, service.config
    assert about(state, run, run / "qr", run / "control.sock", config.parent, config) == {
        f"{state} orchestrator:orchestrator 700",
        f"{run} orchestrator:orchestrator 711",
        f"{run}/qr orchestrator:orchestrator-qr 750",
        f"{run}/control.sock orchestrator:orchestrator 600",
        f"{config.parent} root:orchestrator 2750",
        f"{config} root:orchestrator 640",
    }
    for file in service.box.path(state).rglob("*"):
        if file.name != "probe.json":
            assert file.stat().st_mode & 0o077 == 0, file


def test_it_is_locked_down(service: UnitService) -> None:
    probe = json.loads(service.box.path(service.state / "probe.json").read_text())
    assert probe["could"] == []
    assert probe["could not"] == []
    pids = service.box.processes(service.unit)
    assert len(pids) >= 5  # its own, two accounts', the fork server and its helper
    main = service.main_process()
    for pid in pids:
        about = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert about["NoNewPrivs"] == "1"
        assert about["Seccomp"] == "2"
        assert int(about["CapBnd"], 16) == int(about["CapEff"], 16) == int(about["CapPrm"], 16) == 0
        assert "0" not in about["Uid"].split()
        names = {entry.split("=")[0] for entry in Path(f"/proc/{pid}/environ").read_text().split("\0")}
        assert pid == main or not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
        assert re.search(r"Max core file size +0 +0", Path(f"/proc/{pid}/limits").read_text())
    # MemoryDenyWriteExecute= and the like do not keep accounts from sharing Go's library.
    sharing = [pid for pid in pids if "/memfd:neonize-" in Path(f"/proc/{pid}/maps").read_text()]
    assert len(sharing) == 3, "two accounts, and the fork server"
    assert service.box.show(service.unit, "LimitNOFILE") == "65536"  # if the machine has as many
    # Without the lock-down nearly all of it can be done: else it would be no wonder.
    outside = "/tmp/outside.json"
    service.box.run("env", f"STATE_DIRECTORY={service.state}", HOME / "bin/python", PROBE, outside)
    assert len(json.loads(service.box.path(outside).read_text())["could"]) >= 20
    for file in ("etc", "usr", "opt/orchestrator", "var/lib", "var/log", "run", "srv", ""):
        service.box.path(f"{file}/probe").unlink()


def test_an_account_reaches_nothing_but_its_own_folder(
    service: UnitService, make_number: Callable[[], str]
) -> None:
    box, state = service.box, service.state
    own = own_folders(state, PROBED)[0]
    for folder in (own, state / "sessions/other", state / "messages/other", state / "quarantine/other"):
        box.run("install", "-d", "-o", "orchestrator", "-g", "orchestrator", "-m", "700", folder)
    for decoy in (state / "sessions/other/decoy", state / "quarantine/other/decoy"):
        box.run("install", "-o", "orchestrator", "-m", "600", "/dev/null", decoy)
    main = box.show(service.unit, "MainPID")
    (server,) = box.run("pgrep", "--parent", main, "--full", "forkserver import").stdout.split()
    (meeting,) = box.path(service.runtime / "processes").iterdir()
    with abstract_socket() as abstract:
        aims = aims_at(
            state,
            PROBED,
            others={"configuration": service.config, "folder of codes": service.runtime / "qr"},
            folders=tuple(map(Path, _PLACES)),
            processes={
                "service": int(main),
                "fork server": int(server),
                "sibling": service.accounts()["support"]["pid"],
            },
            sockets={
                "control socket": str(service.runtime / "control.sock"),
                "fork server's socket": str(service.runtime / "processes" / meeting.name),
                "systemd's socket": "/run/systemd/notify",
                "abstract socket": abstract,
            },
            inside=box.path("/"),
        )
        about = {"account": PROBED, "neonize": True, "aims": json.loads(aims.as_json())}
        box.path(PROBING / "aims.json").write_text(json.dumps(about))
        try:
            service.command("add", PROBED)
            service.pair(PROBED, make_number())
            box.run("install", "-o", "orchestrator", "-m", "600", "/dev/null", own / "probe-now")
            results = box.path(own)
            box.until(lambda: (results / "probe-thread.json").exists(), "the probe has done")
            found = {thread: read_findings(results, thread) for thread in ("main", "thread")}
            assert service.accounts()[PROBED]["state"] == "connected"
            until_status(service, "3/3 connected")
        finally:
            box.path(PROBING / "aims.json").unlink()
            service.command("remove", PROBED, "--yes")
    for findings in found.values():
        assert not_closed(findings) == []


def test_commands_find_it_without_being_told_where_it_is(service: UnitService) -> None:
    assert service.box.run(PROGRAM, "list", "--check").stdout == "", "nothing is down"
    for user in ("root", "orchestrator"):
        assert "connected" in service.box.run(PROGRAM, "list", user=user).stdout
    refused = service.box.run(PROGRAM, "list", user="nobody", check=False)
    assert refused.returncode == 1
    assert f"{service.config}: this user may not look there: try again with sudo" in refused.stderr
    # What root adds, the service can read, and takes over at once.
    service.command("add", "spare", "--disabled")
    until_status(service, "2/2 connected; 1 disabled")
    service.command("remove", "spare")
    until_status(service, "2/2 connected")
    found = json.loads(service.box.run(PROGRAM, "doctor", "--json", user="orchestrator", check=False).stdout)
    assert not [one for one in found if one["status"] == "FAIL" and one["check"] != "WhatsApp"], found


# The journal


def test_the_journal_has_priorities_and_accounts(
    service: UnitService, shared_sandbox: SandboxProcess, numbers: dict[str, str]
) -> None:
    before = service.accounts()["support"]["pid"]
    # Go's own last words: at such a refusal the library panics.
    shared_sandbox.client.fault("failure", target=numbers["support"], times=1, reason=413)
    service.command("restart", "support")
    service.wait_for_state("support", "connected", after=before)
    entries = service.box.journal("--unit", service.unit, "_SYSTEMD_UNIT=" + service.unit)
    ours = [entry for entry in entries if entry["_TRANSPORT"] == "stdout"]
    main = service.box.show(service.unit, "MainPID")
    for entry in ours:
        assert not STAMP.search(entry["MESSAGE"]), entry
        assert not any(number[1:] in entry["MESSAGE"] for number in numbers.values())
    by_main = [entry for entry in ours if entry["_PID"] == main]
    by_child = [entry for entry in ours if entry["_PID"] != main]
    assert all(entry["MESSAGE"].startswith("orchestrator.") for entry in by_main)
    assert all(re.match(r"\[(support|proxied|probe)\] ", entry["MESSAGE"]) for entry in by_child)
    priorities = {entry["PRIORITY"] for entry in ours}
    assert {"3", "4", "6"} <= priorities <= {"2", "3", "4", "5", "6"}
    panic = [entry for entry in by_child if "panic" in entry["MESSAGE"]]
    assert {entry["PRIORITY"] for entry in panic} == {"3"}, by_child
    service.box.run("journalctl", "--sync")
    lines = service.box.run("journalctl", "--no-pager", "--unit", service.unit, "--priority=warning").stdout
    assert "support: " in lines
    assert "connecting → connected" not in lines


# Reloading


def test_a_reload_comes_back_when_it_is_done_or_refused(service: UnitService) -> None:
    config = service.box.path(service.config)
    good = config.read_text()
    config.write_text(f"{good}  spare: {{enabled: false}}\n")
    service.box.systemctl("reload", service.unit)
    assert "spare" in service.accounts()
    assert service.status() == "2/2 connected; 1 disabled"

    config.write_text(f"{good}  spare: {{enabled: perhaps}}\n")
    refused = service.box.systemctl("reload", service.unit, check=False)
    assert refused.returncode == 1
    assert service.box.show(service.unit, "ActiveState") == "active"
    assert service.status() == "2/2 connected; 1 disabled; the last reload was refused, see the log"
    assert "spare" in service.accounts()
    (entry, *_) = service.box.journal("--unit", service.unit, "--grep=configuration is not used")
    assert entry["PRIORITY"] == "3"
    assert "expected true or false" in entry["MESSAGE"]

    config.write_text(good)
    main = service.box.show(service.unit, "MainPID")
    service.box.systemctl("kill", "--kill-who=main", "--signal=HUP", service.unit)
    until_status(service, "2/2 connected")
    assert service.box.show(service.unit, "ActiveState") == "active"
    assert service.box.show(service.unit, "MainPID") == main


# The gateway

BOT = """\
from orchestrator.bots import Bot, Message

bot = Bot()


@bot.on_message()
async def answer(message: Message) -> None:
    await message.reply("hello")
"""


def test_the_gateway_and_a_bot_run_locked_down_on_sockets_of_systemd(service: UnitService) -> None:
    box = service.box
    config = box.path(service.config)
    folder = box.path("/opt/bots")
    folder.mkdir()
    (folder / "my_bot.py").write_text(BOT)
    box.path("/etc/systemd/system/orchestrator.socket").write_text(
        "[Socket]\nListenStream=127.0.0.1:28080\n\n[Install]\nWantedBy=sockets.target\n"
    )
    config.write_text(
        f"""{config.read_text()}
http:
  listen: [systemd, "unix:{service.runtime}/api.sock"]
bots:
  echo: {{app: "my_bot:bot", path: /opt/bots}}
"""
    )
    box.systemctl("daemon-reload")
    box.systemctl("stop", service.unit)
    box.systemctl("start", "orchestrator.socket")
    box.systemctl("start", service.unit)
    try:

        def listed() -> str:
            return service.command("list").stdout

        box.until(lambda: "gateway: running, 1 bot" in listed(), "the gateway and the bot run")
        doctor = service.command("doctor", "--only", "companions", check=False).stdout
        assert "FAIL" not in doctor
        assert "without" not in doctor  # all that isolates it works in there
        assert "bot echo: running" in doctor
        assert _asked(box, "GET", "/healthz", "127.0.0.1:28080") == 200
        api = f"{service.runtime}/api.sock"
        assert _asked(box, "GET", "/healthz", api) == 200
        assert _asked(box, "GET", "/api/accounts", api) == 200
        # The unit may not write the configuration, and that is said.
        assert _asked(box, "POST", "/api/accounts", api, '{"name": "new"}') >= 400
        assert "new" not in service.accounts()
        for pid in box.processes(service.unit):
            (line,) = re.findall("Max core file size (.*)", Path(f"/proc/{pid}/limits").read_text())
            assert line.split() == ["0", "0", "bytes"]
        # A connection that comes while the service itself is started anew waits.
        box.systemctl("restart", service.unit)
        assert _asked(box, "GET", "/healthz", "127.0.0.1:28080") == 200
        box.systemctl("stop", "orchestrator.socket", service.unit)
        assert box.show(service.unit, "Result") == "success"
        assert not box.processes(service.unit)
    finally:
        box.systemctl("stop", "orchestrator.socket", check=False)
        box.path("/etc/systemd/system/orchestrator.socket").unlink()
        box.systemctl("daemon-reload")


def _asked(box: Box, method: str, path: str, where: str, body: str = "") -> int:
    """Return the status of an answer to a request from in there."""
    ask = """
import http.client, socket, sys
method, path, where, body = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1:28080", timeout=90)
if where.startswith("/"):
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(90)
    connection.sock.connect(where)
headers = {"Content-Type": "application/json"} if body else {}
connection.request(method, path, body or None, headers)
print(connection.getresponse().status)
"""
    done = box.run(HOME / "bin/python", "-c", ask, method, path, where, body, user="orchestrator")
    return int(done.stdout)


# The folder of codes


def test_a_group_watches_the_codes_as_the_guide_says(
    service: UnitService, shared_sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    if shutil.which("inotifywait") is None:
        cannot("there is no inotifywait")
    box = service.box
    guide = (ROOT / "docs/systemd.md").read_text()
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?inotifywait .*?)```", guide, re.DOTALL)
    box.path("/usr/local/bin/watch-codes").write_text(script)
    box.run("useradd", "--create-home", "--groups", "orchestrator-qr", "ada")
    box.run("install", "-d", "-o", "ada", "/home/ada/codes")
    copies = box.path("/home/ada/codes")
    # As after a boot: it is started before the service, which makes the folder.
    box.systemctl("stop", service.unit)
    box.run("rm", "-r", service.runtime)
    line = box.line("setsid", "sh", "/usr/local/bin/watch-codes", user="ada")
    with subprocess.Popen(line, stdin=subprocess.DEVNULL) as watcher:
        try:
            box.until(lambda: b"sleep" in running(box, "ada"), "it waits")
            box.systemctl("start", service.unit)
            box.until(lambda: watches(box, "ada"), "it watches")
            for name in ("first", "second"):
                service.command("add", name)
                png = box.path(service.runtime / f"qr/{name}.png")
                copy = copies / png.name
                box.until(partial(is_copy, copy, png), f"a copy of {name}'s code")
                shared_sandbox.client.scan(make_number(), png=copy)
                box.until(partial(is_gone, copy), "it is gone")
                # The folder is the same one after a restart: whoever watches it still does.
                box.systemctl("restart", service.unit)
        finally:
            watcher.terminate()
            box.run("pkill", "--uid", "ada", check=False)
    for name in ("first", "second"):
        service.wait_for_state(name, "connected")
        service.command("remove", name, "--yes")
    # Whom nobody has let in is told so, and does not wait.
    refused = box.run("sh", "/usr/local/bin/watch-codes", user="nobody", check=False)
    assert "Permission denied" in refused.stderr


def is_copy(path: Path, of: Path) -> bool:
    return path.exists() and of.exists() and path.read_bytes() == of.read_bytes()


def is_gone(path: Path) -> bool:
    return not path.exists()


def watches(box: Box, user: str) -> bool:
    """Tell whether a user's inotifywait does watch: it takes a moment from its start."""
    look = f"grep -qs '^inotify wd:' /proc/$(pgrep -u {user} -x inotifywait)/fdinfo/*"
    return box.run("sh", "-c", look, check=False).returncode == 0


def running(box: Box, user: str) -> bytes:
    return box.run("ps", "-o", "args=", "-u", user, check=False).stdout.encode()


# Several of them


def test_an_instance_is_a_service_of_its_own(
    service: UnitService, shared_sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    box = service.box
    box.run(PROGRAM, "install-unit", "--instance", "sales")
    sales = UnitService(box, shared_sandbox, "sales")
    exec_start = f"ExecStart={PROGRAM} --config {sales.config} run --log-format json"
    sales.lead_to_sandbox("ExecStart=", exec_start)
    sales.command("add", "shop")
    box.systemctl("start", sales.unit)
    sales.pair("shop", make_number())
    until_status(sales, "1/1 connected")
    until_status(service, "2/2 connected")
    assert set(sales.accounts()) == {"shop"}
    assert set(service.accounts()) == {"support", "proxied"}
    assert box.path(sales.state / "sessions/shop/session.sqlite3").exists()
    assert not set(box.processes(sales.unit)) & set(box.processes(service.unit))
    config = box.path(sales.config)
    good = config.read_text()
    config.write_text("accounts: 3\n")
    box.systemctl("kill", "--kill-who=main", "--signal=HUP", sales.unit)
    until_status(sales, "1/1 connected; the last reload was refused, see the log")
    config.write_text(good)
    logged = box.journal("--unit", sales.unit, f"_SYSTEMD_UNIT={sales.unit}", "_TRANSPORT=stdout")
    records = [json.loads(entry["MESSAGE"]) for entry in logged]
    assert {record.get("account") for record in records} == {None, "shop"}
    assert all(record["time"] for record in records)
    found = {(record["level"], entry["PRIORITY"]) for record, entry in zip(records, logged, strict=True)}
    assert {("INFO", "6"), ("ERROR", "3")} <= found <= {("INFO", "6"), ("WARNING", "4"), ("ERROR", "3")}
    # Neither can read the other's sessions.
    for one, other in ((sales, "orchestrator"), (service, "orchestrator-sales")):
        assert box.run("ls", one.state, user=other, check=False).returncode == 2
    box.systemctl("stop", sales.unit)
    assert service.status() == "2/2 connected"
    box.systemctl("start", sales.unit)
    sales.wait_for_state("shop", "connected")
    box.run(PROGRAM, "install-unit", "--instance", "sales", "--uninstall")
    assert not box.processes(sales.unit)
    assert box.path(sales.state / "sessions/shop/session.sqlite3").exists()
    until_status(service, "2/2 connected")


# Ends


def came_back(service: UnitService, before: list[int], codes: dict[str, int]) -> None:
    """See that it was started anew, and that nobody had to scan anything for that."""
    service.box.until(lambda: service.box.show(service.unit, "ActiveState") == "active", "it is active again")
    for name, count in codes.items():
        service.wait_for_state(name, "connected")
        assert paired(service, name) == count
    assert not set(before) & set(service.box.processes(service.unit))


@pytest.fixture
def codes(service: UnitService) -> dict[str, int]:
    return {name: paired(service, name) for name in ("support", "proxied")}


@pytest.fixture
def impatient(service: UnitService) -> Iterator[UnitService]:
    """The unit, with a watchdog that does not wait as long as the one that is shipped."""
    dropin = service.box.path(f"/run/systemd/system/{service.unit}.d/watchdog.conf")
    dropin.parent.mkdir(parents=True)
    dropin.write_text("[Service]\nWatchdogSec=15s\n")
    service.box.systemctl("daemon-reload")
    service.box.systemctl("restart", service.unit)
    yield service
    dropin.unlink()
    service.box.systemctl("daemon-reload")
    service.box.systemctl("restart", service.unit)


def test_a_main_process_that_hangs_is_replaced(impatient: UnitService, codes: dict[str, int]) -> None:
    impatient.wait_for_state("support", "connected")
    before = impatient.box.processes(impatient.unit)
    restarts = int(impatient.box.show(impatient.unit, "NRestarts"))
    os.kill(impatient.main_process(), signal.SIGSTOP)
    impatient.box.until(lambda: int(impatient.box.show(impatient.unit, "NRestarts")) > restarts, "a restart")
    came_back(impatient, before, codes)
    texts = [entry["MESSAGE"] for entry in impatient.box.journal("--unit", impatient.unit)]
    assert any("Watchdog timeout" in text for text in texts)
    assert any("Fatal Python error: Aborted" in text for text in texts)  # and then, where it was


def test_nothing_is_left_of_a_main_process_that_is_killed(
    service: UnitService, codes: dict[str, int]
) -> None:
    before = service.box.processes(service.unit)
    os.kill(service.main_process(), signal.SIGKILL)

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in before)

    service.box.until(gone, "no process is left", ORPHAN_SECONDS)
    came_back(service, before, codes)


def test_an_upgrade_needs_no_codes(service: UnitService, codes: dict[str, int], wheel: Path) -> None:
    before = service.box.processes(service.unit)
    install_wheel(service.box, wheel)
    service.box.run(PROGRAM, "install-unit")
    service.box.systemctl("restart", service.unit)
    came_back(service, before, codes)


def test_a_stop_lets_the_accounts_say_goodbye(service: UnitService, codes: dict[str, int]) -> None:
    before = service.box.processes(service.unit)
    seen = service.box.journal("--unit", service.unit)[-1]["__CURSOR"]
    service.box.systemctl("stop", service.unit)
    assert service.box.show(service.unit, "Result") == "success"  # within TimeoutStopSec=
    assert not service.box.processes(service.unit)
    entries = service.box.journal("--unit", service.unit, f"--after-cursor={seen}")
    # All in good order: not even a warning.
    assert not [entry["MESSAGE"] for entry in entries if int(entry["PRIORITY"]) <= 4]
    texts = [entry["MESSAGE"] for entry in entries]
    assert any("[support]" in text and "ended: stopped" in text for text in texts)
    assert any("the service has stopped" in text for text in texts)
    assert service.command("list", "--check", check=False).returncode == 4
    service.box.systemctl("start", service.unit)
    came_back(service, before, codes)


def test_a_configuration_that_is_not_valid_is_not_started(service: UnitService) -> None:
    config = service.box.path(service.config)
    service.box.systemctl("stop", service.unit)
    config.write_text("accounts: nonsense\n")
    assert service.box.systemctl("start", service.unit, check=False).returncode != 0
    texts = [entry["MESSAGE"] for entry in service.box.journal("--unit", service.unit, "-n", "20")]
    assert any("accounts: expected a mapping" in text for text in texts)
    assert not any("Traceback" in text for text in texts)
    service.box.systemctl("stop", service.unit)
