"""The chart: what it renders is valid for Kubernetes, locked down, and a configuration for the service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import CHART, helm, rendered

from orchestrator import __version__
from orchestrator.config.reader import load

VERSIONS = ("1.28", "1.31", "1.34", "1.37")
FULL: dict[str, Any] = {
    "config": {
        "defaults": {"proxy_file": "/etc/orchestrator-secrets/proxy/url"},
        "accounts": {"support": {"phone": "+15550100"}},
    },
    "secrets": ["proxy"],
    "env": [
        {"name": "TZ", "value": "Europe/Berlin"},
        {"name": "CRM_SECRET", "valueFrom": {"secretKeyRef": {"name": "crm", "key": "secret"}}},
    ],
    "image": {"digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "page": {"expose": True, "publicUrl": "https://whatsapp.example.com"},
    "persistence": {"accessMode": "ReadWriteOncePod", "storageClass": "local"},
    "userNamespace": True,
    "resources": {"limits": {"memory": "2Gi"}},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"team": "support"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "networkPolicy": {
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}], "ports": [{"port": 1080}]}],
    },
    "serviceMonitor": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "tokenSecret": {"name": "metrics"},
    },
}
"""Every part of the chart."""
CASES = {
    "default": {},
    "full": FULL,
    "without what can be left out": {
        "page": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "persistence": {"existingClaim": "mine"},
        "restartOnChange": False,
        "user": None,
    },
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_it(case: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for kind, document in rendered(CASES[case]).items():
        if kind != "ServiceMonitor":  # of the Prometheus operator
            validate.validate(document, version, strict=True)


def test_a_slip_is_noticed() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    document = rendered()["StatefulSet"]
    document["spec"]["template"]["spec"]["terminationGracePeriod"] = 40
    with pytest.raises(validate.ValidationError):
        validate.validate(document, VERSIONS[-1], strict=True)


def test_helm_finds_nothing() -> None:
    found = helm().lint(str(CHART))
    assert found["errors"] == []
    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]


def test_the_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("case", CASES)
def test_the_pod_may_run_where_pods_are_restricted(case: str) -> None:
    """The rules of the level `restricted` of Kubernetes' Pod Security Standards."""
    pod = rendered(CASES[case])["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security, own = pod["securityContext"], container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security.get("runAsUser") != 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "initContainers"} & pod.keys()
    for volume in pod["volumes"]:
        if "emptyDir" in volume:
            assert volume["emptyDir"]["medium"] == "Memory"
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o400


@pytest.mark.parametrize("case", CASES)
def test_no_probe_looks_at_accounts(case: str) -> None:
    (container,) = rendered(CASES[case])["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    probes = [container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    assert all(probe["exec"] == {"command": ["orchestrator", "ping"]} for probe in probes)
    # Loading the library for a first check takes up to a minute where the disk is slow.
    assert probes[0]["periodSeconds"] * probes[0]["failureThreshold"] >= 120
    # `ping` waits for 45 seconds; a restart costs all accounts their connection.
    assert probes[2]["timeoutSeconds"] >= 45
    assert probes[2]["failureThreshold"] > 2


@pytest.mark.parametrize("case", [{}, FULL, {"page": {"enabled": False}}], ids=["default", "full", "no page"])
def test_the_service_takes_the_configuration(case: Mapping[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    text = rendered(case)["ConfigMap"]["data"]["accounts.yaml"]
    secret = tmp_path / "url"
    secret.write_text("socks5://u:p@h:1\n")
    secret.chmod(0o600)
    file.write_text(text.replace("/etc/orchestrator-secrets/proxy/url", str(secret)))
    settings = load(file, environ={"RUNTIME_DIRECTORY": "/dev/shm/orchestrator", "HOME": "/"})
    assert settings.qr_dir == Path("/dev/shm/orchestrator/qr")
    if case is FULL:
        assert settings.accounts["support"].proxy == "socks5://u:p@h:1"
        assert settings.http is not None
        assert [str(one) for one in settings.http.listen] == ["0.0.0.0:8080"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"config": {"defaults": {"proxy": "socks5://u:hunter2@h:1"}}}, "/config/defaults/proxy"),
        ({"config": {"accounts": {"a": {"proxy": "http://u:hunter2@h:1"}}}}, "/config/accounts/a/proxy"),
        ({"config": {"webhooks": {"a": {"url": "https://u:hunter2@h/"}}}}, "/config/webhooks/a/url"),
        ({"config": {"webhooks": {"a": {"headers": {"X-Api-Key": "hunter2"}}}}}, "X-Api-Key"),
        ({"config": {"state_dir": "/tmp/x"}}, "/config/state_dir"),
        ({"env": [{"name": "CRM_TOKEN", "value": "hunter2"}]}, "/env/0"),
        ({"env": [{"name": "HTTPS_PROXY", "value": "http://u:hunter2@h:1"}]}, "/env/0"),
        ({"podDisruptionBudget": {"maxUnavailable": 2}}, "/podDisruptionBudget/maxUnavailable"),
        ({"user": 0}, "/user"),
        ({"page": {"port": 80}}, "/page/port"),
        ({"replicas": 2}, "replicas"),
        ({"config": {"http": {"listen": "0.0.0.0:1"}}}, "page.port and page.expose say where"),
        ({"serviceMonitor": {"enabled": True}}, "needs page.expose"),
        ({"serviceMonitor": {"enabled": True}, "page": {"expose": True}}, "tokenSecret.name"),
    ],
)
def test_what_would_be_wrong_is_refused(values: Mapping[str, Any], said: str) -> None:
    module = helm()
    with pytest.raises(module.HelmError) as caught:
        rendered(values)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_nobody_reaches_the_page_who_was_not_named() -> None:
    policy = rendered()["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443}
    assert rendered({"page": {"expose": True}})["NetworkPolicy"]["spec"]["ingress"] == []
    (rule,) = rendered(FULL)["NetworkPolicy"]["spec"]["ingress"]
    assert rule["from"] == FULL["networkPolicy"]["ingressFrom"]
    assert rule["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert "ports" not in rendered()["Service"]["spec"]


def test_the_pod_changes_with_the_configuration_unless_a_reload_is_wanted() -> None:
    def template(**values: object) -> dict[str, Any]:
        found: dict[str, Any] = rendered(values)["StatefulSet"]["spec"]["template"]
        return found

    one: dict[str, Any] = {"accounts": {"a": {}}}
    other: dict[str, Any] = {"accounts": {"b": {}}}
    assert template(config=one) != template(config=other)
    assert template(config=one, restartOnChange=False) == template(config=other, restartOnChange=False)


def test_every_value_has_a_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in _leaves(values):
        part = schema
        for name in path:
            part = part["properties"].get(name, {})
            if not part.get("properties"):
                break
        assert part, f"{'.'.join(path)} is in values.yaml, and not in values.schema.json"
    objects = [schema, *(part for part in schema["properties"].values() if "properties" in part)]
    assert all(
        part.get("additionalProperties") is False
        for part in objects
        if part is not schema["properties"]["config"]
    )


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name)


BARE = {
    "affinity", "fullnameOverride", "image", "imagePullSecrets", "nameOverride", "networkPolicy",
    "nodeSelector", "page", "persistence", "podAnnotations", "podDisruptionBudget", "podLabels",
    "priorityClassName", "resources", "serviceMonitor", "tolerations",
}  # fmt: skip
"""Values whose names say what they are, or whose parts are explained."""


def test_the_chart_says_what_each_value_is() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if (top := re.match(r"([a-zA-Z]+):", line)) and top[1] not in BARE:
            assert lines[number - 1].startswith("#"), f"{top[1]} has no explanation"
