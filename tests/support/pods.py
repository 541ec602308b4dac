"""Carries out the pods of StatefulSets and Jobs, as Kubernetes would, by podman: `Pod`, `Pods`, `run_job`.

What the manifest says is done, and what this module does not know is an error, so that nothing in a chart is
merely believed. The kubelet's part is done as the kubelet does it: files of ConfigMaps and Secrets are links
to a folder of the newest version, an emptyDir may be written to by everybody, the group of fsGroup gets the
volumes, and probes are commands that run inside, with their periods, time limits and thresholds. There is one
node, so what says where pods go is not tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
from support.container_engine import Engine

Manifest = Mapping[str, Any]
T = TypeVar("T")

PATIENCE = 240.0
_STATEFUL_SET = {
    "replicas", "podManagementPolicy", "serviceName", "selector", "template", "updateStrategy",
    "minReadySeconds", "persistentVolumeClaimRetentionPolicy", "volumeClaimTemplates",
}  # fmt: skip
_JOB = {"backoffLimit", "template"}
_JOB_POD = {
    "restartPolicy", "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks",
    "securityContext", "containers", "volumes",
}  # fmt: skip
_JOB_CONTAINER = {"name", "image", "imagePullPolicy", "command", "args", "securityContext", "volumeMounts"}
_POD = {
    "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "securityContext",
    "containers", "terminationGracePeriodSeconds", "volumes", "tolerations", "topologySpreadConstraints",
}  # fmt: skip
_POD_SECURITY = {
    "runAsNonRoot",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "fsGroupChangePolicy",
    "seccompProfile",
}
_CONTAINER = {
    "name", "image", "imagePullPolicy", "args", "env", "ports", "startupProbe", "readinessProbe",
    "livenessProbe", "resources", "securityContext", "volumeMounts",
}  # fmt: skip
_CONTAINER_SECURITY = {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}
_PROBE = {"exec", "periodSeconds", "timeoutSeconds", "failureThreshold"}


def known(found: Manifest, keys: set[str], where: str) -> None:
    """See that a part of a manifest has only keys that are carried out.

    Raises:
        AssertionError: It has others.
    """
    assert set(found) <= keys, f"nobody has said how to carry out {sorted(set(found) - keys)} of {where}"


@dataclass(frozen=True, eq=False)
class Probe:
    """A probe.

    Attributes:
        command: What runs inside.
        period: Seconds from one run to the next.
        limit: Seconds that a run may take.
        threshold: How many failures in a row count.
    """

    command: tuple[str, ...]
    period: float
    limit: float
    threshold: int

    @classmethod
    def of(cls, found: Manifest) -> Probe:
        """Read a probe; only commands can be run."""
        known(found, _PROBE, "a probe")
        known(found["exec"], {"command"}, "exec")
        command = tuple(found["exec"]["command"])
        return cls(command, found["periodSeconds"], found["timeoutSeconds"], found["failureThreshold"])


class Node:
    """A machine of the cluster: volumes, ConfigMaps and Secrets in a folder.

    Args:
        folder: Where they are.
        maps: The ConfigMaps and Secrets by name, the files of each by name.
    """

    def __init__(self, folder: Path, maps: dict[str, dict[str, str]]) -> None:
        self.folder = folder
        self.maps = maps
        self._versions = 0

    def projected(self, name: str, mode: int, group: int | None) -> Path:
        """Return the folder of a ConfigMap or a Secret, in the newest version.

        Args:
            name: Its name.
            mode: The mode of its files.
            group: fsGroup, if the pod has one.
        """
        self._versions += 1
        folder = self.folder / f"map-{name}"
        folder.mkdir(exist_ok=True)
        version = folder / f"..2026_11_30_04_00_{self._versions:02}.1"
        version.mkdir()
        for key, text in self.maps[name].items():
            file = version / key
            file.write_text(text)
            file.chmod(mode)
            with contextlib.suppress(FileExistsError):
                (folder / key).symlink_to(f"..data/{key}")
        (folder / "..new").symlink_to(version.name)
        (folder / "..new").rename(folder / "..data")
        folder.chmod(0o1777)
        if group is not None:
            give_to_group(folder, group, read_only=True)
        return folder

    def volume(self, name: str, group: int | None, *, policy: str = "Always") -> Path:
        """Return a persistent volume: a file system of root, which the group of the pod gets."""
        folder = self.folder / f"volume-{name}"
        if not folder.exists():
            folder.mkdir(mode=0o755)
        if group is not None:
            about = folder.stat()
            matches = about.st_gid == group and about.st_mode & 0o2070 == 0o2070
            if policy == "Always" or not matches:
                give_to_group(folder, group)
        return folder

    def empty(self, name: str, group: int | None) -> Path:
        """Return an emptyDir of a new pod."""
        folder = self.folder / f"empty-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        folder.chmod(0o777)
        if group is not None:
            give_to_group(folder, group)
        return folder


def give_to_group(folder: Path, group: int, *, read_only: bool = False) -> None:
    """Do to a volume what the kubelet does for fsGroup, to every file in it."""
    for path in (folder, *_all_in(folder)):
        about = path.lstat()
        os.chown(path, -1, group, follow_symlinks=False)
        if stat.S_ISLNK(about.st_mode):
            continue
        mode = stat.S_IMODE(about.st_mode) | (0o440 if read_only else 0o660)
        if stat.S_ISDIR(about.st_mode):
            mode |= stat.S_ISGID | 0o110
        path.chmod(mode)


def _all_in(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files))


def options_of(node: Node, name: str, pod: Manifest, image: str, *, claims: Mapping[str, str]) -> list[str]:
    """Return the end of podman's line that makes the container of a pod.

    Args:
        node: Where the pod runs.
        name: What the pod is called.
        pod: The part `spec` of its template, which has one container.
        image: The image in the place of the one that the pod names, which no registry has here.
        claims: The names of persistent volumes, by those of the pod's volumes.
    """
    (container,) = pod["containers"]
    known(pod["securityContext"], _POD_SECURITY, "the pod's securityContext")
    known(container["securityContext"], _CONTAINER_SECURITY, "the container's securityContext")
    security, own = pod["securityContext"], container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}  # which podman's own filter stands for
    options = ["--user", f"{security['runAsUser']}:{security['runAsGroup']}", "--unsetenv", "HOME"]
    options += ["--hostname", name]
    if "fsGroup" in security:
        options += ["--group-add", str(security["fsGroup"])]
    assert own["allowPrivilegeEscalation"] is False
    options += ["--security-opt=no-new-privileges"]
    options += [f"--cap-drop={name}" for name in own["capabilities"]["drop"]]
    if own["readOnlyRootFilesystem"]:
        options += ["--read-only", "--read-only-tmpfs=false"]
    for variable in container.get("env", ()):
        options += ["--env", f"{variable['name']}={variable['value']}"]
    options += _volumes(node, name, pod, container, claims)
    # The memory that all containers of a pod share, also one that is started again.
    shared = node.empty(f"{name}-shm", None)
    shared.chmod(0o1777)
    options += ["--volume", f"{shared}:/dev/shm"]
    # What this machine lacks, see `container_engine`.
    options += ["--no-healthcheck", "--network", "host", "--cgroups", "disabled"]
    options += ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000"]
    if "command" in container:
        options += ["--entrypoint", json.dumps(container["command"])]
    return [*options, image, *container.get("args", ())]


def _volumes(
    node: Node, pod_name: str, pod: Manifest, container: Manifest, claims: Mapping[str, str]
) -> list[str]:
    security = pod["securityContext"]
    group, policy = security.get("fsGroup"), security.get("fsGroupChangePolicy", "Always")
    sources: dict[str, Path] = {
        name: node.volume(claim, group, policy=policy) for name, claim in claims.items()
    }
    for volume in pod["volumes"]:
        match volume:
            case {"name": name, "configMap": {"name": source, "defaultMode": mode, **rest}} if not rest:
                sources[name] = node.projected(source, mode, group)
            case {"name": name, "secret": {"secretName": source, "defaultMode": mode, **rest}} if not rest:
                sources[name] = node.projected(source, mode, group)
            case {"name": name, "emptyDir": about} if set(about) <= {"sizeLimit", "medium"}:
                sources[name] = node.empty(f"{pod_name}-{name}", group)
            case _:
                raise AssertionError(f"nobody has said how to make {volume}")
    options = []
    for mount in container["volumeMounts"]:
        known(mount, {"name", "mountPath", "readOnly"}, "a mount")
        suffix = ":ro" if mount.get("readOnly") else ""
        options += ["--volume", f"{sources.pop(mount['name'])}:{mount['mountPath']}{suffix}"]
    assert not sources, f"nothing mounts {sorted(sources)}"
    return options


def run_job(
    engine: Engine, node: Node, manifest: Manifest, image: str, extra: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run the container of a Job once, to its end."""
    assert manifest["kind"] == "Job"
    known(manifest["spec"], _JOB, "the Job")
    pod = manifest["spec"]["template"]["spec"]
    known(pod, _JOB_POD, "the Job's pod")
    (container,) = pod["containers"]
    known(container, _JOB_CONTAINER, "the Job's container")
    name = manifest["metadata"]["name"]
    end = options_of(node, name, pod, image, claims={})
    line = engine.line("podman", "run", "--rm", "--name", name, *extra, *end)
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)


class Pod:
    """A pod of a StatefulSet; as a context manager it runs and, whatever happens, is ended.

    Args:
        engine: Runs its container.
        node: Where it runs.
        manifest: The StatefulSet.
        image: The image in the place of the one it names, which no registry has here.
        extra: More options of podman, which lead to a sandbox.
        ordinal: Which of the StatefulSet's pods.

    Attributes:
        starts: How often its container was started.
        is_ready: Whether its readiness probe, and before it the startup probe, succeeded last.
        failures: What probes have said when they failed.
        probed: How often a readiness or a liveness probe has run.
    """

    def __init__(
        self,
        engine: Engine,
        node: Node,
        manifest: Manifest,
        image: str,
        extra: Sequence[str] = (),
        ordinal: int = 0,
    ) -> None:
        self._engine, self._node, self._image, self._extra = engine, node, image, extra
        self._ordinal = ordinal
        self.starts = 0
        self.is_ready = False
        self.failures: list[str] = []
        self.probed = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._read(manifest)

    def _read(self, manifest: Manifest) -> None:
        assert manifest["kind"] == "StatefulSet"
        spec = manifest["spec"]
        known(spec, _STATEFUL_SET, "the StatefulSet")
        assert self._ordinal < spec["replicas"]
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        pod = spec["template"]["spec"]
        known(pod, _POD, "the pod")
        (container,) = pod["containers"]
        known(container, _CONTAINER, "the container")
        self.name = f"{manifest['metadata']['name']}-{self._ordinal}"
        names = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())]
        self._claims = {name: f"{name}-{self.name}" for name in names}
        self._policy = spec.get("podManagementPolicy", "OrderedReady")
        self._pod = pod
        self.grace = int(pod["terminationGracePeriodSeconds"])
        self._startup = Probe.of(container["startupProbe"])
        self._readiness = Probe.of(container["readinessProbe"])
        self._liveness = Probe.of(container["livenessProbe"])

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # The life of the pod

    def update(self, manifest: Manifest) -> None:
        """Replace the pod by one of a new manifest, as a rolling update of one replica does.

        Raises:
            AssertionError: Kubernetes would wait until the pod is ready before it replaces the pod.
        """
        assert self.is_ready or self._policy == "Parallel", f"{self.name} is not ready, and stays as it is"
        self.end()
        self._read(manifest)
        self.begin()

    def lose(self) -> None:
        """End the pod with the machine that it runs on: all processes at once, and for good."""
        self._stopping.set()
        self._engine.podman("kill", "--signal", "KILL", self.name, check=False)
        if self._thread is not None:
            self._thread.join()
        self.is_ready = False
        if self._process is not None:
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self, *, frozen: bool = True) -> None:
        """Stop all processes of the pod as a machine does that is suspended, or let them go on."""
        inner = int(self._engine.podman("inspect", "--format={{.State.Pid}}", self.name).stdout)
        first = psutil.Process(inner)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def until(self, condition: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
        """Return what a condition returns as soon as that is something."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if self._error is not None:
                raise AssertionError(f"the pod could not be kept up: {self._error}") from self._error
            assert time.monotonic() < deadline, (
                f"not within {seconds:g} s: {what}; {self.failures}\n{self.log}"
            )
            time.sleep(0.2)
        return found

    def until_ready(self) -> None:
        """Wait until the pod is ready."""
        self.until(lambda: self.is_ready or None, f"{self.name} is ready")

    def until_probed(self, often: int) -> None:
        """Wait until its probes have run so often."""
        self.until(lambda: self.probed >= often, "its probes have run")

    @property
    def log(self) -> str:
        """What its containers have written."""
        path = self._node.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def exec(self, *command: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the container, as `kubectl exec` does."""
        line = self._engine.line("podman", "exec", self.name, *command)
        return subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )

    def begin(self) -> None:
        """Start the pod; as a context manager it does so by itself."""
        end = options_of(self._node, self.name, self._pod, self._image, claims=self._claims)
        self._options = [*self._extra, *end]
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep_up, name="kubelet", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the pod in good order."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self.is_ready = False
        self._terminate()

    def _terminate(self) -> None:
        """End the container: SIGTERM, and SIGKILL after the grace period."""
        if self._process is None:
            return
        self._engine.podman("kill", "--signal", "TERM", self.name, check=False)
        try:
            self._process.wait(self.grace)
        except subprocess.TimeoutExpired:
            self.failures.append("killed after the grace period")
            self._engine.podman("kill", self.name, check=False)
            self._process.wait(PATIENCE)
        self._process = None

    def _keep_up(self) -> None:
        try:
            while not self._stopping.is_set():
                self._start()
                self._watch()
                if not self._stopping.is_set():
                    self._terminate()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._error = error

    def _start(self) -> None:
        self._engine.podman("rm", "--force", "--time", "0", self.name, check=False)
        with (self._node.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._engine.line("podman", "run", "--rm", "--name", self.name, *self._options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.starts += 1
        self.is_ready = False

    def _watch(self) -> None:
        """Run the probes until the container has ended or is to be replaced."""
        if not self._succeeds(self._startup):
            return
        self.is_ready = True
        failed = {self._readiness: 0, self._liveness: 0}
        due = {probe: time.monotonic() + probe.period for probe in failed}
        running: dict[Probe, Future[bool]] = {}
        # As the kubelet does it: a probe that hangs holds no other one up.
        with ThreadPoolExecutor(len(failed), "probe") as beside:
            while self._is_up():
                for probe in failed:
                    if probe not in running and time.monotonic() >= due[probe]:
                        running[probe] = beside.submit(self._run, probe)
                for probe in [probe for probe, run in running.items() if run.done()]:
                    failed[probe] = 0 if running.pop(probe).result() else failed[probe] + 1
                    due[probe] = time.monotonic() + probe.period
                    self.probed += 1
                self.is_ready = failed[self._readiness] < self._readiness.threshold
                if failed[self._liveness] >= self._liveness.threshold:
                    self.failures.append("liveness")
                    break
                self._stopping.wait(0.2)
        self.is_ready = False

    def _succeeds(self, probe: Probe) -> bool:
        for _ in range(probe.threshold):
            if self._stopping.wait(probe.period) or not self._is_up():
                return False
            if self._run(probe):
                return True
        self.failures.append("startup")
        return False

    def _is_up(self) -> bool:
        assert self._process is not None
        return not self._stopping.is_set() and self._process.poll() is None

    def _run(self, probe: Probe) -> bool:
        try:
            done = self.exec(*probe.command, seconds=probe.limit)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


class Pods:
    """All pods of a StatefulSet; as a context manager they run and, whatever happens, are ended.

    Args:
        make: Makes a pod of a manifest and its number.
        manifest: The StatefulSet.

    Attributes:
        all: The pods, by their numbers.
    """

    def __init__(self, make: Callable[[Manifest, int], Pod], manifest: Manifest) -> None:
        assert manifest["spec"]["podManagementPolicy"] == "Parallel"
        self.all = [make(manifest, number) for number in range(manifest["spec"]["replicas"])]

    def __enter__(self) -> Self:
        for pod in self.all:
            pod.begin()
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(len(self.all), "ends") as beside:
            list(beside.map(Pod.end, self.all))

    def until_ready(self) -> None:
        """Wait until all pods are ready."""
        for pod in self.all:
            pod.until_ready()

    def update(self, manifest: Manifest) -> None:
        """Replace all pods, the last one first; each when the one before has been ready for a while."""
        spec = manifest["spec"]
        assert spec["updateStrategy"] == {"type": "RollingUpdate"}
        for pod in reversed(self.all):
            pod.update(manifest)
            pod.until_ready()
            time.sleep(spec["minReadySeconds"])
