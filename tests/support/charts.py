"""The chart: rendered by Helm's own code, which the package helm-python-sdk brings along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy/helm/single"
RELEASE = "whatsapp-orchestrator"


def helm() -> Any:  # noqa: ANN401
    """Return Helm, or skip the test where it is not installed: there is none for some processors."""
    return pytest.importorskip("helm_python", exc_type=ImportError)


def rendered(values: Mapping[str, Any] | None = None, chart: Path = CHART) -> dict[str, dict[str, Any]]:
    """Return what a chart makes of values, by the kind of object.

    Raises:
        Exception: Helm refuses the values.
    """
    with helm().Chart.load(str(chart)) as loaded:
        files = loaded.render(dict(values or {}), name=RELEASE, namespace="whatsapp")
    found: dict[str, dict[str, Any]] = {}
    for name, text in files.items():
        if name.endswith(".yaml"):
            for document in yaml.safe_load_all(text):
                if document is not None:
                    assert document["kind"] not in found, "one object of each kind"
                    found[document["kind"]] = document
    return found
