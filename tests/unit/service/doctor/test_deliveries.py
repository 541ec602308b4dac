"""What doctor says of webhooks and bots, by what the gateway tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.doctor import context_of

from orchestrator.control.client import Client
from orchestrator.errors import NotRunning
from orchestrator.service.doctor.checks import deliveries


def consumer(**facts: object) -> dict[str, Any]:
    return {
        "name": "crm",
        "kind": "webhook",
        "state": "active",
        "why": None,
        "waiting": 3,
        "dead": 0,
        **facts,
    }


@pytest.mark.parametrize(
    ("facts", "levels", "words"),
    [
        ({}, ["ok"], "crm: active; 3 events wait"),
        ({"state": "waiting"}, ["ok"], "crm: waiting"),
        ({"kind": "pull"}, [], ""),
        ({"state": "failing", "why": "answered 500"}, ["warn"], "answered 500; 3 events wait"),
        ({"state": "failing", "why": "answered 500"}, ["warn"], "orchestrator webhook test crm"),
        ({"kind": "bot", "state": "failing", "why": "raised"}, ["warn"], "its log"),
        ({"state": "paused"}, ["warn"], "orchestrator webhook resume crm"),
        ({"state": "disabled", "why": "answered 410"}, ["fail"], "because it answered 410"),
        ({"dead": 2}, ["ok", "warn"], "2 events were given up"),
        ({"dead": 1}, ["ok", "warn"], "1 event was given up"),
        ({"waiting": 1}, ["ok"], "crm: active; 1 event waits"),
        ({"kind": "bot", "state": "paused"}, ["warn"], "orchestrator consumer resume crm"),
        ({"kind": "bot", "dead": 1}, ["ok", "warn"], "`orchestrator consumer replay crm`"),
    ],
)
def test_each_state_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], levels: list[str], words: str
) -> None:
    answers = {"ping": {"version": "1"}, "consumers": {"consumers": [consumer(**facts)]}}
    monkeypatch.setattr(Client, "call", lambda _, command, **__: answers[command])
    found = list(deliveries.find(context_of(tmp_path)))
    assert [one.status.lower() for one in found] == levels
    assert words in " ".join(f"{one.text} {one.advice}" for one in found)


def test_without_a_service_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotRunning("no")

    monkeypatch.setattr(Client, "call", refuse)
    assert list(deliveries.find(context_of(tmp_path))) == []
