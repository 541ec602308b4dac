"""Events as golden files: what differs from run to run has a name instead."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]

WRITE = "WRITE_GOLDEN"
"""A variable of the environment; with any value, the files are written anew: look at the difference."""
_MOMENT = re.compile(r'"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z"')
_ID_KEYS = ("id", "message_id")
_NAMED = ("chat", "sender", "recipient", "media", "choice", "choices")
"""Objects whose `id` is no message's."""


def normalized(events: list[Json], known: Mapping[str, str]) -> list[Json]:
    """Return events in which numbers, addresses, identifiers and times have names.

    Args:
        events: The events, in order; their numbers are counted from 1.
        known: What stands for parts of texts, such as the digits of a number.
    """
    copies = json.loads(json.dumps(events))
    names: dict[str, str] = {}
    for number, event in enumerate(copies, 1):
        assert event["id"] == f"evt_{event['account']}_{event['seq']}"
        event.update(seq=number, id=f"evt_{event['account']}_{number}")
        _name(event["data"], names)
    text = _MOMENT.sub('"TIME"', json.dumps(copies, sort_keys=True))
    for part, name in sorted(known.items(), key=lambda one: -len(one[0])):
        text = text.replace(part, name)
    found: list[Json] = json.loads(text)
    return found


def _name(value: object, names: dict[str, str], of: str = "") -> None:
    """Give names to the identifiers in a value: messages are counted, attachments have one name."""
    if isinstance(value, list):
        for one in value:
            _name(one, names, of)
    if not isinstance(value, dict):
        return
    for key, one in value.items():
        if key in _ID_KEYS and of not in _NAMED and isinstance(one, str):
            value[key] = names.setdefault(one, f"MESSAGE-{len(names) + 1}")
        elif key == "id" and of == "media" and isinstance(one, str) and one.isdecimal():
            value[key] = "ATTACHMENT"
        else:
            _name(one, names, key)


def compare(found: list[Json], file: Path, test: str) -> None:
    """Fail with what differs, unless the file holds these events.

    Args:
        found: The events, as `normalized` returns them.
        file: The golden file.
        test: The file of the tests.
    """
    text = json.dumps(found, indent=2, ensure_ascii=True, sort_keys=True) + "\n"
    if WRITE in os.environ:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    wanted = file.read_text() if file.exists() else ""
    if text != wanted:
        before, now = wanted.splitlines(), text.splitlines()
        difference = "\n".join(difflib.unified_diff(before, now, file.name, "what came", lineterm=""))
        how = f"if this is as it should be: {WRITE}=1 python -m pytest -n0 {test}"
        pytest.fail(f"{difference}\n\n{how}", pytrace=False)
