"""deploy/kustomize: the chart for those who do without Helm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import VERSIONS, helm, rendered
from support.kustomizing import build

from orchestrator import __version__
from orchestrator.config.reader import load

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/kustomize"


def by_kind(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in build(folder)}


def test_the_base_is_what_the_chart_renders(tmp_path: Path) -> None:
    helm()
    before = {path.name: path.read_text() for path in (FOLDER / "base").iterdir()}
    copy = tmp_path / "scripts"
    copy.mkdir()
    (copy / "kustomize-base").write_bytes((ROOT / "scripts/kustomize-base").read_bytes())
    (tmp_path / "deploy/kustomize/base").mkdir(parents=True)
    (tmp_path / "deploy/helm").symlink_to(ROOT / "deploy/helm")
    subprocess.run([sys.executable, copy / "kustomize-base"], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "deploy/kustomize/base").iterdir()}
    assert made == {name: before[name] for name in made}, "run scripts/kustomize-base"
    assert before.keys() - made.keys() == {"kustomization.yaml"}
    resources = yaml.safe_load(before["kustomization.yaml"])["resources"]
    assert {*resources, "accounts.yaml", "kustomization.yaml"} == before.keys()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["base", "overlays/example"])
def test_kubernetes_takes_it(place: str, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in build(FOLDER / place):
        validate.validate(document, version, strict=True)


def test_the_overlay_has_what_the_chart_has_for_the_same_wishes(tmp_path: Path) -> None:
    found = by_kind(FOLDER / "overlays/example")
    config = found["ConfigMap"]["data"]["accounts.yaml"]
    chart = rendered(
        {
            "config": {
                "defaults": {"proxy_file": "/etc/orchestrator-secrets/proxy/url"},
                "accounts": {"support": {"phone": "+15550100"}},
            },
            "secrets": ["proxy"],
            "restartOnChange": False,
        }
    )
    assert yaml.safe_load(config) == yaml.safe_load(chart["ConfigMap"]["data"]["accounts.yaml"])
    ours, theirs = (one["StatefulSet"]["spec"]["template"]["spec"] for one in (found, chart))
    assert ours["volumes"][0]["configMap"].pop("name") == found["ConfigMap"]["metadata"]["name"]
    theirs["volumes"][0]["configMap"].pop("name")
    key = lambda one: one["name"]  # noqa: E731
    assert sorted(ours.pop("volumes"), key=key) == sorted(theirs.pop("volumes"), key=key)
    (container,), (other,) = ours.pop("containers"), theirs.pop("containers")
    assert sorted(container.pop("volumeMounts"), key=key) == sorted(other.pop("volumeMounts"), key=key)
    assert container.pop("image") == f"registry.example.com/whatsapp-orchestrator:{__version__}"
    other.pop("image")
    assert container == other
    assert ours == theirs
    secret = tmp_path / "url"
    secret.write_text("http://h:1\n")
    secret.chmod(0o600)
    file = tmp_path / "accounts.yaml"
    file.write_text(config.replace("/etc/orchestrator-secrets/proxy/url", str(secret)))
    assert load(file, environ={"RUNTIME_DIRECTORY": "/dev/shm/x", "HOME": "/"}).accounts.keys() == {"support"}


def test_another_configuration_is_another_pod(tmp_path: Path) -> None:
    before = by_kind(FOLDER / "overlays/example")
    shutil.copytree(FOLDER, tmp_path / "kustomize")
    file = tmp_path / "kustomize/overlays/example/accounts.yaml"
    file.write_text(file.read_text() + "  sales: {}\n")
    after = by_kind(tmp_path / "kustomize/overlays/example")
    assert before["StatefulSet"] != after["StatefulSet"]
    assert before["Service"] == after["Service"]
