"""What the Dockerfile, the compose files, the chart, the documentation and the program say is the same."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from support.charts import CHART, rendered

from orchestrator.accounts import deadlines
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.system import pythons

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DOCS = (ROOT / "docs/containers.md").read_text()
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SERVICE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["whatsapp"]
DEMO = yaml.safe_load((ROOT / "compose.demo.yaml").read_text())["services"]["demo"]
SHARD = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text())["services"]["shard-1"]


def pod() -> dict[str, Any]:
    found: dict[str, Any] = rendered({"secrets": ["proxy"]})["StatefulSet"]["spec"]["template"]["spec"]
    return found


def words(instruction: str) -> list[str]:
    """Return what the Dockerfile's instructions of a kind say, each once."""
    return sorted(set(re.findall(rf"^{instruction} (.+)$", DOCKERFILE, re.MULTILINE)))


def environment(name: str) -> str:
    (found,) = re.findall(rf"^ +{name}=(\S+)", DOCKERFILE, re.MULTILINE)
    return str(found)


def test_the_user() -> None:
    (user,) = words("USER")
    number = user.removesuffix(":0")
    assert VALUES["user"] == int(number)
    assert f"- The user is `{number}`, in the group of root." in DOCS
    named = re.findall(r"\b(?:chown(?: -R)?|-o|uid=) ?(\d+)", DOCS + (ROOT / "compose.yaml").read_text())
    assert len(named) > 5
    assert set(named) == {number}
    assert set(re.findall(r"\b1\d{4}\b", DOCS)) == {number}


def test_the_port() -> None:
    (port,) = words("EXPOSE")
    assert VALUES["page"]["port"] == int(port)
    assert SERVICE["ports"] == DEMO["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert DEMO["command"] == ["demo", "--listen", f"0.0.0.0:{port}"]
    assert Http().listen == (Tcp("127.0.0.1", int(port)),)
    assert set(re.findall(r"(?<=[ :])80\d\d\b", DOCS)) == {port}


def test_the_folders() -> None:
    (volume,) = (word.strip('["]') for word in words("VOLUME"))
    config = str(PurePosixPath(environment("ORCHESTRATOR_CONFIG")).parent)
    state = environment("STATE_DIRECTORY")
    assert str(PurePosixPath(state).parent) == volume == words("WORKDIR")[-1]
    mounts = {one["name"]: one["mountPath"] for one in pod()["containers"][0]["volumeMounts"]}
    assert (mounts["state"], mounts["config"], mounts["tmp"]) == (volume, config, "/tmp")
    assert SERVICE["volumes"][0] == f"state:{volume}"
    assert SERVICE["volumes"][1]["target"] == config
    socket = f"{environment('RUNTIME_DIRECTORY')}/control.sock"
    for place in (state, volume, environment("ORCHESTRATOR_CONFIG"), socket, mounts["secret-proxy"]):
        assert f"`{place}`" in DOCS, place


def test_the_time_to_stop() -> None:
    stop = deadlines.COMPANIONS_STOPPING + deadlines.SHUTDOWN.outer
    said = re.search(
        r"within (\d+) s, and its accounts within (\d+) more", (CHART / "values.yaml").read_text()
    )
    assert said is not None
    assert (int(said[1]), int(said[2])) == (deadlines.COMPANIONS_STOPPING, deadlines.SHUTDOWN.outer)
    grace = int(SERVICE["stop_grace_period"].removesuffix("s"))
    assert f"Give it {grace} seconds" in DOCS
    schema = json.loads((CHART / "values.schema.json").read_text())
    least = schema["properties"]["terminationGracePeriodSeconds"]["minimum"]
    for given in (grace, VALUES["terminationGracePeriodSeconds"], least):
        assert given >= stop + 5


def test_the_python() -> None:
    version = re.search(r"^ARG BASE=.*/python:(\d+)\.(\d+)-slim-", DOCKERFILE, re.MULTILINE)
    assert version is not None
    assert (int(version[1]), int(version[2])) in pythons.TRIED


def test_the_health_check_is_the_probe() -> None:
    (command,) = re.findall(r"^  CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    container = pod()["containers"][0]
    for name in ("startup", "readiness", "liveness"):
        assert container[f"{name}Probe"]["exec"]["command"] == yaml.safe_load(command)


@pytest.mark.parametrize(
    "service", [SERVICE, DEMO, SHARD], ids=["the service", "the demonstration", "a shard"]
)
def test_compose_locks_down_as_much_as_the_chart(service: dict[str, Any]) -> None:
    found = pod()
    own = found["containers"][0]["securityContext"]
    assert service["read_only"] is own["readOnlyRootFilesystem"] is True
    assert service["cap_drop"] == own["capabilities"]["drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert own["allowPrivilegeEscalation"] is False
    assert service["ulimits"]["core"] == 0
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    tmp, *others = service["tmpfs"]
    assert tmp.startswith("/tmp:")
    assert all(one.startswith("/var/lib/orchestrator:") for one in others)
    if service is not DEMO:
        (size,) = (one["emptyDir"]["sizeLimit"] for one in found["volumes"] if one["name"] == "tmp")
        assert f"size={size.removesuffix('Mi')}m" in tmp


def test_what_compose_has_in_comments_is_right_too() -> None:
    text = (ROOT / "compose.yaml").read_text()
    told = re.sub(r"(?m)^( *)# (?=(?:  )*(?:secrets:$|- proxy|proxy\.url:$|file: ))", r"\1", text)
    assert len(told) == len(text) - 5 * 2
    found = yaml.safe_load(told)
    (name,) = found["services"]["whatsapp"]["secrets"]
    place = found["secrets"][name]["file"].removeprefix("./")
    assert f"/dev/stdin {place} <<" in DOCS
    assert f"`proxy_file: /run/secrets/{name}`" in DOCS
    assert f"proxy_file: /run/secrets/{name}" in text


def test_each_compose_file_is_a_project_of_its_own() -> None:
    names = [yaml.safe_load(path.read_text())["name"] for path in ROOT.glob("compose*.yaml")]
    assert len(set(names)) == len(names) == 3


def test_the_documentation_has_the_arguments_of_the_dockerfile() -> None:
    known = set(re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r"--build-arg (\w+)=", DOCS)) == known
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"--build-arg BASE={base}@sha256:" in DOCS
    assert f"--build-arg BASE={base}@sha256:" in DOCKERFILE
