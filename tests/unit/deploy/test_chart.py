"""The charts: what they render is valid for Kubernetes, locked down, and a configuration for the service."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import CHART, CHARTS, CLUSTER, LEAST, VERSIONS, helm, rendered, texts

from orchestrator import __version__
from orchestrator.config.reader import load

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
"""Every part of the chart `single`."""
FULL_CLUSTER: dict[str, Any] = {
    **{name: value for name, value in FULL.items() if name != "persistence"},
    **LEAST[CLUSTER],
    "config": {**FULL["config"], "cluster": {"capacity": 50}},
    "shards": 5,
    "init": {"adminSecret": "postgres-admin"},
    "page": {**FULL["page"], "port": 9000, "tokens": {"secret": "tokens"}},
    "spread": {"required": True},
    "stateSize": "500Mi",
}
"""Every part of the chart `cluster`."""
CASES: dict[str, tuple[Path, dict[str, Any]]] = {
    "default": (CHART, {}),
    "full": (CHART, FULL),
    "without what can be left out": (CHART, {
        "page": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "persistence": {"existingClaim": "mine"},
        "restartOnChange": False,
        "user": None,
    }),
    "cluster, default": (CLUSTER, {}),
    "cluster, full": (CLUSTER, FULL_CLUSTER),
    "cluster, without what can be left out": (CLUSTER, {
        "page": {"enabled": False},
        "init": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "restartOnChange": False,
        "user": None,
    }),
}  # fmt: skip


def of_case(name: str, release: str = "whatsapp-orchestrator") -> dict[str, dict[str, Any]]:
    """Render a case."""
    chart, values = CASES[name]
    return rendered(values, release, chart)


def pods_of(objects: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is said of the pods of all objects that make some."""
    return [objects[kind]["spec"]["template"]["spec"] for kind in ("StatefulSet", "Job") if kind in objects]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_it(case: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for kind, document in of_case(case).items():
        if kind != "ServiceMonitor":  # of the Prometheus operator
            validate.validate(document, version, strict=True)


def test_a_slip_is_noticed() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    document = rendered()["StatefulSet"]
    document["spec"]["template"]["spec"]["terminationGracePeriod"] = 40
    with pytest.raises(validate.ValidationError):
        validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_helm_finds_nothing(chart: Path) -> None:
    found = helm().lint(str(chart))
    assert found["errors"] == []
    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_the_versions_agree(chart: Path) -> None:
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)
    assert about["kubeVersion"] == f">={VERSIONS[0]}.0-0"


@pytest.mark.parametrize("case", CASES)
def test_the_pod_may_run_where_pods_are_restricted(case: str) -> None:
    """The rules of the level `restricted` of Kubernetes' Pod Security Standards."""
    for pod in pods_of(of_case(case)):
        (container,) = pod["containers"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser") != 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in (container, *pod.get("initContainers", ())):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
        for volume in pod["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"].get("medium") == "Memory" or volume["name"] == "state"
                assert volume["emptyDir"]["sizeLimit"]
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o400


@pytest.mark.parametrize("case", CASES)
def test_no_probe_looks_at_accounts(case: str) -> None:
    (container,) = of_case(case)["StatefulSet"]["spec"]["template"]["spec"]["containers"]
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
        ({"env": [{"name": "DSN", "value": "postgres://u:hunter2@h/"}]}, "/env/0"),
        ({"env": [{"name": "http_proxy", "value": "u:hunter2@h:1"}]}, "/env/0"),
        ({"env": [{"name": "A", "value": "whsec_hunter2"}]}, "/env/0"),
        ({"env": [{"name": "A"}]}, "/env/0"),
        ({"env": [{"name": "STATE_DIRECTORY", "value": "/tmp"}]}, "/env/0/name"),
        ({"config": {"defaults": {"proxy": "socks5://u:hunter2/@h:1"}}}, "/config/defaults/proxy"),
        ({"config": {"defaults": {"proxy": "u:hunter2@h:1"}}}, "/config/defaults/proxy"),
        ({"config": {"webhooks": {"a": {"url": "https://h/?b=c&api_key=hunter2"}}}}, "/webhooks/a/url"),
        ({"config": {"webhooks": {"a": {"headers": {"X-Auth": "hunter2"}}}}}, "X-Auth"),
        ({"config": {"webhooks": {"a": {"headers": {"X-A": "Bearer hunter2"}}}}}, "/headers/X-A"),
        ({"config": {"on_change": {"run": ["/x", "https://u:hunter2@h/"]}}}, "/config/on_change/run/1"),
        ({"config": {"accounts": {"a": {"note": "orc_0123456789ab_hunter2"}}}}, "/config/accounts/a/note"),
        ({"config": {"accounts": {"a": {"phone": 15550100}}}}, "/config/accounts/a/phone"),
        ({"config": {"http": None}}, "/config/http"),
        ({"config": {"note": "host=db user=a password = hunter2"}}, "/config/note"),
        ({"config": None}, "config"),
        ({"image": None}, "image"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"image": {"tag": "v1\n  hostNetwork: true"}}, "/image/tag"),
        ({"image": {"repository": "registry.example.com/a:1"}}, "/image/repository"),
        ({"image": {"repository": "Registry/a b"}}, "/image/repository"),
        ({"fullnameOverride": "a.b"}, "/fullnameOverride"),
        ({"fullnameOverride": "a" * 51}, "/fullnameOverride"),
        ({"nameOverride": "A"}, "/nameOverride"),
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "app.kubernetes.io/name"),
        ({"podAnnotations": {"checksum/config": "same"}}, "checksum/config"),
        ({"serviceMonitor": {"labels": {"helm.sh/chart": "other"}}}, "helm.sh/chart"),
        ({"persistence": {"storageClass": "a\nb: c"}}, "/persistence/storageClass"),
        ({"persistence": {"existingClaim": "A"}}, "/persistence/existingClaim"),
        ({"priorityClassName": "a: b"}, "/priorityClassName"),
        ({"terminationGracePeriodSeconds": 3_000_000}, "/terminationGracePeriodSeconds"),
        ({"networkPolicy": {"egressExcept": ["example.com"]}}, "/networkPolicy/egressExcept/0"),
        ({"networkPolicy": {"egressExcept": ["fd00::/8"]}}, "/networkPolicy/egressExcept/0"),
        ({"user": 3_000_000_000}, "/user"),
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


def test_a_proxy_without_a_password_is_no_secret() -> None:
    env = [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "NO_PROXY", "value": "10.0.0.0/8"}]
    values = {"env": env, "config": {"defaults": {"proxy": "socks5://proxy:1080"}}}
    (container,) = rendered(values)["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert container["env"] == env


ODD = {
    "braces": "{{ .Release.Name }} {{- fail }} ${HOME}",
    "quotes": """it's "quoted" # and: no comment\t""",
    "lines": "  one\n two: three\n\n---\nfour\n",
    "words": "off",
    "harmless": "Basic customer, key account: https://example.com/@ada?page=2",
    "number": "0123",
    "empty": "",
}
"""Texts of which YAML, or Helm, could make something else."""


def test_a_configuration_reaches_the_service_as_it_was_written() -> None:
    accounts = {name: {"note": text} for name, text in ODD.items()}
    numbers = {"max_retries": 1_000_000, "backoff": {"factor": 1.5}, "memory_limit": None, "a": [True]}
    config = {"accounts": accounts, "defaults": numbers, "quarantine_days": 0}
    found = yaml.safe_load(rendered({"config": config})["ConfigMap"]["data"]["accounts.yaml"])
    assert {name: found[name] for name in config} == config


def test_words_that_helm_takes_for_true_and_false_reach_the_service(tmp_path: Path) -> None:
    values = yaml.safe_load("config: {confine: off, defaults: {sending: {pacing: on}}, accounts: {a: {}}}")
    assert values["config"]["confine"] is False, "Helm reads YAML 1.1 as well"
    file = tmp_path / "accounts.yaml"
    file.write_text(rendered(values)["ConfigMap"]["data"]["accounts.yaml"])
    settings = load(file, environ={"RUNTIME_DIRECTORY": "/dev/shm/orchestrator", "HOME": "/"})
    assert (settings.confine, settings.accounts["a"].sending.pacing) == ("off", "on")


def test_what_people_may_write_freely_changes_nothing_else() -> None:
    plain = rendered()["StatefulSet"]
    odd = {f"example.com/{name}": text for name, text in ODD.items()}
    made = rendered({"podAnnotations": odd, "nodeSelector": ODD, "podLabels": ODD})["StatefulSet"]
    template = made["spec"]["template"]
    assert {name: template["metadata"]["annotations"].pop(name) for name in odd} == odd
    assert template["spec"].pop("nodeSelector") == ODD
    assert {name: template["metadata"]["labels"].pop(name) for name in ODD} == ODD
    assert made == plain


NAMES = (
    "wa", "1st", "a.b", "a-b", "a..b", "whatsapp-orchestrator", f"{'x' * 52}1", f"{'x' * 52}2", "x" * 50,
    f"{'9' * 49}.y",
)  # fmt: skip
"""Names of releases. Helm allows 53 characters, dots among them, and digits at the beginning."""


@pytest.mark.parametrize("case", ["full", "cluster, full"])
def test_releases_get_names_that_kubernetes_takes_and_each_its_own(case: str) -> None:
    names = []
    for release in NAMES:
        objects = of_case(case, release)
        if job := objects.pop("Job", None):
            assert len(job["metadata"]["name"]) <= 63
        headless = objects.pop("Headless")["metadata"]["name"]
        (name,) = {one["metadata"]["name"] for one in objects.values()}
        assert headless == f"{name}-pods"
        assert len(headless) <= 63
        # A Service has the strictest rule; a pod of a StatefulSet has a label of 11 more characters.
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name), name
        assert len(name) <= 63 - 11
        chosen = objects["StatefulSet"]["spec"]["selector"]["matchLabels"]
        assert chosen["app.kubernetes.io/instance"] == release
        names.append(name)
    assert len(set(names)) == len(NAMES)
    assert names[0] == ("wa-whatsapp-orchestrator" if case == "full" else "wa-whatsapp-orchestrator-cluster")
    if case == "full":
        assert names[NAMES.index("whatsapp-orchestrator")] == "whatsapp-orchestrator"


def test_the_page_can_be_exposed_and_closed_again() -> None:
    """Kubernetes does not let a Service lose its address, nor a StatefulSet change its Service."""
    closed, exposed = rendered(), rendered({"page": {"expose": True}})
    assert closed["Headless"] == exposed["Headless"]
    for objects in (closed, exposed):
        assert objects["StatefulSet"]["spec"]["serviceName"] == objects["Headless"]["metadata"]["name"]
    assert exposed["Service"]["metadata"]["name"] != exposed["Headless"]["metadata"]["name"]
    assert exposed["Service"]["spec"]["ports"][0]["port"] == 8080


def test_the_page_answers_for_the_names_of_its_service() -> None:
    exposed = rendered({"page": {"expose": True}})
    config = yaml.safe_load(exposed["ConfigMap"]["data"]["accounts.yaml"])
    name = exposed["Service"]["metadata"]["name"]
    ends = ("", ".whatsapp", ".whatsapp.svc", ".whatsapp.svc.cluster.local")
    assert config["http"]["allowed_hosts"] == [f"{name}{end}" for end in ends]


@pytest.mark.parametrize("case", ["full", "cluster, full"])
def test_two_releases_in_a_namespace_share_nothing(case: str) -> None:
    one, other = of_case(case, "one"), of_case(case, "other")
    for kind, document in one.items():
        assert document["metadata"]["name"] != other[kind]["metadata"]["name"]
    for kind, path in {
        "StatefulSet": ("selector", "matchLabels"),
        "Service": ("selector",),
        "NetworkPolicy": ("podSelector", "matchLabels"),
        "PodDisruptionBudget": ("selector", "matchLabels"),
        "ServiceMonitor": ("selector", "matchLabels"),
    }.items():
        if kind not in one:
            continue
        ours, theirs = (
            functools.reduce(dict.__getitem__, path, found[kind]["spec"]) for found in (one, other)
        )
        labels = other["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
        assert theirs.items() <= labels.items()
        assert not ours.items() <= labels.items()


def test_a_pod_that_cannot_start_is_replaced_by_one_of_the_next_configuration() -> None:
    """With `OrderedReady`, Kubernetes waits until a person deletes the pod."""
    assert rendered()["StatefulSet"]["spec"]["podManagementPolicy"] == "Parallel"


def test_the_pod_reaches_names_and_the_internet_but_not_the_cluster() -> None:
    rules = rendered({"networkPolicy": {"egressExcept": ["10.0.0.0/8", "2001:db8::/32"]}})["NetworkPolicy"]
    names, internet = rules["spec"]["egress"]
    # Behind its Service, OpenShift's DNS listens on 5353, and rules are for what is behind.
    assert {(one["port"], one["protocol"]) for one in names["ports"]} == {
        (port, protocol) for port in (53, 5353) for protocol in ("TCP", "UDP")
    }
    assert [one["ipBlock"] for one in internet["to"]] == [
        {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]},
        {"cidr": "2000::/3", "except": ["2001:db8::/32"]},
    ]
    open_to_all = rendered({"networkPolicy": {"egressExcept": []}})["NetworkPolicy"]["spec"]["egress"][1]
    assert [one["ipBlock"] for one in open_to_all["to"]] == [{"cidr": "0.0.0.0/0"}, {"cidr": "2000::/3"}]


def test_the_notes_lead_to_the_page_and_name_what_is_missing() -> None:
    notes = texts(release="wa")["NOTES.txt"]
    assert "exec -it wa-whatsapp-orchestrator-0 -- orchestrator link NAME" in notes
    assert "port-forward wa-whatsapp-orchestrator-0 8080" in notes
    assert "token" not in notes
    exposed = texts({"page": {"expose": True, "port": 9000}})["NOTES.txt"]
    assert "port-forward whatsapp-orchestrator-0 9000" in exposed
    assert "orchestrator token add" in exposed
    assert "networkPolicy.ingressFrom" in exposed
    assert "networkPolicy.ingressFrom" not in texts(FULL)["NOTES.txt"]
    assert "page" not in texts({"page": {"enabled": False}})["NOTES.txt"]


def test_nobody_reaches_the_page_who_was_not_named() -> None:
    policy = rendered()["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 5353, 443}
    assert rendered({"page": {"expose": True}})["NetworkPolicy"]["spec"]["ingress"] == []
    (rule,) = rendered(FULL)["NetworkPolicy"]["spec"]["ingress"]
    assert rule["from"] == FULL["networkPolicy"]["ingressFrom"]
    assert rule["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert "Service" not in rendered()
    assert "ports" not in rendered()["Headless"]["spec"]


def test_the_pod_changes_with_the_configuration_unless_a_reload_is_wanted() -> None:
    def template(**values: object) -> dict[str, Any]:
        found: dict[str, Any] = rendered(values)["StatefulSet"]["spec"]["template"]
        return found

    one: dict[str, Any] = {"accounts": {"a": {}}}
    other: dict[str, Any] = {"accounts": {"b": {}}}
    assert template(config=one) != template(config=other)
    assert template(config=one, restartOnChange=False) == template(config=other, restartOnChange=False)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_every_value_has_a_schema(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for path in _leaves(values):
        part = schema
        for name in path:
            part = part["properties"].get(name, {})
            if not part.get("properties"):
                break
        assert part, f"{'.'.join(path)} is in values.yaml, and not in values.schema.json"
    assert schema["properties"].keys() - values.keys() == {"global"}
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
    "priorityClassName", "resources", "serviceMonitor", "spread", "store", "init", "tolerations",
}  # fmt: skip
"""Values whose names say what they are, or whose parts are explained."""


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.name)
def test_the_chart_says_what_each_value_is(chart: Path) -> None:
    lines = (chart / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if (top := re.match(r"([a-zA-Z]+):", line)) and top[1] not in BARE:
            assert lines[number - 1].startswith("#"), f"{top[1]} has no explanation"
