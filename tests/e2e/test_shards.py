"""The chart `cluster`, carried out: its pods and its Job, a real Postgres, accounts against the sandbox."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.charts import CLUSTER, rendered
from support.container import leading_to
from support.container_engine import Engine
from support.pods import Node, Pod, Pods, run_job
from support.postgres import FreshDatabase, PostgresServer, serving

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(2400)

NAMES = ("anna", "bert", "cora", "dora")
SECRETS = "/etc/orchestrator-secrets"


class Cluster:
    """What is applied to a node, the database beside it, and WhatsApp.

    Args:
        folder: Where the node is.
        engine: Runs containers.
        image: The image of the service.
        sandbox: WhatsApp.
        numbers: The phone of each account.
        database: A database with nothing in it.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        image: str,
        sandbox: SandboxProcess,
        numbers: Mapping[str, str],
        database: FreshDatabase,
    ) -> None:
        folder.chmod(0o755)
        self.sandbox, self.numbers, self.database = sandbox, numbers, database
        self._engine, self._image = engine, image
        proxy: str = sandbox.about["environment"]["HTTPS_PROXY"]
        root = (database.server.folder / "ca.pem").read_text()
        self.node = Node(
            folder,
            {
                "proxy": {"url": f"{proxy}\n"},
                "postgres": {"dsn": self.dsn("postgres"), "ca.crt": root},
                "dba": {"url": self.dsn("dba", user="dba", password="hunter2"), "ca.crt": root},
            },
        )

    def dsn(self, secret: str, *, user: str = "", password: str = "") -> str:
        """Return a DSN with TLS, for where a Secret with the certificate is mounted."""
        found = self.database.dsn("tls", user=user, password=password)
        return f"{found.partition('sslrootcert=')[0]}sslrootcert={SECRETS}/{secret}/ca.crt\n"

    def objects(self, **values: object) -> dict[str, dict[str, Any]]:
        """Render the chart for accounts whose proxy comes from a Secret."""
        given: dict[str, Any] = {
            "config": {
                "defaults": {"proxy_file": f"{SECRETS}/proxy/url"},
                "accounts": {name: {"phone": number} for name, number in self.numbers.items()},
            },
            "secrets": ["proxy"],
            # All pods have the network of this machine, where only one can listen at a port.
            "page": {"enabled": False},
            **values,
        }
        found = rendered(given, chart=CLUSTER)
        self.node.maps[found["ConfigMap"]["metadata"]["name"]] = found["ConfigMap"]["data"]
        return found

    def job(self, manifest: Mapping[str, Any]) -> subprocess.CompletedProcess[bytes]:
        """Run the Job of the chart."""
        return run_job(self._engine, self.node, manifest, self._image)

    def make_ready(self) -> None:
        """Make the database ready as an administrator does who gives nothing away."""
        job = self.objects()["Job"]
        first = self.job(job)
        assert first.returncode == 1, "the Job is tried again until the administrator has done their part"
        # As docs/cluster.md has it: the log of a pod is both.
        log = (first.stdout + first.stderr).splitlines(keepends=True)
        with self.database.superuser() as connection:
            connection.execute(b"".join(line for line in log if not line.startswith(b"orchestrator: ")))
        second = self.job(job)
        assert second.returncode == 0, second

    def pods(self, manifest: Mapping[str, Any]) -> Pods:
        """Return the pods of a StatefulSet."""
        extra = leading_to(self.sandbox, self.node.folder)
        return Pods(
            lambda one, number: Pod(self._engine, self.node, one, self._image, extra, number), manifest
        )

    # Accounts

    def where(self, pods: Pods) -> dict[str, dict[str, dict[str, Any]]]:
        """Return what the shards that answer say of their accounts: by account, then by shard."""
        with ThreadPoolExecutor(len(pods.all), "asks") as beside:
            answers = list(beside.map(_accounts, pods.all))
        found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in NAMES}
        for pod, accounts in zip(pods.all, answers, strict=True):
            for account in accounts:
                found[account["name"]][pod.name] = account
        return found

    def until_connected(self, pods: Pods, *expected: Pod) -> dict[str, str]:
        """Wait until each account is connected at one shard of those that are expected; return which."""
        names = {pod.name for pod in expected or pods.all}

        def spread() -> dict[str, str] | None:
            owners = {}
            for name, shards in self.where(pods).items():
                connected = [shard for shard, about in shards.items() if about["state"] == "connected"]
                if len(connected) == 1 and connected[0] in names:
                    owners[name] = connected[0]
            return owners if len(owners) == len(NAMES) else None

        found = pods.all[0].until(spread, f"all accounts are connected, each at one of {sorted(names)}")
        assert sorted(self.linked()) == sorted(self.numbers.values())
        return found

    def linked(self) -> list[str]:
        """Return the accounts' phones for which WhatsApp has a connection, once for each."""
        ours = set(self.numbers.values())
        return [one["phone"] for one in self.sandbox.client.connections() if one["phone"] in ours]

    def link(self, pods: Pods) -> None:
        """Scan the code of each account, wherever it shows one."""
        by_name = {pod.name: pod for pod in pods.all}
        picture = self.node.folder / "code.png"
        for name, number in self.numbers.items():
            self.sandbox.client.add_phone(number, name)

            def scanned(name: str = name, number: str = number) -> bool:
                for shard, about in self.where(pods)[name].items():
                    if about["qr_path"] is None:
                        continue
                    assert about["qr_path"].startswith("/dev/shm/"), "codes are in memory"
                    picture.write_bytes(by_name[shard].exec("cat", about["qr_path"]).stdout)
                    try:
                        self.sandbox.client.scan(number, png=picture)
                    except SandboxError:
                        continue
                    return True
                return False

            pods.all[0].until(scanned, f"the code of {name} is scanned")


def _accounts(pod: Pod) -> list[dict[str, Any]]:
    """Return what a shard says of the accounts that it has; its list has those of the others, too."""
    try:
        done = pod.exec("orchestrator", "list", "--json", seconds=20)
    except subprocess.TimeoutExpired:  # it is frozen
        return []
    assert b"Traceback" not in done.stderr
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError:  # no service answers at the moment
        return []
    return [account for account in found if account["shard"] == pod.name]


def _having_some(pods: Pods, owners: Mapping[str, str]) -> Pod:
    """Return a pod that has accounts."""
    return next(pod for pod in pods.all if pod.name in owners.values())


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with serving(max_connections="200") as found:
        yield found


@pytest.fixture
def cluster(
    folder: Path,
    engine: Engine,
    image: str,
    sandbox: SandboxProcess,
    make_number: Callable[[], str],
    server: PostgresServer,
) -> Cluster:
    numbers = {name: make_number() for name in NAMES}
    return Cluster(folder, engine, image, sandbox, numbers, server.make_database())


def test_the_shards_of_the_chart_keep_the_accounts_whatever_happens_to_one(
    cluster: Cluster, record_property: Callable[[str, object], None]
) -> None:
    cluster.make_ready()
    objects = cluster.objects()
    with cluster.pods(objects["StatefulSet"]) as pods:
        pods.until_ready()
        cluster.link(pods)
        owners = cluster.until_connected(pods)
        assert len(set(owners.values())) > 1, "the accounts are spread"

        # A node is lost: the others take its accounts over. Later the pod is there again, as the same shard.
        lost = _having_some(pods, owners)
        others = [pod for pod in pods.all if pod is not lost]
        lost.lose()
        began = time.monotonic()
        cluster.until_connected(pods, *others)
        record_property("seconds until all accounts of a lost pod are connected", time.monotonic() - began)
        lost.begin()
        pods.until_ready()

        # A node is suspended for longer than a lease, and goes on. Its accounts are elsewhere: nobody fights.
        frozen = _having_some(pods, cluster.until_connected(pods))
        others = [pod for pod in pods.all if pod is not frozen]
        frozen.freeze()
        cluster.until_connected(pods, *others)
        frozen.freeze(frozen=False)
        frozen.until(
            lambda: "begins anew" in frozen.log, "the pod that was frozen knows that its lease is over"
        )
        cluster.until_connected(pods)

        # A shard that an operator drains has no account any more, and takes none.
        drained = _having_some(pods, cluster.until_connected(pods))
        others = [pod for pod in pods.all if pod is not drained]
        assert drained.exec("orchestrator", "cluster", "drain", drained.name).returncode == 0
        cluster.until_connected(pods, *others)
        assert others[0].exec("orchestrator", "cluster", "drain", drained.name, "--undo").returncode == 0

        # A rolling update: each pod hands its accounts on within the grace period.
        starts = [pod.starts for pod in pods.all]
        newer = cluster.objects(podLabels={"try": "2"})
        pods.update(newer["StatefulSet"])
        cluster.until_connected(pods)
        assert [pod.starts for pod in pods.all] == [one + 1 for one in starts]

        # The database is away: nobody stays linked, and no probe fails. A restart would help no account.
        starts, probed = [pod.starts for pod in pods.all], [pod.probed for pod in pods.all]
        cluster.database.server.stop()
        pods.all[0].until(lambda: not cluster.linked(), "no account is linked without the database")
        for pod, before in zip(pods.all, probed, strict=True):
            pod.until_probed(before + 4)
            assert pod.is_ready
        cluster.database.server.start()
        cluster.until_connected(pods)
        assert [pod.starts for pod in pods.all] == starts
    for pod in pods.all:
        assert "killed after the grace period" not in pod.failures
        assert "liveness" not in pod.failures
    logs = {pod.name: pod.log for pod in pods.all}
    assert sum(log.count("Successfully paired") for log in logs.values()) == len(NAMES)
    assert not [log for log in logs.values() if "→ replaced" in log]
    for log in logs.values():
        assert cluster.database.password not in log


def test_the_job_does_the_administrators_part_with_a_dsn_of_its_own(cluster: Cluster) -> None:
    with cluster.database.superuser() as connection:
        connection.execute("CREATE ROLE dba SUPERUSER LOGIN PASSWORD 'hunter2'")
    job = cluster.objects(init={"adminSecret": "dba", "adminKey": "url"})["Job"]
    done = cluster.job(job)
    assert done.returncode == 0, done
    assert b"hunter2" not in done.stdout + done.stderr
    # Without the administrator, as after the next update of the chart, nothing is left to do.
    again = cluster.job(cluster.objects()["Job"])
    assert again.returncode == 0, again
    assert b"was ready" in again.stdout
