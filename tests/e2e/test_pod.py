"""The chart, carried out: the pod that Helm renders, with a real account against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.charts import rendered
from support.container import leading_to
from support.container_engine import Engine
from support.pods import Node, Pod

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(2400)


class Cluster:
    """One node, and what is applied to it.

    Args:
        folder: Where the node is.
        engine: Runs containers.
        image: The image of the service.
        sandbox: WhatsApp.
        number: The phone of the account.
    """

    def __init__(
        self, folder: Path, engine: Engine, image: str, sandbox: SandboxProcess, number: str
    ) -> None:
        folder.chmod(0o755)
        self.sandbox, self.number, self._engine, self._image = sandbox, number, engine, image
        self.node = Node(folder, {"proxy": {"url": f"{_proxy_of(sandbox)}\n"}})

    def objects(self, **values: object) -> dict[str, dict[str, Any]]:
        """Render the chart for one account whose proxy comes from a Secret."""
        config = {
            "defaults": {"proxy_file": "/etc/orchestrator-secrets/proxy/url"},
            "accounts": {"support": {"phone": self.number}},
        }
        found = rendered({"config": config, "secrets": ["proxy"], **values})
        self.node.maps[found["ConfigMap"]["metadata"]["name"]] = found["ConfigMap"]["data"]
        return found

    def pod(self, manifest: Mapping[str, Any]) -> Pod:
        """Return the pod of a StatefulSet."""
        extra = leading_to(self.sandbox, self.node.folder)
        return Pod(self._engine, self.node, manifest, self._image, extra)


@pytest.fixture
def cluster(
    folder: Path, engine: Engine, image: str, sandbox: SandboxProcess, make_number: Callable[[], str]
) -> Cluster:
    number = make_number()
    sandbox.client.add_phone(number, "Support")
    return Cluster(folder, engine, image, sandbox, number)


def _proxy_of(sandbox: SandboxProcess) -> str:
    found: str = sandbox.about["environment"]["HTTPS_PROXY"]
    return found


def ask(pod: Pod, *command: str) -> str:
    done = pod.exec("orchestrator", *command)
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


def account(pod: Pod) -> dict[str, Any]:
    try:
        (found,) = json.loads(ask(pod, "list", "--json"))
    except ValueError:  # no service answers at the moment
        return {"state": "", "qr_path": None, "pid": None}
    return dict(found)


def process_of(pod: Pod) -> int:
    """Return the id of the service's process, as the container has it."""
    return int(json.loads(ask(pod, "ping", "--json"))["pid"])


def until_connected(pod: Pod) -> None:
    pod.until(lambda: account(pod)["state"] == "connected", "the account is connected")


def link(pod: Pod, cluster: Cluster) -> None:
    picture = cluster.node.folder / "code.png"

    def scanned() -> bool:
        path = account(pod)["qr_path"]
        if path is None:
            return False
        assert path.startswith("/dev/shm/"), "codes are in memory"
        picture.write_bytes(pod.exec("cat", path).stdout)
        try:
            cluster.sandbox.client.scan(cluster.number, png=picture)
        except SandboxError:
            return False
        return True

    pod.until(scanned, "a code is scanned")
    until_connected(pod)


def test_the_pod_of_the_chart_keeps_its_account(cluster: Cluster) -> None:
    objects = cluster.objects()
    with cluster.pod(objects["StatefulSet"]) as pod:
        pod.until_ready()
        link(pod, cluster)
        doctor = ask(pod, "doctor")
        assert "FAIL" not in doctor, doctor
        assert "can isolate the accounts' processes fully" in doctor
        assert pod.exec("id", "-u").stdout == b"10001\n"
        assert pod.exec("touch", "/etc/orchestrator/x").returncode != 0

        # The container ends, and is started again beside the same emptyDirs: no code.
        before = pod.starts
        assert pod.exec("sh", "-c", f"kill -9 {process_of(pod)}").returncode == 0
        pod.until(lambda: pod.starts > before, "the container is started again")
        pod.until_ready()
        until_connected(pod)

        # Another configuration: the pod is replaced, and the new one has the same volume. No code.
        newer = cluster.objects(page={"port": 18081})
        assert newer["StatefulSet"] != objects["StatefulSet"]
        pod.update(newer["StatefulSet"])
        pod.until_ready()
        until_connected(pod)
        assert "18081" in pod.exec("cat", "/etc/orchestrator/accounts.yaml").stdout.decode()

        # A cluster that opens the volume to fsGroup at each start: modes are mended, nothing is lost.
        always = json.loads(json.dumps(newer["StatefulSet"]))
        always["spec"]["template"]["spec"]["securityContext"]["fsGroupChangePolicy"] = "Always"
        pod.update(always)
        pod.until_ready()
        until_connected(pod)
        volume = cluster.node.volume(f"state-{pod.name}", None) / "state"
        assert volume.stat().st_mode & 0o077 == 0
        for database in (volume / "sessions").rglob("*.sqlite3"):
            assert database.stat().st_mode & 0o077 == 0, database
    assert pod.log.count("Successfully paired") == 1
    assert "killed after the grace period" not in pod.failures
    assert pod.log.count("the service has stopped") == 3


def test_a_pod_that_cannot_start_is_repaired_by_a_new_configuration_which_a_reload_takes_later(
    cluster: Cluster,
) -> None:
    wrong = cluster.objects(restartOnChange=False, podLabels={"try": "1"})
    cluster.node.maps[wrong["ConfigMap"]["metadata"]["name"]] = {"accounts.yaml": "accounts: 7\n"}
    with cluster.pod(wrong["StatefulSet"]) as pod:
        pod.until(lambda: pod.starts == 2, "the container ends, and is started again")
        assert not pod.is_ready
        assert "accounts.yaml:1: accounts: expected" in pod.log
        objects = cluster.objects(restartOnChange=False, podLabels={"try": "2"})
        pod.update(objects["StatefulSet"])
        pod.until_ready()
        begun = pod.starts
        labels = {"try": "2"}
        newer = cluster.objects(restartOnChange=False, podLabels=labels, page={"port": 18082})
        assert newer["StatefulSet"] == objects["StatefulSet"]
        cluster.node.projected(objects["ConfigMap"]["metadata"]["name"], 0o440, 10001)
        assert "18082" not in ask(pod, "list", "--json")
        ask(pod, "reload")
        pod.until(
            lambda: b"18082" in pod.exec("orchestrator", "doctor", "--only", "http").stdout, "it is used"
        )
        assert pod.starts == begun


def test_probes_stay_green_while_no_account_is_well_and_see_a_service_that_hangs(cluster: Cluster) -> None:
    objects = cluster.objects()
    manifest = json.loads(json.dumps(objects["StatefulSet"]))
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    # What the chart says takes minutes; the rule is the same.
    container["livenessProbe"] |= {"periodSeconds": 2, "timeoutSeconds": 15, "failureThreshold": 2}
    container["readinessProbe"] |= {"periodSeconds": 2, "timeoutSeconds": 15, "failureThreshold": 2}
    # What is stopped does not end before it is killed, however long that takes.
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 3
    with cluster.pod(manifest) as pod:
        pod.until_ready()
        link(pod, cluster)
        cluster.sandbox.client.unlink(cluster.number)
        pod.until(lambda: account(pod)["state"] not in ("connected", ""), "the account is logged out")
        pod.until_probed(pod.probed + 8)  # both probes have run more often than may fail
        assert account(pod)["state"] != "connected"
        assert pod.is_ready
        assert pod.starts == 1
        # The service hangs: it is not ready, and then started again.
        assert pod.exec("sh", "-c", f"kill -STOP {process_of(pod)}").returncode == 0
        pod.until(lambda: pod.starts == 2, "the container is started again")
        assert "liveness" in pod.failures
        pod.until_ready()


def test_what_nobody_has_said_how_to_carry_out_is_an_error(cluster: Cluster) -> None:
    manifest = json.loads(json.dumps(cluster.objects()["StatefulSet"]))
    manifest["spec"]["template"]["spec"]["hostNetwork"] = True
    with pytest.raises(AssertionError, match="hostNetwork"):
        cluster.pod(manifest)
