"""What only the chart `cluster` has: shards that share a database, and what has to hold when one is lost."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from support.charts import CHART, CLUSTER, LEAST, helm, rendered, texts
from support.scripts import loaded

from orchestrator.access import token as form
from orchestrator.access import tokens
from orchestrator.cluster import deadlines
from orchestrator.config.reader import load
from orchestrator.store.layout import StatePaths

ROOT = CLUSTER.parents[2]
Values = Mapping[str, Any]


def cluster(values: Values | None = None, release: str = "wa") -> dict[str, dict[str, Any]]:
    return rendered(values, release, CLUSTER)


def pod(values: Values | None = None) -> dict[str, Any]:
    found: dict[str, Any] = cluster(values)["StatefulSet"]["spec"]["template"]["spec"]
    return found


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded(ROOT / "scripts/charts")


def test_what_both_charts_have_is_the_same(script: ModuleType) -> None:
    for path, text in script.files().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)} is another: run scripts/charts"
    for name in {path.name for path in (CHART / "templates").iterdir()} - set(script.SHARED):
        assert name in ("_own.tpl", "statefulset.yaml", "NOTES.txt"), name


def test_values_that_both_charts_have_are_explained_and_chosen_alike() -> None:
    ours, theirs = (_blocks((chart / "values.yaml").read_text()) for chart in (CLUSTER, CHART))
    others = {
        "config", "page", "persistence", "podDisruptionBudget", "restartOnChange", "secrets", "networkPolicy",
        "resources", "terminationGracePeriodSeconds", "serviceMonitor",
    }  # fmt: skip
    assert len(ours.keys() & theirs.keys() - others) > 10
    for name in ours.keys() & theirs.keys() - others:
        assert ours[name] == theirs[name], name


def _blocks(text: str) -> dict[str, list[str]]:
    """Return the lines of each value with the comment above them."""
    found: dict[str, list[str]] = {}
    above: list[str] = []
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            above.append(line)
        elif top := re.match(r"([a-zA-Z]+):", line):
            name = top[1]
            found[name], above = [*above, line], []
        elif line:
            found[name].append(line)
        else:
            above = []
    return found


def test_shards_are_alike_and_start_at_once_and_are_replaced_one_by_one() -> None:
    spec = cluster({"shards": 5})["StatefulSet"]["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (5, "Parallel")
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert spec["minReadySeconds"] > deadlines.RENEW_SECONDS
    assert "volumeClaimTemplates" not in spec
    assert cluster()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_shards_are_spread_over_nodes_and_zones() -> None:
    for required, hostname in ((False, "ScheduleAnyway"), (True, "DoNotSchedule")):
        objects = cluster({"spread": {"required": required}})
        found = objects["StatefulSet"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert {one["topologyKey"]: one["whenUnsatisfiable"] for one in found} == {
            "kubernetes.io/hostname": hostname,
            "topology.kubernetes.io/zone": "ScheduleAnyway",
        }
        for one in found:
            assert one["maxSkew"] == 1
            assert one["labelSelector"] == objects["StatefulSet"]["spec"]["selector"]


def test_a_pod_on_a_lost_node_is_given_up_after_its_accounts_have_moved() -> None:
    given = [{"key": "dedicated", "operator": "Exists"}]
    *ours, other = pod({"tolerations": given})["tolerations"]
    assert other == given[0]
    assert {one["key"] for one in ours} == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    for one in ours:
        assert (one["effect"], one["operator"]) == ("NoExecute", "Exists")
        assert one["tolerationSeconds"] > deadlines.LEASE_SECONDS


def test_the_shard_is_called_by_its_pod() -> None:
    """Without a name in the configuration it is the host's, which Kubernetes makes the pod's."""
    assert "hostname" not in pod()
    config = yaml.safe_load(cluster()["ConfigMap"]["data"]["accounts.yaml"])
    assert config["cluster"] == {}
    with pytest.raises(helm().HelmError, match="/config/cluster/shard"):
        cluster({"config": {"cluster": {"shard": "one"}}})


@pytest.mark.parametrize("port", [5432, 6543])
def test_the_pods_reach_the_database_and_nothing_else_of_the_cluster(port: int) -> None:
    to = [{"podSelector": {"matchLabels": {"cnpg.io/cluster": "db"}}}]
    values = {"store": {"secret": "postgres", "to": to, "port": port}}
    names, internet, database = cluster(values)["NetworkPolicy"]["spec"]["egress"]
    assert database == {"to": to, "ports": [{"port": port, "protocol": "TCP"}]}
    assert {one["port"] for one in names["ports"]} == {53, 5353}
    assert [one["port"] for one in internet["ports"]] == [443]
    assert cluster(values)["NetworkPolicy"]["spec"]["ingress"] == []


def test_no_pod_reaches_the_page_of_a_shard() -> None:
    objects = cluster()
    assert "Service" not in objects
    config = yaml.safe_load(objects["ConfigMap"]["data"]["accounts.yaml"])
    assert config["http"]["listen"] == "127.0.0.1:8080"
    (container,) = objects["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert "ports" not in container


def test_the_dsn_is_a_file_that_only_the_pods_user_reads() -> None:
    objects = cluster({"secrets": ["proxy", "postgres"]})
    for kind in ("StatefulSet", "Job"):
        found = objects[kind]["spec"]["template"]["spec"]
        (volume,) = (one for one in found["volumes"] if one["name"] == "secret-postgres")
        assert volume["secret"] == {"secretName": "postgres", "defaultMode": 0o400}
        (container,) = found["containers"]
        (mount,) = (one for one in container["volumeMounts"] if one["name"] == "secret-postgres")
        assert mount == {
            "name": "secret-postgres",
            "mountPath": "/etc/orchestrator-secrets/postgres",
            "readOnly": True,
        }
        assert "env" not in container
    config = yaml.safe_load(objects["ConfigMap"]["data"]["accounts.yaml"])
    assert config["store"] == {"dsn_file": "/etc/orchestrator-secrets/postgres/dsn"}


def test_the_page_is_closed_and_has_no_tokens_until_the_values_say_so() -> None:
    objects = cluster()
    assert "Service" not in objects
    assert objects["NetworkPolicy"]["spec"]["ingress"] == []
    assert "ServiceMonitor" not in objects
    assert "initContainers" not in pod()
    config = yaml.safe_load(objects["ConfigMap"]["data"]["accounts.yaml"])
    assert config["http"]["listen"].startswith("127.0.0.1:")


def test_all_shards_have_the_tokens_of_a_secret_and_a_client_stays_with_one() -> None:
    values: Values = {
        "page": {"expose": True, "tokens": {"secret": "tokens", "key": "file"}},
        "networkPolicy": {"ingressFrom": [{"podSelector": {}}]},
        "serviceMonitor": {"enabled": True, "tokenSecret": {"name": "metrics"}},
    }
    objects = cluster(values)
    service = objects["Service"]["spec"]
    assert (service["sessionAffinity"], service["ports"][0]["port"]) == ("ClientIP", 8080)
    assert objects["NetworkPolicy"]["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == "metrics"
    found = pod(values)
    (first,) = found["initContainers"]
    assert "install -m 0600 /etc/orchestrator-tokens/tokens.json" in " ".join(first["command"])
    assert first["securityContext"] == found["containers"][0]["securityContext"]
    (volume,) = [one for one in found["volumes"] if one["name"] == "tokens"]
    assert volume["secret"]["items"] == [{"key": "file", "path": "tokens.json"}]
    assert volume["secret"]["defaultMode"] == 0o400
    assert "tokens" not in [mount["name"] for mount in found["containers"][0]["volumeMounts"]]


def test_the_copy_of_the_tokens_can_be_used(tmp_path: Path) -> None:
    """What the values name is the file that `orchestrator token add` makes, wherever that was."""
    made, state = tmp_path / "made", tmp_path / "state"
    made.mkdir(0o700)
    random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
    token, text = form.make("prometheus", ["metrics"], None, created=1.0, expires=None, random=random)
    tokens.add(made, token)
    (first,) = pod({"page": {"tokens": {"secret": "tokens"}}})["initContainers"]
    *shell, folder = first["command"]
    # The image says where the state is: a folder in the volume.
    (root,) = re.findall(r"^ +STATE_DIRECTORY=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert folder == str(StatePaths.of(Path(root), environ={}).tokens)
    line = [part.replace("/etc/orchestrator-tokens", str(made)) for part in shell]
    for _ in range(2):
        subprocess.run([*line, state], check=True)
        found = tokens.Tokens(state)
        found.load()
        assert found.check(text, 2.0) is not None
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / tokens.FILE).stat().st_mode) == 0o600


def test_the_administrators_dsn_is_in_the_job_alone_and_only_when_it_was_named() -> None:
    with_it, without = cluster({"init": {"adminSecret": "root", "adminKey": "url"}}), cluster()
    assert with_it["StatefulSet"] == without["StatefulSet"]
    assert with_it["ConfigMap"] == without["ConfigMap"]
    (container,) = with_it["Job"]["spec"]["template"]["spec"]["containers"]
    file = "/etc/orchestrator-secrets/root/url"
    assert container["args"] == ["cluster", "init", "--admin-dsn-file", file]
    assert "command" not in container
    (plain,) = without["Job"]["spec"]["template"]["spec"]["containers"]
    assert plain["args"] == ["cluster", "init"]
    assert "root" not in json.dumps(without)


def test_another_version_or_database_is_another_job() -> None:
    """Kubernetes refuses to change a Job, so Helm has to make a new one."""
    stores = [{"secret": name, "to": LEAST[CLUSTER]["store"]["to"]} for name in ("postgres", "other")]
    values: list[Values] = [
        {},
        {"image": {"tag": "9"}},
        {"init": {"adminSecret": "root"}},
        {"store": stores[1]},
    ]
    names = [cluster(one)["Job"]["metadata"]["name"] for one in values]
    assert len(set(names)) == len(names)
    assert cluster({"config": {"accounts": {"a": {}}}, "store": stores[0]})["Job"] == cluster()["Job"]


def test_nothing_takes_the_job_for_a_shard() -> None:
    objects = cluster()
    labels = objects["Job"]["spec"]["template"]["metadata"]["labels"]
    for kind, path in {"StatefulSet": "selector", "PodDisruptionBudget": "selector"}.items():
        assert not objects[kind]["spec"][path]["matchLabels"].items() <= labels.items()
    assert not objects["Headless"]["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"store": {"to": [{}]}}, "store.secret: the name of the Secret"),
        ({"store": {"secret": "postgres"}}, "store.to: where the database is"),
        ({"store": {"secret": "postgres://u:hunter2@h/db"}}, "/store/secret"),
        ({"store": {"secret": "p", "dsn": "postgres://u:hunter2@h/db"}}, "dsn"),
        ({"config": {"store": {"dsn_file": "x"}}}, "/config/store"),
        ({"config": {"cluster": {"note": "postgres://u:hunter2@h/db"}}}, "/config/cluster/note"),
        ({"config": {"cluster": {"note": "host=h password=hunter2"}}}, "/config/cluster/note"),
        ({"env": [{"name": "PGPASSWORD", "value": "hunter2"}]}, "/env/0"),
        ({"env": [{"name": "OPTIONS", "value": "host=h password='hunter2'"}]}, "/env/0"),
        ({"init": {"adminSecret": "a b"}}, "/init/adminSecret"),
        ({"init": {"adminDsn": "postgres://u:hunter2@h/db"}}, "adminDsn"),
        ({"serviceMonitor": {"enabled": True}}, "needs page.expose"),
        ({"serviceMonitor": {"enabled": True}, "page": {"expose": True}}, "needs page.tokens.secret"),
        ({"page": {"tokens": {"secret": "orc_a b"}}}, "/page/tokens/secret"),
        ({"page": {"tokens": {"token": "orc_1_2"}}}, "token"),
        ({"persistence": {"size": "5Gi"}}, "persistence"),
        ({"shards": -1}, "/shards"),
        ({"replicas": 2}, "replicas"),
        ({"stateSize": "2G\nx: y"}, "/stateSize"),
        ({"unreachableSeconds": -1}, "/unreachableSeconds"),
        ({"podDisruptionBudget": {"maxUnavailable": 2}}, "/podDisruptionBudget/maxUnavailable"),
    ],
)
def test_what_would_be_wrong_is_refused(values: Values, said: str) -> None:
    with pytest.raises(helm().HelmError) as caught:
        cluster(values)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_service_takes_the_configuration(tmp_path: Path) -> None:
    values = {"config": {"cluster": {"capacity": 50}, "accounts": {"support": {"phone": "+15550100"}}}}
    file = tmp_path / "accounts.yaml"
    file.write_text(cluster(values)["ConfigMap"]["data"]["accounts.yaml"])
    settings = load(file, environ={"RUNTIME_DIRECTORY": "/dev/shm/orchestrator", "HOME": "/"})
    assert settings.store == Path("/etc/orchestrator-secrets/postgres/dsn")
    assert settings.cluster is not None
    assert (settings.cluster.shard, settings.cluster.capacity) == (None, 50)


def test_the_notes_lead_on_and_say_who_owns_all_accounts() -> None:
    notes = texts(release="wa", chart=CLUSTER)["NOTES.txt"]
    assert "3 shards" in notes
    assert "exec wa-whatsapp-orchestrator-cluster-0 -- orchestrator list" in notes
    assert "the Secret postgres" in notes
