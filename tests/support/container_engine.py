"""Builds the image of the Dockerfile, and runs it with podman: `Engine`.

No registry of images can be reached where tests run. So what stands in for the image that FROM names is made
of Debian's packages by debootstrap and gets its tag. All else is real: buildah carries out the Dockerfile,
and podman and crun make the container, with the filter of system calls that containers have by default.

crun wants the unified hierarchy of control groups alone, which not every machine has. So everything runs in a
mount namespace that has it. Where there is much memory, the images are in it, and gone with the
namespace. Control groups are not used: limits of memory are not tried here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/whatsapp-orchestrator"
"""What the image of the service is called."""
MUST = "ORCHESTRATOR_TESTS_MUST_CONTAIN"
"""Where this variable is set, a machine on which no image can be built fails the tests and skips none."""
PROGRAMS = ("buildah", "podman", "crun", "debootstrap", "unshare", "nsenter", "mount", "chroot")
PACKAGES = ("python3.11", "python3.11-venv", "python3-pip-whl", "python3-setuptools-whl")
"""What makes Debian's minimum into something like the image of Python."""
BUILD_SECONDS = 1800.0
"""Seconds for what takes a minute on an idle machine, most of it downloads."""
PATIENCE = 120.0
MEMORY = 4 << 30
"""Bytes that the images may have where they are kept in memory; all tests together make 1.3 GB."""
_UNIFIED = """
set -eu
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
"""
_TRY = f"""{_UNIFIED}
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir lower upper work all
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay all
mknod null c 1 3
chroot / true
unshare --pid --ipc --uts --net --fork --mount-proc true
"""
"""What buildah, podman and crun do, in short."""
_HOLD = f"""{_UNIFIED}
[ -z "$2" ] || mount -t tmpfs -o "mode=0711,size=$2" tmpfs "$1"
mkdir "$1/base" "$1/tmp"
echo ready
exec cat
"""


def need_engine() -> None:
    """Skip the test where no image can be built and run, or fail it where that must not be."""
    if (reason := _reason()) is None:
        return
    if os.environ.get(MUST):
        pytest.fail(f"a real container must be tried here ({MUST}), and cannot be: {reason}")
    pytest.skip(f"no real container can be tried here: {reason}")


def _reason() -> str | None:
    """Return why no container can be made, None if one can."""
    if os.geteuid() != 0:
        return "this is not root"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"there is no {', '.join(missing)}"
    with tempfile.TemporaryDirectory() as folder:
        line = ["unshare", "--mount", "sh", "-c", _TRY, "sh", folder]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return next(iter(done.stderr.strip().splitlines()), "namespaces and mounts are not allowed")


class Engine:
    """A store of images and containers of its own; as a context manager it is gone afterwards."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="oi", dir="/var/tmp"))
        self._folder.chmod(0o711)
        self._inner = self._folder / "inner"
        """What only programs in the mount namespace see, where there is much memory."""
        self._inner.mkdir(0o711)
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _HOLD, "sh", str(self._inner), _size()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._holder is not None
        try:
            self.podman("rm", "--all", "--force", "--time", "0", check=False)
            self.podman("unmount", "--all", check=False)
        finally:
            self._holder.communicate()  # its input ends, and with it the namespace
            shutil.rmtree(self._folder, ignore_errors=True)

    # Commands

    def line(self, program: str, *arguments: str) -> list[str]:
        """Return how podman or buildah is run."""
        store = ["--root", f"{self._inner}/store", "--runroot", f"{self._inner}/run"]
        if program == "podman":
            store += ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "crun"]
        return self._inside("env", f"TMPDIR={self._inner}/tmp", program, *store, *arguments)

    def _inside(self, *command: str) -> list[str]:
        """Return how a command is run in the mount namespace."""
        assert self._holder is not None
        return ["nsenter", "--target", str(self._holder.pid), "--mount", f"--wdns={ROOT}", *command]

    def podman(
        self, *arguments: str, check: bool = True, seconds: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run podman, which must succeed if that is checked."""
        return _run(self.line("podman", *arguments), seconds, check=check)

    # Images

    def build(
        self,
        tag: str,
        context: Path = ROOT,
        *,
        target: str = "service",
        arguments: Mapping[str, str] | None = None,
        afresh: bool = False,
    ) -> str:
        """Carry out the Dockerfile; return the id of the image.

        Args:
            tag: What the image is called.
            context: The folder with the Dockerfile.
            target: Which of its stages.
            arguments: Values of its ARGs.
            afresh: Carry out every step again.
        """
        self._make_base(_base_of((context / "Dockerfile").read_text()))
        options = [
            *(["--no-cache"] if afresh else []),
            "--layers",
            "--isolation",
            "chroot",
            "--pull-never",
            "--format",
            "docker",
        ]
        # Times of files are those of the build otherwise, and no two images are equal.
        options += ["--timestamp", "0", "--network", "host", "--cap-add", "all"]
        for place in (*_packages_come_from(self._pip_conf()), "/etc/ssl/certs"):
            options += ["--volume", f"{place}:{place}:ro"]
        options += ["--volume", f"{self._pip_conf()}:/etc/pip.conf:ro"]
        for name, value in (arguments or {}).items():
            options += ["--build-arg", f"{name}={value}"]
        written = self._folder / "image-id"
        options += ["--iidfile", str(written), "--target", target, "--tag", tag]
        _run(self.line("buildah", "build", *options, str(context)), BUILD_SECONDS)
        return written.read_text().strip()

    def layers(self, image: str) -> list[tuple[str, str]]:
        """Return the layers of an image, the lowest first: size as podman shows it, and the step of each."""
        lines = self.podman(
            "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image
        ).stdout.splitlines()
        found = [line.split("\t", 1) for line in reversed(lines)]
        return [(size, step) for size, step in found if size != "0 B"]

    def _make_base(self, tag: str) -> None:
        if self.podman("image", "exists", tag, check=False).returncode == 0:
            return
        root = self._inner / "base"
        include = "ca-certificates,netbase,tzdata"
        made_of = ["debootstrap", "--variant=minbase", f"--include={include}", "bookworm", str(root)]
        _run(self._inside(*made_of), BUILD_SECONDS)
        chroot = self._inside("chroot", str(root))
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
        clean = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        _run([*chroot, *install], BUILD_SECONDS, environment=clean)
        # As in the image of Python: its python3 and pip are below /usr/local, and there is no byte code.
        made = """
        set -eu
        ln -s /usr/bin/python3.11 /usr/local/bin/python3
        export PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl)
        python3 -m pip install -q --break-system-packages --no-index --no-deps --no-compile "$PYTHONPATH"
        find / -xdev -name '*.pyc' -delete
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*
        """
        _run([*chroot, "sh", "-c", made], BUILD_SECONDS, environment=clean)
        container = _run(self.line("buildah", "from", "scratch"), PATIENCE).stdout.strip()
        _run(self.line("buildah", "copy", "--quiet", container, str(root), "/"), BUILD_SECONDS)
        _run(self.line("buildah", "config", "--env", f"PATH={clean['PATH']}", container), PATIENCE)
        _run(
            self.line("buildah", "commit", "--quiet", "--timestamp", "0", "--rm", container, tag),
            BUILD_SECONDS,
        )
        _run(self._inside("rm", "-rf", str(root)), PATIENCE)

    def _pip_conf(self) -> Path:
        """Return a file with what pip is told on this machine: where packages come from, above all."""
        path = self._folder / "pip.conf"
        if not path.exists():
            listed = _run(["python3", "-m", "pip", "config", "list"], PATIENCE, environment=os.environ).stdout
            told = dict(re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
            told.pop("constraint", None)
            path.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in told.items()))
        return path


def _size() -> str:
    """Return how large the images may become in memory; nothing if they are to be on disk.

    On disk they take twice as long: dpkg waits for the disk after each file, and each layer is copied twice.
    """
    return str(MEMORY) if psutil.virtual_memory().available > 2 * MEMORY else ""


def _base_of(dockerfile: str) -> str:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    return str(base)


def _packages_come_from(conf: Path) -> list[str]:
    """Return the folders of this machine in which pip looks for packages."""
    named = [Path(place) for place in re.findall(r"(?:file://|(?<=[ =]))(/[^\s']+)", conf.read_text())]
    # The pages of an index lead to files beside it.
    folders = {place.parent if place.name == "simple" else place for place in named}
    return sorted(str(place) for place in folders if place.is_dir())


def _run(
    command: Sequence[str],
    seconds: float,
    *,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert not check or done.returncode == 0, f"{list(command)}: {done.returncode}\n{said}"
    return done
