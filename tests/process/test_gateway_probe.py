"""What a gateway that was taken over can reach: tried from inside of the real one, and on its own port."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.linked import wait_until
from support.ports import free_port
from support.probed import (
    OTHER,
    PROGRAM,
    abstract_socket,
    as_nobody,
    give,
    not_closed,
    python_path,
)
from support.service import ROOT, Service
from support.trouble import fork_server

from orchestrator.system.probe import report
from orchestrator.system.probe.report import Aims, Finding

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
THIRD = "third"
HOOK = ROOT / "tests/support/probing_gateway/sitecustomize.py"
GATEWAY: Json = {"gateway": True}
CONTROL = (
    "attach", "consumers", "media_fetch", "prune", "qr", "reload", "rename", "restore", "stop_all",
    "token", "trace", "webhook_test",
)  # fmt: skip
"""Words that are no commands of the gateway's port, whatever they are elsewhere."""
OF_CLIENTS = (
    "act", "add", "code", "explain", "look", "remove", "repair", "restart", "send", "start", "stop",
    "take_back",
)  # fmt: skip
NUMBERS = "list /proc/PID/fd"
"""Root sees how many files others have open: their numbers, and nothing of what they are."""


class Nowhere:
    """In the place of a sandbox, where nobody dials."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return dict(base)


class TakenOver:
    """A service with two accounts that show codes, and a gateway that somebody else uses."""

    def __init__(self, folder: Path, user: str) -> None:
        sandbox: Any = Nowhere()
        program = (*(as_nobody() if user == "nobody" else [sys.executable]), PROGRAM)
        http = {"listen": f"127.0.0.1:{free_port()}"}
        self.service = Service(folder, sandbox, [OTHER, THIRD], program=program, start=False, http=http)
        self.hook = folder / "hook"
        self.hook.mkdir()
        self.own = self.service.state / "gateway"
        self.service.environment |= {"PYTHONPATH": python_path(self.hook), "HOME": str(folder)}
        if user == "nobody":
            give(folder)
        else:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 0, 0)
        (self.hook / "sitecustomize.py").write_bytes(HOOK.read_bytes())
        self.asks: list[tuple[str, Json]] = []
        self.wanted: list[object] = []

    def token(self, name: str, scope: str, account: str) -> Json:
        done = self.service.command("token", "add", name, "--scope", scope, "--account", account)
        return {"token": done.stdout.split()[-1].split("_")[1]}

    def asks_for(self, command: str, asker: object, wanted: object, **arguments: object) -> None:
        """Have the gateway ask for something; `wanted` is the refusal's key, or tells whether it is right."""
        self.asks.append((command, {"as": asker, **arguments}))
        self.wanted.append(wanted)

    def begin(self, abstract: str) -> None:
        """Take the gateway over: the process that the service makes next is somebody else's."""
        service, state = self.service, self.service.state
        files: dict[str, list[str]] = {
            "state folder": [str(state)],
            "configuration": [str(service.config_file)],
        }
        for path in sorted(state.rglob("*")):
            if not path.is_socket() and self.own not in (path, *path.parents):
                files.setdefault(path.relative_to(state).parts[0], []).append(str(path))
        (meeting,) = (state / "processes").iterdir()
        aims = Aims(
            own=(str(self.own),),
            files={door: tuple(paths) for door, paths in files.items()},
            folders=("/tmp", "/var/tmp", "/dev/shm", str(service.folder), str(self.hook)),
            processes={
                "service": service.pid,
                "fork server": fork_server(service.pid).pid,
                "account": service.about(OTHER)["pid"],
            },
            sockets={
                "control socket": str(service.client.path),
                "fork server's socket": str(meeting),
                "abstract socket": abstract,
            },
        )  # fmt: skip
        about = {"aims": json.loads(aims.as_json()), "asks": self.asks}
        (self.hook / "aims.json").write_text(json.dumps(about))
        give(self.hook)
        pid = service.client.call("companions")["companions"]["gateway"]["pid"]
        os.kill(pid, 9)
        wait_until((self.own / "asked.json").exists, "the gateway that was taken over has not done")

    def findings(self) -> list[Finding]:
        return report.from_json((self.own / "probe-gateway.json").read_text())

    def answers(self) -> list[Json]:
        found: list[Json] = json.loads((self.own / "asked.json").read_text())
        return found


@pytest.mark.parametrize("user", ["nobody", "root"])
def test_a_gateway_that_was_taken_over_reaches_no_session_and_asks_for_no_more_than_its_clients(
    tmp_path: Path, user: str
) -> None:
    if user == "root" and os.geteuid() != 0:
        pytest.skip("this is not root")
    folder = tmp_path / "home"
    folder.mkdir()
    taken = TakenOver(folder, user)
    service = taken.service
    tmp_path.chmod(0o755)
    with service, abstract_socket() as abstract:
        service.start()
        for name in (OTHER, THIRD):
            service.wait_for_state(name, "pairing")
        wait_until(
            lambda: (service.client.call("companions")["companions"] or {}).get("gateway", {}).get("pid"),
            "there is no gateway",
        )
        before = [service.about(name)["pid"] for name in (OTHER, THIRD)]
        prepare(taken)
        taken.begin(abstract)
        after = [service.about(name)["pid"] for name in (OTHER, THIRD)]
        listed = service.command("list").stdout
    assert after == before, "\n".join(service.log)
    assert OTHER in listed
    assert left_open(taken, user) == []
    wrong = [
        (command, arguments, answer)
        for (command, arguments), answer, wanted in zip(
            taken.asks, taken.answers(), taken.wanted, strict=True
        )
        if not (wanted(answer) if callable(wanted) else answer == {"refused": wanted})
    ]
    assert wrong == []


def prepare(taken: TakenOver) -> None:
    """Say what the gateway asks for, and what may come of it."""
    reads = taken.token("reads", "read", OTHER)
    runs = taken.token("runs", "operate", OTHER)
    # The gateway for itself: it sees accounts, and nobody's codes.
    for command in OF_CLIENTS:
        taken.asks_for(command, GATEWAY, "permission_denied", name=OTHER)
    for command in CONTROL:
        taken.asks_for(command, GATEWAY, "unknown_command", name=OTHER)
        taken.asks_for(command, runs, "unknown_command", name=OTHER)
    # Nobody: no token of that id, no bot of that name, no UNIX socket that a local program could have used.
    for nobody in ({"token": "0" * 12}, {"bot": OTHER}, {"local": True}):
        for command in ("list", "watch", "code", "act", "stop", "history"):
            taken.asks_for(command, nobody, "permission_denied", name=OTHER)
    malformed: list[object] = [None, [], {}, "gateway", {**GATEWAY, **runs}]
    unknown: list[object] = [{"gateway": 1}, {"token": None}, {"local": 1}]
    nonsense = [(one, "bad_request") for one in malformed] + [(one, "permission_denied") for one in unknown]
    for asker, key in nonsense:
        taken.asks_for("code", asker, key, name=OTHER)
    # Clients: what their tokens say, and no other account.
    taken.asks_for("code", reads, "permission_denied", name=OTHER)
    taken.asks_for("act", runs, "permission_denied", name=OTHER, action={"kind": "text"})
    for command in ("code", "start", "stop", "restart", "repair", "remove", "add"):
        taken.asks_for(command, runs, "no_such_account", name=THIRD)
        taken.asks_for(command, reads, "permission_denied", name=OTHER)
    for command in ("history", "taken", "ping", "companions"):
        taken.asks_for(command, runs, "permission_denied", name=OTHER)
    for command in ("explain", "list", "watch"):
        taken.asks_for(command, reads, "no_such_account", name=THIRD)
    for more in ({"names": [OTHER, THIRD]}, {"names": [THIRD]}):
        taken.asks_for("list", reads, "no_such_account", **more)
    taken.asks_for("code", runs, "bad_request", names=[OTHER, THIRD])
    for command in ("list", "watch"):
        taken.asks_for(command, reads, lambda answer: [one["name"] for one in answer["accounts"]] == [OTHER])
    # And what is allowed is answered: all this would be refused by a port that answers nothing.
    taken.asks_for("code", runs, lambda answer: answer["kind"] == "qr", name=OTHER)


def left_open(taken: TakenOver, user: str) -> list[Finding]:
    """Return what is open and should not be. The gateway reads messages and tokens."""
    read = {
        what
        for folder in ("messages", "tokens")
        for path in (taken.service.state / folder, *(taken.service.state / folder).rglob("*"))
        for what in (
            f"list {path}",
            f"read {path}",
            f"read {path} through a descriptor without rights",
            f"read {path} through a symbolic link",
        )
    }
    return [
        one
        for one in not_closed(taken.findings())
        if one.what not in read and not (user == "root" and one.what == NUMBERS)
    ]
