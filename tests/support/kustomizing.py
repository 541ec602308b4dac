"""What `kubectl kustomize` makes of a folder, as far as deploy/kustomize uses it; anything else is an error.

No kustomize can be had where tests run. This follows its documentation for a handful of fields.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

Objects = list[dict[str, Any]]
_FIELDS = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator", "patches"}


def build(folder: Path) -> Objects:
    """Return the objects of a kustomization; ConfigMaps that are generated are named by their content."""
    objects = _accumulated(folder)
    names = {}
    for one in objects:
        if one.pop("generated", None):
            content = json.dumps(one["data"], sort_keys=True).encode()
            names[one["metadata"]["name"]] = (
                f"{one['metadata']['name']}-{hashlib.sha256(content).hexdigest()[:10]}"
            )
            one["metadata"]["name"] = names[one["metadata"]["name"]]
    for one in objects:
        if one["kind"] == "StatefulSet":
            for volume in one["spec"]["template"]["spec"]["volumes"]:
                if "configMap" in volume:
                    volume["configMap"]["name"] = names[volume["configMap"]["name"]]
    return objects


def _accumulated(folder: Path) -> Objects:
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(told) <= _FIELDS, f"nobody has said what {sorted(set(told) - _FIELDS)} do"
    assert told["kind"] == "Kustomization"
    objects: Objects = []
    for name in told["resources"]:
        place = folder / name
        objects += _accumulated(place) if place.is_dir() else list(yaml.safe_load_all(place.read_text()))
    for generator in told.get("configMapGenerator", ()):
        assert set(generator) <= {"name", "files", "behavior"}
        data = {name: (folder / name).read_text() for name in generator["files"]}
        there = [
            one for one in objects if one.get("generated") and one["metadata"]["name"] == generator["name"]
        ]
        assert bool(there) == (generator.get("behavior", "create") == "replace")
        objects = [one for one in objects if one not in there]
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": generator["name"]},
                "data": data,
                "generated": True,
            }
        )
    for patch in told.get("patches", ()):
        assert set(patch) == {"target", "patch"}
        assert set(patch["target"]) == {"kind"}
        (target,) = (one for one in objects if one["kind"] == patch["target"]["kind"])
        for step in yaml.safe_load(patch["patch"]):
            _add(target, step)
    for image in told.get("images", ()):
        for one in objects:
            if one["kind"] == "StatefulSet":
                for container in one["spec"]["template"]["spec"]["containers"]:
                    name, _, _ = container["image"].partition(":")
                    if name == image["name"]:
                        container["image"] = f"{image['newName']}:{image['newTag']}"
    if "namespace" in told:
        for one in objects:
            one["metadata"]["namespace"] = told["namespace"]
    return objects


def _add(target: dict[str, Any], step: dict[str, Any]) -> None:
    """Carry out a step of a JSON patch that adds to the end of a list."""
    assert set(step) == {"op", "path", "value"}
    assert step["op"] == "add"
    *parts, last = step["path"].lstrip("/").split("/")
    assert last == "-", "only the end of a list can be added to"
    place: Any = target
    for part in parts:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place.append(step["value"])
