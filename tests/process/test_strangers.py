"""Other users of the machine: their files are not used, their programs get no command, and give none."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cli import COMMAND, PATIENCE, STAND_IN, Cli
from support.fleet import Fleet, asynchronous, until

from orchestrator.cli import COMMANDS
from orchestrator.control.client import Client
from orchestrator.errors import ExitCode, OrchestratorError
from orchestrator.service.control import server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")

MALLORY = 65534
ARGUMENTS: dict[str, list[list[str]]] = {
    "run": [[]],
    "shutdown": [[]],
    "logs": [[], ["--follow"]],
    "reload": [[], ["--dry-run"], ["--probe"]],
    "set": [["support", "note=x"]],
    "enable": [["support"]],
    "disable": [["support"]],
    "doctor": [[], ["--json"]],
    "ping": [[], ["--json"]],
    "add": [["new"]],
    "remove": [["support", "--yes"]],
    "rename": [["support", "new"]],
    "restore": [["support"], [], ["--json"]],
    "quarantine": [["list"], ["list", "--json"], ["purge", "--all", "--yes"]],
    "start": [["support"]],
    "stop": [["support"], ["--all"], ["s*", "--tag", "eu"]],
    "restart": [["support"]],
    "maintenance": [["on"], ["off"], ["status"]],
    "list": [[], ["--json"], ["--watch"], ["--check", "--for", "5m"], ["--needs-person"]],
    "status": [[]],
    "explain": [["support"]],
    "history": [[], ["support", "--json"]],
    "report": [[], ["support", "--csv"]],
    "wait": [["support"], ["--all", "--for", "1s"]],
    "link": [["support"], ["support", "--no-wait"]],
    "repair": [["support"], ["support", "--no-wait"]],
    "qr": [["support"]],
    "codes": [[], ["--watch", "shown"]],
    "messages": [["support"], ["support", "--json"], ["support", "--follow"]],
    "trace": [["3EB0A1B2C3D4E5F60718"], ["3EB0A1B2C3D4E5F60718", "support"]],
    "media": [["support", "17"]],
    "send": [["support", "--to", "+4915100000001", "the secret offer"]],
    "outbox": [["support"], ["support", "--row", "1"], ["support", "--take-back", "1"]],
    "token": [["add", "crm", "--scope", "read"], ["list"], ["remove", "crm"]],
    "webhook": [["list"], ["test", "crm"], ["dead", "crm"]],
    "consumer": [
        ["list"], ["reset", "crm", "--from", "now"], ["pause", "echo"], ["resume", "echo"], ["dead", "echo"],
        ["replay", "echo"],
    ],
    "bot": [["run", "my_bot:bot", "--no-reload"]],
    "on-change": [["test"], ["status"]],
    "config": [["check"], ["show", "support"]],
    "cluster": [
        ["init"], ["import", "old"], ["export", "new"], ["status"], ["drain", "one"],
        ["move", "support", "one"],
    ],
    "page": [[]],
}  # fmt: skip
"""How each command is given that asks for the configuration."""
OTHERS = {"install-unit", "demo", "sandbox"}
"""Commands that read no configuration of the current folder."""
GIVEN = [(name, arguments) for name, ways in ARGUMENTS.items() for arguments in ways]

BOT = "from orchestrator.bots import Bot\nbot = Bot()\nbot.on_message()(print)\n"
LISTENER = """
import os, socket, sys
path, uid = sys.argv[1], int(sys.argv[2])
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o666)
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
listener.listen()
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        got = connection.makefile("rb").readline()
        print(repr(got), flush=True)
        if got:
            connection.sendall(b'{"result": {"accounts": [], "without_account": []}}\\n')
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    tmp_path.chmod(0o755)
    (tmp_path / "my_bot.py").write_text(BOT)
    return Cli(tmp_path)


class Fake:
    """A program of another user that listens where the service would, as a context manager."""

    def __init__(self, path: Path, uid: int = MALLORY) -> None:
        command = [sys.executable, "-c", LISTENER, str(path), str(uid)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def got(self) -> str:
        """Return what the next connection has sent."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def fake(path: Path, uid: int = MALLORY) -> Iterator[Fake]:
    one = Fake(path, uid)
    try:
        yield one
    finally:
        one.close()


# The configuration of the current folder


def test_every_command_is_tried_here() -> None:
    assert ARGUMENTS.keys() | OTHERS == COMMANDS.keys()


@pytest.mark.parametrize(("name", "arguments"), GIVEN)
def test_no_command_uses_a_configuration_that_lies_in_a_strangers_folder(
    cli: Cli, name: str, arguments: list[str]
) -> None:
    """What mallory's file names is not as much as looked at: neither her socket nor her folder of codes."""
    state, codes = cli.folder / "hers", cli.folder / "victim"
    for folder in (state, codes):
        folder.mkdir(mode=0o700)
    os.chown(state, MALLORY, MALLORY)
    (codes / "precious").touch()
    cli.config.write_text(
        f"state_dir: {state}\nqr_dir: {codes}\nqr_group: '{MALLORY}'\naccounts: {{support: {{}}}}\n"
    )
    os.chown(cli.config, MALLORY, MALLORY)
    before = cli.config.read_bytes()
    with fake(state / "control.sock") as listener:
        done = cli.run([*COMMAND, name, *arguments], code=ExitCode.USAGE)
        Client(state / "control.sock", trusts=lambda _: True).call("list")
        assert "list" in listener.got()  # ours, and nothing came before
    assert f"{cli.config} is not used, because {cli.config} belongs to nobody" in done.stderr
    assert "--config" in done.stderr
    assert done.stdout == ""
    assert cli.config.read_bytes() == before
    about = codes.stat()
    assert (about.st_mode & 0o777, about.st_uid, about.st_gid) == (0o700, 0, 0)
    assert [path.name for path in state.iterdir()] == ["control.sock"]


def test_a_configuration_of_ones_own_is_used_and_a_strangers_if_it_is_named(cli: Cli) -> None:
    cli.configure("support: {}", top=f"state_dir: {cli.state}\n")
    assert json.loads(cli.run([*COMMAND, "list", "--json"]).stdout)[0]["name"] == "support"
    os.chown(cli.config, MALLORY, MALLORY)
    cli.run([*COMMAND, "list", "--json"], code=ExitCode.USAGE)
    named = [*COMMAND, "--config", str(cli.config), "list", "--json"]
    assert json.loads(cli.run(named).stdout)[0]["name"] == "support"
    cli.environment["ORCHESTRATOR_CONFIG"] = "accounts.yaml"
    assert json.loads(cli.run([*COMMAND, "list", "--json"]).stdout)[0]["name"] == "support"


def test_a_bot_is_not_run_from_a_folder_that_others_can_write_to(cli: Cli) -> None:
    cli.configure("support: {}")
    bots = cli.folder / "bots"
    bots.mkdir()
    (bots / "my_bot.py").write_text("print('RUN')\n" + BOT)
    command = ["bot", "run", "my_bot:bot", "--no-reload", "--path", str(bots)]
    assert "RUN" in cli(*command, code=ExitCode.NOT_RUNNING).stdout
    bots.chmod(0o777)
    done = cli(*command, code=ExitCode.FAILED)
    assert "one where others may put a program of theirs" in done.stderr
    bots.chmod(0o755)
    os.chown(bots / "my_bot.py", MALLORY, MALLORY)
    done = cli(*command, code=ExitCode.FAILED)
    assert "RUN" not in done.stdout
    os.chown(bots, MALLORY, MALLORY)
    assert "RUN" not in cli(*command, code=ExitCode.FAILED).stdout


# Who listens


ALONE = ("run", "cluster", "codes", "config", "doctor", "messages", "outbox", "token", "trace")
"""Commands that ask no service, or do without one that they do not trust. `bot` lacks its module first."""


TAKE_BACK = ("outbox", ["support", "--take-back", "1"])
EVERYBODY: tuple[str, list[str]] = ("history", [])
"""Of all accounts, the timelines alone tell what happened."""
LOOKS_ONLY: tuple[tuple[str, list[str]], ...] = (
    ("on-change", ["status"]),
    ("restore", []),
    ("restore", ["--json"]),
    ("quarantine", ["list"]),
    ("quarantine", ["list", "--json"]),
    ("quarantine", ["purge", "--all", "--yes"]),  # nothing is there that could be deleted
)
"""Read what is kept, and ask no service."""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        one
        for one in GIVEN
        if (one[0] not in ALONE and one not in (EVERYBODY, *LOOKS_ONLY)) or one == TAKE_BACK
    ],
)
def test_a_strangers_program_gets_no_byte(cli: Cli, name: str, arguments: list[str]) -> None:
    cli.configure("support: {}")
    cli.state.mkdir(mode=0o700)
    with fake(cli.state / "control.sock") as listener:
        done = cli(name, *arguments, code=ExitCode.FAILED)
        assert "is nobody's, so it is not the service, and got no command" in done.stderr
        assert "secret" not in done.stderr
        assert listener.got() == "b''"


def test_the_doctor_fails_over_a_strangers_program(cli: Cli) -> None:
    cli.configure("support: {}")
    cli.state.mkdir(mode=0o700)
    with fake(cli.state / "control.sock") as listener:
        done = cli("doctor", "--only", "service", code=ExitCode.FAILED)
        assert done.stdout.startswith("FAIL  service")
        assert "is nobody's" in done.stdout
        assert listener.got() == "b''"


@pytest.mark.parametrize(
    ("mode", "uid", "trusted"),
    [
        (0o755, MALLORY, True),  # as systemd's StateDirectory= of a service's user
        (0o755, 1, False),  # somebody else listens there
        (0o1777, MALLORY, False),  # anybody may have made the folder
        (0o777, MALLORY, False),
    ],
)
def test_root_gives_commands_to_the_owner_of_a_folder_that_only_root_can_have_made(
    cli: Cli, mode: int, uid: int, trusted: bool
) -> None:
    cli.configure("support: {}")
    state = cli.state = cli.folder / "states/of-a-service"
    state.mkdir(parents=True)
    state.parent.chmod(mode)
    os.chown(state, MALLORY, MALLORY)
    with fake(state / "control.sock", uid) as listener:
        cli("list", code=ExitCode.DONE if trusted else ExitCode.FAILED)
        assert ("list" in listener.got()) == trusted


def test_the_folder_below_a_home_that_is_not_ones_own_is_nobodys_unless_it_is_named(cli: Cli) -> None:
    """As after `sudo -E`: nobody named the folder, and its owner would get the commands of root."""
    home = cli.folder / "home"
    state = home / ".local/state/orchestrator"
    state.mkdir(parents=True)
    for folder in (home, home / ".local", home / ".local/state", state):
        os.chown(folder, MALLORY, MALLORY)
    cli.environment["HOME"] = str(home)
    with fake(state / "control.sock") as listener:
        cli.run([*COMMAND, "stop", "support"], code=ExitCode.FAILED)
        assert listener.got() == "b''"
        cli.run([*COMMAND, "--state-dir", str(state), "list"])
        assert "list" in listener.got()


def test_the_program_that_answers_is_judged_and_not_what_the_path_leads_to(cli: Cli) -> None:
    """The socket may be another one by the time somebody looks at its file."""
    cli.state.mkdir(mode=0o700)
    path = cli.state / "control.sock"
    with fake(path) as listener:
        os.chown(path, 0, 0)
        path.chmod(0o600)
        with pytest.raises(OrchestratorError, match="nobody's") as caught:
            Client(path).call("ping")
        assert caught.value.key == "service_untrusted"
        assert listener.got() == "b''"


# The folder of codes


@pytest.mark.parametrize("arguments", [["run"], ["repair", "support"]])
def test_a_private_folder_is_not_opened_to_the_group_of_the_codes(cli: Cli, arguments: list[str]) -> None:
    victim = cli.folder / "victim"
    victim.mkdir(mode=0o700)
    (victim / "precious").touch()
    cli.configure("support: {}", top=f"qr_dir: {victim}\nqr_group: '{MALLORY}'\n")
    done = cli(*arguments, code=ExitCode.FAILED, program=STAND_IN)
    assert f"{victim}: holds 1 other files than codes" in done.stderr
    about = victim.stat()
    assert (about.st_mode & 0o777, about.st_uid, about.st_gid) == (0o700, 0, 0)


def test_a_folder_of_codes_that_others_may_write_to_is_refused(cli: Cli) -> None:
    codes = cli.folder / "above/codes"
    codes.mkdir(parents=True)
    cli.configure("support: {}", top=f"qr_dir: {codes}\n")
    with cli.service():
        pass
    for place in (codes, codes.parent):
        place.chmod(0o777)
        said = f"every user may write to {place} (mode 0777), so others "
        refused = cli("run", code=ExitCode.FAILED, program=STAND_IN).stderr
        assert said in refused
        assert f"`chmod o-w {place}`" in refused
        found = json.loads(cli("doctor", "--json", "--only", "qr_folder", code=ExitCode.FAILED).stdout)
        advice = f"`chmod o-w {place}`, or choose another folder with qr_dir"
        assert [(one["status"], one["advice"]) for one in found] == [("FAIL", advice)]
        assert found[0]["text"].startswith(f"{said}could put codes of their own there")
        place.chmod(0o755)
    assert "OK" in cli("doctor", "--only", "qr_folder").stdout


@asynchronous
async def test_a_picture_that_somebody_has_replaced_is_removed_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(tmp_path, "a", "b", control=True)
    steps = ["connecting: unpaired", "code", "await: word", "code", "await: other", "end: pairing_expired"]
    fleet.puppets.play("a", steps)
    fleet.puppets.play("b", ["connecting: unpaired", "code", "await: word"])
    async with fleet:
        await fleet.until_true(lambda: fleet.about("a")["qr_path"], "it shows a code")
        await fleet.until_true(lambda: fleet.about("b")["qr_path"], "it shows a code, too")
        picture, planted = fleet.picture("a"), tmp_path / "hers.png"
        for _ in range(2):  # until the next code, nothing stays there
            planted.write_bytes(b"her code")
            os.chown(planted, MALLORY, MALLORY)
            planted.rename(picture)
            await until(lambda: not picture.exists(), "her picture is gone")
        # Whoever watches is told by a change.
        await fleet.until_true(lambda: fleet.about("a")["qr_path"] is None, "it names no picture")
        about = (await fleet.call("explain", name="a"))["account"]
        assert "somebody put another file in its place" in about["reason"]
        assert "`orchestrator qr a` shows the code" in about["reason"]
        assert about["qr_path"] is None
        errors = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
        assert len(errors) == 1
        assert errors[0].startswith(f"{picture}: somebody put another file in its place")
        assert fleet.about("b")["qr_path"] is not None
        fleet.puppets.go("a", "word")
        await fleet.until_true(lambda: fleet.about("a")["qr_path"], "it shows the next one")
        assert fleet.about("a")["reason"] == "waiting for its code to be used"


# Folders above


CHANGES = (["repair", "support", "--no-wait"], ["remove", "support", "--yes"], ["restore", "support"])


@pytest.mark.parametrize("arguments", CHANGES)
def test_root_changes_nothing_in_a_folder_that_others_can_rename(cli: Cli, arguments: list[str]) -> None:
    cli.state = cli.folder / "theirs/state"
    cli.configure("support: {}")
    session = cli.has_session("support")
    os.chown(cli.state.parent, MALLORY, MALLORY)
    assert f"{cli.state.parent} belongs to nobody, so others " in cli(*arguments, code=ExitCode.FAILED).stderr
    assert [path.name for path in cli.state.iterdir()] == ["sessions"]
    assert session.exists()


@pytest.mark.parametrize("arguments", [["run"], ["repair", "support"]])
@pytest.mark.parametrize("what", ["state", "configuration"])
def test_root_starts_nothing_below_a_folder_that_others_can_rename(
    cli: Cli, arguments: list[str], what: str
) -> None:
    theirs = cli.folder / "theirs"
    theirs.mkdir()
    if what == "state":
        cli.state = theirs / "above/state"
    else:
        cli.config = theirs / "accounts.yaml"
    cli.configure("support: {}")
    if arguments == ["run"]:
        with cli.service():
            pass
    os.chown(theirs, MALLORY, MALLORY)
    before = sorted(cli.folder.rglob("*"))
    done = cli(*arguments, code=ExitCode.FAILED, program=STAND_IN)
    assert f"{theirs} belongs to nobody, so others can put another file in the place of the {what}" in (
        done.stderr
    )
    assert f"`chown root {theirs}`" in done.stderr
    assert sorted(cli.folder.rglob("*")) == before
    found = json.loads(cli("doctor", "--json", "--only", "local_users", code=ExitCode.FAILED).stdout)
    assert [one["status"] for one in found] == ["FAIL"]
    os.chown(theirs, 0, 0)
    assert cli("doctor", "--only", "local_users").stdout.startswith("OK")


# Who asks


ASK = """
import os, socket, sys
uid = int(sys.argv[2])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    try:
        connection.sendall(b'{"command": "list"}\\n')
    except BrokenPipeError:
        pass  # the answer is there already
    print(connection.recv(65536).decode())
"""


@asynchronous
async def test_the_service_answers_no_stranger_who_gets_to_its_socket(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STRANGERS_NAMED", 2)
    async with Fleet(tmp_path, control=True) as fleet:
        for folder in (tmp_path, fleet.paths.root):
            folder.chmod(0o755)
        fleet.paths.control_socket.chmod(0o666)

        async def ask(uid: int) -> dict[str, object]:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", ASK, str(fleet.paths.control_socket), str(uid), stdout=subprocess.PIPE
            )
            said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
            return dict(json.loads(said))

        for uid in (MALLORY, MALLORY, 1, 2, MALLORY):
            answer = await ask(uid)
            assert answer["key"] == "permission_denied"
        lines = [one.getMessage() for one in caplog.records if "was refused" in one.getMessage()]
        assert len(lines) == 2  # once for a user, and not for every user there is
        assert f"of user {MALLORY} " in lines[0]
        assert (await ask(0))["result"] is not None
        about = await asyncio.to_thread(fleet.client.call, "ping")
        assert about["refused"] == 5
        await until(lambda: fleet.connections == 0, "all connections are over")


@asynchronous
async def test_the_service_of_another_user_answers_root_and_that_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Fleet(tmp_path, control=True) as fleet:
        monkeypatch.setattr(os, "geteuid", lambda: MALLORY)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(fleet.paths.control_socket))
            connection.sendall(b'{"command": "list"}\n')
            assert b"result" in await asyncio.to_thread(connection.recv, 65536)
