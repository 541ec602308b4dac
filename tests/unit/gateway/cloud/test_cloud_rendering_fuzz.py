"""Whatever a peer sends, unmodified pywa takes the body that comes of it, or there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.cloud_clients import NUMBER, Pywa, kapso
from support.entries import an_entry
from support.protobufs import ADA, GROUP, Message, event, neonize
from support.strategies import TEXTS, messages

from orchestrator.gateway.cloud.rendering import render as render_cloud
from orchestrator.messages.entry import Stored
from orchestrator.messages.rendering import render

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Nothing is made smaller: messages are large, and that takes minutes for each."""
NOTES = st.fixed_dictionaries(
    {},
    optional={
        "phones": st.dictionaries(st.sampled_from([ADA, GROUP]), st.just("+4915100002")),
        "status": st.sampled_from(["sent", "delivered", "read", "failed"]),
        "media": st.just("5577006791947779410"),
        "from_me": st.booleans(),
    },
)
PLACES = st.sampled_from([ADA, GROUP, "", "4915100002@s.whatsapp.net", "867051314767696@bot", "x@hosted.lid"])


def check(stored: Stored) -> None:
    found = render(stored, "support")
    body = None if found is None else render_cloud(found, NUMBER, echoes=True)
    if body is None:
        return
    raw = json.dumps(body, allow_nan=False).encode()
    (entry,) = body["entry"]
    (change,) = entry["changes"]
    value = change["value"]
    assert sum(len(value.get(part, ())) for part in ("messages", "statuses", "message_echoes")) == 1
    Pywa().take(raw)
    assert len(kapso(raw).messages) + len(kapso(raw).statuses) == 1


@pytest.mark.parametrize("name", [field.name for field in Message.DESCRIPTOR.fields])
@settings(max_examples=4, deadline=None, phases=PHASES)
@given(data=st.data(), notes=NOTES, chat=PLACES, sender=PLACES)
def test_every_field_of_a_message(
    name: str, data: st.DataObject, notes: dict[str, Any], chat: str, sender: str
) -> None:
    made = event(data.draw(messages(Message, first=name)))

    check(an_entry(made.SerializePartialToString(), chat=chat, sender=sender, notes=notes))


@settings(max_examples=50, deadline=None, phases=PHASES)
@given(data=st.data(), notes=NOTES, chat=PLACES, sender=PLACES, message=TEXTS)
def test_every_receipt(
    data: st.DataObject, notes: dict[str, Any], chat: str, sender: str, message: str
) -> None:
    made = data.draw(messages(neonize.Receipt))
    raw = made.SerializePartialToString()

    check(an_entry(raw, "receipt", chat=chat, sender=sender, id=message, notes=notes))
