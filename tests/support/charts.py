"""The charts: rendered by Helm's own code, which the package helm-python-sdk brings along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

_HELM = Path(__file__).resolve().parents[2] / "deploy/helm"
CHART, CLUSTER = _HELM / "single", _HELM / "cluster"
CHARTS = (CHART, CLUSTER)
RELEASE = "whatsapp-orchestrator"
VERSIONS = ("1.28", "1.31", "1.34", "1.37")
"""Versions of Kubernetes for which manifests are checked; Chart.yaml asks for the first or a newer one."""
LEAST: dict[Path, dict[str, Any]] = {
    CHART: {},
    CLUSTER: {"store": {"secret": "postgres", "to": [{"podSelector": {"matchLabels": {"app": "postgres"}}}]}},
}
"""What must be said of a chart."""


class _Strict(yaml.SafeLoader):
    """Reads YAML, and refuses a mapping that has a key twice: which of the two counts is chance."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [one.value for one, _ in node.value]
        assert len(names) == len(set(names)), f"{names} has a key twice"
        return super().construct_mapping(node, deep)


def helm() -> Any:  # noqa: ANN401
    """Return Helm, or skip the test where it is not installed: there is none for some processors."""
    return pytest.importorskip("helm_python", exc_type=ImportError)


def texts(
    values: Mapping[str, Any] | None = None, release: str = RELEASE, chart: Path = CHART
) -> dict[str, str]:
    """Return the files that a chart makes of values and of what must be said, by their names.

    Raises:
        Exception: Helm refuses the values.
    """
    with helm().Chart.load(str(chart)) as loaded:
        given = {**LEAST[chart], **(values or {})}
        found: dict[str, str] = loaded.render(given, name=release, namespace="whatsapp")
    return {Path(name).name: text for name, text in found.items()}


def rendered(
    values: Mapping[str, Any] | None = None, release: str = RELEASE, chart: Path = CHART
) -> dict[str, dict[str, Any]]:
    """Return what a chart makes of values, by the kind of object.

    A Service without an address of its own is of the kind `Headless` here.

    Raises:
        Exception: Helm refuses the values.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, text in texts(values, release, chart).items():
        if name.endswith(".yaml"):
            for document in yaml.load_all(text, _Strict):
                if document is not None:
                    headless = document.get("spec", {}).get("clusterIP") == "None"
                    kind = "Headless" if headless else document["kind"]
                    assert kind not in found, "one object of each kind"
                    found[kind] = document
    return found
