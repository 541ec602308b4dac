"""A service with the probe in the process of one account, run by a user without privileges: `Probed`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.service import ROOT, Service
from support.systemd_box import python_in_sight
from support.trouble import fork_server

from orchestrator.system import confinement
from orchestrator.system.probe import report
from orchestrator.system.probe.report import Aims, By, Finding

USER = 12345
"""Whom processes belong to that must not be root's."""
PROBED = "probe"
OTHER = "other"
PROGRAM = str(ROOT / "tests/support/probed_orchestrator.py")
"""All of the command, but with stand-ins for neonize."""
HOOK = ROOT / "tests/support/probing/sitecustomize.py"
_WRITTEN_BY_ALL = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
_MEANS: dict[str, set[By]] = {
    "files": {"files"},
    "calls": {"calls", "abstract"},
    "signals": {"signals"},
    "truncation": {"files"},
}
"""What is not closed where a part of the kernel is missing."""
_TABLES = "ORCHESTRATOR_PROBE_TABLES"
"""A folder for the tables, if somebody wants to read them."""


def as_nobody() -> list[str]:
    """Return how Python is run by a user without privileges; the test is skipped where that cannot be.

    What it is to import has to be on PYTHONPATH: see `python_path`.
    """
    if os.geteuid() != 0:
        return [sys.executable]
    python = python_in_sight()
    if python is None:
        pytest.skip("no other user sees a Python of this version")
    line = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", str(python)]
    look = "import orchestrator.system.probe.attempts, psutil"
    environment = {"PYTHONPATH": python_path(), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*line, "-P", "-c", look], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"another user may not read this program: {done.stderr[-200:]}")
    return line


def python_path(*before: Path) -> str:
    """Return a PYTHONPATH with these sources and all packages."""
    packages = sysconfig.get_path("platlib")
    return os.pathsep.join(map(str, (*before, ROOT, ROOT / "tests", packages)))


def give(path: Path) -> None:
    """Give a folder and all that is in it to the user without privileges."""
    if os.geteuid() == 0:
        for one in (path, *path.rglob("*")):
            os.chown(one, USER, USER, follow_symlinks=False)


def aims_at(
    state: Path,
    account: str,
    *,
    others: Mapping[str, Path],
    folders: tuple[Path, ...],
    processes: Mapping[str, int],
    sockets: Mapping[str, str],
    inside: Path = Path("/"),
) -> Aims:
    """Aim the probe at all that is in a state folder but the account's own, and at more.

    Args:
        state: The state folder.
        account: The account whose process has the probe.
        others: What else is to be tried, by the name of its door.
        folders: Folders outside.
        processes: Other processes.
        sockets: Sockets.
        inside: Where the root of the probe's machine is.
    """
    files: dict[str, list[str]] = {"state folder": [str(state)]}
    decoys = []
    own = own_folders(state, account)

    def seen(path: Path) -> str:
        return "/" + str(path.relative_to(inside)).lstrip("/")

    for path in sorted(look(inside, state).rglob("*")):
        said = seen(path)
        if path.name == "decoy":
            decoys.append(said)
        elif not path.is_socket() and not {Path(said), *Path(said).parents} & set(own):
            files.setdefault(Path(said).relative_to(state).parts[0], []).append(said)
    for door, path in others.items():
        files.setdefault(door, []).append(str(path))
    return Aims(
        own=tuple(map(str, own)),
        kept=(str(state / "tracebacks" / f"{account}.live"),),
        files={door: tuple(paths) for door, paths in files.items()},
        decoys=tuple(decoys),
        folders=tuple(map(str, folders)),
        processes=processes,
        sockets=sockets,
    )


def own_folders(state: Path, account: str) -> tuple[Path, ...]:
    """Return the folders that are an account's own, the first of which has the results."""
    return tuple(state / kind / account for kind in ("sessions", "messages"))


def look(inside: Path, path: Path) -> Path:
    """Return where this process sees a path of another machine."""
    return inside / str(path).lstrip("/")


@contextmanager
def abstract_socket() -> Iterator[str]:
    """Listen on an abstract socket; return its name with an @."""
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"orchestrator-probe-{os.getpid()}"
        listener.bind(f"\0{name}")
        listener.listen()
        yield f"@{name}"


class Probed:
    """Puts the probe into a service, and reads what it says.

    Args:
        service: The service, which is not started yet. It is given to the user without privileges.
        neonize: Whether the account loads neonize.
    """

    def __init__(self, service: Service, *, neonize: bool) -> None:
        self._service = service
        self._neonize = neonize
        self.own = own_folders(service.state, PROBED)[0]
        self.hook = service.folder / "hook"
        self.hook.mkdir()
        (self.hook / "sitecustomize.py").write_bytes(HOOK.read_bytes())
        path = python_path(self.hook)
        led = service.environment.get("PYTHONPATH")
        service.environment["PYTHONPATH"] = f"{led}:{path}" if led else path
        service.environment["HOME"] = str(service.folder)
        if "SSL_CERT_FILE" in service.environment:  # it lies in a folder that another user may not enter
            authority = service.folder / "authority.pem"
            authority.write_bytes(Path(service.environment["SSL_CERT_FILE"]).read_bytes())
            service.environment["SSL_CERT_FILE"] = str(authority)
        # What a service leaves there, and what other accounts have there.
        put_away = f"quarantine/other-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-logged_out"
        for folder in (
            "sessions/other",
            "sessions/probe",
            "messages/other",
            put_away,
            "qr",
        ):
            (service.state / folder).mkdir(parents=True, mode=0o700)
            service.state.chmod(0o700)
        kept = service.state / put_away
        for file in (kept / "other.sqlite3", kept / "decoy", service.state / "sessions/other/decoy"):
            file.write_text("somebody else's")
        for folder in ("sessions", "messages", "quarantine"):
            (service.state / folder).chmod(0o700)
        give(service.folder)

    def write_aims(self, abstract: str, **processes: int) -> None:
        """Aim the probe; the account's next process has it."""
        service = self._service
        server = fork_server(service.pid).pid
        (meeting,) = (service.state / "processes").iterdir()
        aims = aims_at(
            service.state,
            PROBED,
            others={"configuration": service.config_file, "home": service.folder},
            folders=(*_WRITTEN_BY_ALL, service.folder, self.hook, ROOT / "orchestrator"),
            processes={"service": service.pid, "fork server": server, **processes},
            sockets={
                "control socket": str(service.client.path),
                "fork server's socket": str(meeting),
                "abstract socket": abstract,
            },
        )  # fmt: skip
        about = {"account": PROBED, "neonize": self._neonize, "aims": json.loads(aims.as_json())}
        (self.hook / "aims.json").write_text(json.dumps(about))

    def findings(self, thread: str) -> list[Finding]:
        """Return what the probe has said on a thread: "main" or "thread"."""
        return read_findings(self.own, thread)

    def is_done(self, thread: str) -> bool:
        """Tell whether the probe has said anything on that thread."""
        return (self.own / f"probe-{thread}.json").exists()

    def sign(self, name: str) -> None:
        """Make a file in the account's own folder that the probe waits for."""
        (self.own / name).write_text("")


def read_findings(folder: Path, thread: str) -> list[Finding]:
    """Read what the probe has said on a thread, and keep the table if somebody wants it."""
    found = report.from_json((folder / f"probe-{thread}.json").read_text())
    if _TABLES in os.environ:
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].partition(" ")[0]
        (Path(os.environ[_TABLES]) / f"{name}-{thread}.txt").write_text(report.table(found))
    return found


def not_closed(findings: list[Finding]) -> list[Finding]:
    """Return what is not as it is wanted, but for what this machine's kernel cannot close.

    The processes that were aimed at must have been there.
    """
    assert not [one for one in findings if one.error == "ESRCH"]
    assert {"own folder", "sessions", "signals", "control socket"} <= {one.door for one in findings}
    lacks = {lack.word for lack in confinement.missing()}
    beyond = {by for word, means in _MEANS.items() if word in lacks for by in means}
    return [one for one in findings if not one.is_as_wanted and one.by not in beyond]


def pipes(findings: list[Finding]) -> set[str]:
    """Return the pipes that a process can read or write."""
    said = [one.detail for one in findings if one.door == "inherited descriptors"]
    return {detail.rpartition(", ")[2] for detail in said if detail.startswith("pipe")}
