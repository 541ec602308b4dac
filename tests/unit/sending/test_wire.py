"""The words in which clients ask for messages: what the service writes into them, and clients never."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.accounts.acts import BadAct
from orchestrator.sending import wire
from orchestrator.sending.forms import Outgoing, Preview, Text

TO = "269139479534551@lid"
PREVIEW: dict[str, Any] = {"url": "https://example.org", "title": "Example", "thumbnail": "/9g="}
FILE: dict[str, Any] = {"id": "17", "sha256": "a" * 64, "size": 1, "mime_type": "image/jpeg"}
WRITTEN_HERE: list[dict[str, Any]] = [
    {"kind": "text", "text": "see https://example.org", "preview": PREVIEW},
    {"kind": "image", "file": FILE},
]


@pytest.mark.parametrize("asked", WRITTEN_HERE)
def test_what_the_service_writes_comes_from_no_client(asked: dict[str, Any]) -> None:
    with pytest.raises(BadAct) as caught:
        wire.parse({"to": TO, **asked})
    assert {"file", "preview"}.isdisjoint(str(caught.value).replace(",", "").split())
    made = wire.parse({"to": TO, **asked}, checked=True)
    assert wire.from_text(wire.as_text(made)) == made


def test_a_preview_is_kept_whole() -> None:
    preview = Preview("https://example.org", "Example", "What it is", b"\xff\xd8")
    message = Outgoing(TO, Text("see https://example.org", link_preview=True, preview=preview))
    assert wire.from_text(wire.as_text(message)) == message


@pytest.mark.parametrize(
    "preview",
    [1, [], {}, {"url": "x"}, {"title": "x"}, {**PREVIEW, "url": 1}, {**PREVIEW, "title": "n" * 1025},
     {**PREVIEW, "thumbnail": "?"}, {**PREVIEW, "thumbnail": "AAAA" * 6000}],
)  # fmt: skip
def test_a_preview_of_another_form_is_refused(preview: object) -> None:
    with pytest.raises(BadAct):
        wire.parse({"to": TO, "kind": "text", "text": "x", "preview": preview}, checked=True)
