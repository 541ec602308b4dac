"""A machine with a real systemd: `Box`. It is made of namespaces over this one, and nothing of it stays.

Its root is an overlay of this machine's in memory, so whatever is written there ends with it. Processes,
mounts, control groups, host name and IPC are its own; the network is this machine's, so that a sandbox can be
reached. /proc/sys and /sys are read-only, or its systemd would set this machine's; and what could set the
clock, the network, auditing or modules is taken away from it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import pytest

T = TypeVar("T")

MUST = "ORCHESTRATOR_TESTS_MUST_BOOT"
"""Where this variable is set, a machine on which nothing can be booted fails the tests and skips none."""
SYSTEMD = Path("/lib/systemd/systemd")
BOOT_SECONDS = 120.0
"""Seconds for what takes a tenth of one on an idle machine."""
PATIENCE = 120.0
PACKAGES = Path("/opt/orchestrator-packages")
"""Where the packages of these tests' Python are in there, read-only."""
_HIDDEN = ("/root", "/home", "/tmp", "/var/tmp", "/run/user")
_GROUP = "orchestrator-box-"
_count = itertools.count()
_NOT_FOR_IT = (
    "audit_control", "audit_read", "audit_write", "block_suspend", "net_admin", "sys_boot", "sys_module",
    "sys_rawio", "sys_time", "syslog", "wake_alarm",
)  # fmt: skip
"""Capabilities by which it could change this machine."""

_SET_UP = r"""
set -eu
box=$1 packages=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 box "$box"
mkdir "$box/upper" "$box/work" "$box/root"
mount -t overlay box -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" "$box/root"
cd "$box/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# What this machine starts is none of its business.
find etc/systemd/system usr/lib/systemd/system \
  -maxdepth 1 \( -name '*.wants' -o -name '*.requires' -o -name '*.d' \) -exec rm -rf {} +
rm -f usr/lib/systemd/system/systemd-journald-audit.socket
rm -rf usr/lib/systemd/system-generators etc/systemd/system-generators var/log/journal
rm -rf etc/orchestrator* var/lib/orchestrator* opt/orchestrator* etc/systemd/system/orchestrator*
mkdir -p etc/systemd/system/multi-user.target.d opt/orchestrator-packages
printf '[Unit]\nWants=systemd-journald.service\n' >etc/systemd/system/multi-user.target.d/box.conf
rm -f etc/machine-id
echo 0123456789abcdef0123456789abcdef >etc/machine-id
mount --bind "$packages" opt/orchestrator-packages
mount -o remount,bind,ro opt/orchestrator-packages
hostname box
mkdir old
pivot_root . old
cd /
umount -l old
rmdir old
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --bounding-set "$3" --inh-caps "$3" \
  /lib/systemd/systemd --unit=multi-user.target --log-target=journal --show-status=false
"""

_TRIAL = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs trial /tmp
mkdir /tmp/upper /tmp/work /tmp/root
mount -t overlay trial -o lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work /tmp/root
mount -t proc proc /tmp/root/proc
mount -t sysfs -o ro sysfs /tmp/root/sys
mount -t cgroup2 cgroup2 /tmp/root/sys/fs/cgroup
"""


def need_box() -> None:
    """Skip the test where nothing can be booted, or fail it where that must not be."""
    if (reason := _reason()) is not None:
        cannot(reason)


def cannot(reason: str) -> NoReturn:
    """Skip a test that this machine cannot run, or fail it where that must not be."""
    if os.environ.get(MUST):
        pytest.fail(f"a real systemd must be tried here ({MUST}), and cannot be: {reason}")
    pytest.skip(f"no real systemd can be tried here: {reason}")


def _reason() -> str | None:
    """Say why nothing can be booted here, if so."""
    if os.geteuid() != 0:
        return "this is not root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    for program in ("unshare", "nsenter", "setpriv", "mount"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    groups = _cgroups()
    if groups is None or not os.access(groups, os.W_OK):
        return "no cgroup2 is mounted, or it is read-only"
    if python_in_sight() is None:
        return f"there is no Python {_version()} that a unit with ProtectHome= could see"
    line = ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "sh", "-c", _TRIAL]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.stderr.strip() or "nothing can be mounted" if done.returncode else None


def _cgroups() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return Path(place)
    return None


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def python_in_sight() -> Path | None:
    """Return a Python of this one's version, so that it can have its packages, which a unit can see."""
    for place in (Path(sys.base_prefix) / "bin", Path("/usr/local/bin"), Path("/usr/bin")):
        python = place / f"python{_version()}"
        if python.exists() and not str(python.resolve()).startswith(_HIDDEN):
            return python
    return None


class Box:
    """The machine; as a context manager it is booted and, whatever happens, ended with all that runs in it.

    Attributes:
        init: The process id of its systemd, as this machine has it.
    """

    def __init__(self) -> None:
        self.init = 0
        self._folder = Path(tempfile.mkdtemp(prefix="orchestrator-box-"))
        cgroups = _cgroups()
        assert cgroups is not None
        _sweep(cgroups)
        self._group = cgroups / f"{_GROUP}{os.getpid()}-{next(_count)}"
        self._console = tempfile.TemporaryFile()  # noqa: SIM115 - it lasts as long as this
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException as error:
            error.add_note(self._said())
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Add the end of the journal to whatever is raised in this context."""
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(Exception):
                error.add_note(self.run("journalctl", "--no-pager", "-n", "60").stdout)
            raise

    def path(self, inside: str | Path) -> Path:
        """Return where this machine sees a file of that one's; symbolic links would lead astray."""
        return Path(f"/proc/{self.init}/root") / str(inside).lstrip("/")

    def line(self, *command: str | Path, user: str | None = None) -> list[str]:
        """Return how a command is run in there, by default as root, with hardly any environment."""
        home, who = "/root", list[str]()
        if user:
            _, _, _, group, _, home, _ = self.run("getent", "passwd", user).stdout.split(":")
            who = ["setpriv", "--reuid", user, "--regid", group, "--init-groups", "--"]
        environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={home}", "LC_ALL=C.UTF-8"]
        line = ["nsenter", "--target", str(self.init), "--all", "env", "--chdir=/", "-i", *environment]
        return [*line, *who, *map(str, command)]

    def run(
        self, *command: str | Path, check: bool = True, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there, which must succeed if that is checked, and never with a traceback."""
        done = subprocess.run(
            self.line(*command, user=user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert not check or done.returncode == 0, done
        return done

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Give a command of systemctl's."""
        return self.run("systemctl", *arguments, check=check)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Return entries of the journal, the oldest first."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--output=json", "--all", "--no-pager", *arguments).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def until(self, condition: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
        """Return what a condition returns as soon as that is true."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
            time.sleep(0.05)
        return found

    def processes(self, unit: str) -> list[int]:
        """Return the ids of a unit's processes, as this machine has them."""
        group = self.show(unit, "ControlGroup")
        if not group:
            return []
        return _members(self._group / group.lstrip("/"))

    def _boot(self) -> None:
        self._group.mkdir()
        packages = sysconfig.get_path("platlib")

        def enter_group() -> None:
            (self._group / "cgroup.procs").write_text(str(os.getpid()))

        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        without = ",".join(f"-{name}" for name in _NOT_FOR_IT)
        self._process = subprocess.Popen(
            # Should these tests be killed, all of it goes with them.
            ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces,
             "sh", "-c", _SET_UP, "box", str(self._folder), packages, without],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            preexec_fn=enter_group,
        )  # fmt: skip
        self.init = self.until(self._find_init, "its systemd has started", BOOT_SECONDS)
        self.until(self._is_up, "it has booted", BOOT_SECONDS)

    def _find_init(self) -> int | None:
        assert self._process is not None
        assert self._process.poll() is None, "it has ended"
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return None
        with contextlib.suppress(OSError):
            if Path(f"/proc/{children[0]}/exe").readlink().name == "systemd":
                return int(children[0])
        return None

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-system-running", check=False).stdout == "running\n"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            (self._group / "cgroup.kill").write_text("1")
        self.until(lambda: not _members(self._group), "all of its processes have ended")
        _remove(self._group)
        self._folder.rmdir()  # its mounts ended with it
        self._console.close()

    def _said(self) -> str:
        self._console.seek(0)
        return self._console.read().decode(errors="replace")


def _members(group: Path) -> list[int]:
    found: list[int] = []
    for file in (group / "cgroup.procs", *group.glob("**/cgroup.procs")):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in file.read_text().split()]
    return sorted(set(found))


def _remove(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106


def _sweep(cgroups: Path) -> None:
    """Remove what tests left behind that were killed: control groups with nobody in them."""
    for group in cgroups.glob(f"{_GROUP}*"):
        if not Path("/proc", group.name.removeprefix(_GROUP).split("-")[0]).exists() and not _members(group):
            _remove(group)
