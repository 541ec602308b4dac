"""What a phone has at hand: messages that it knows, attachments, names."""

from __future__ import annotations

import base64
import json
from typing import Any

from orchestrator.sandbox.crypto import media
from orchestrator.sandbox.crypto.media import MediaKind
from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.drafts import Earlier
from orchestrator.sandbox.server.media import direct_path, media_id, stored_url
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.jid import JID


def sent_at(kind: str) -> float:
    """Return when a message was sent, by what the store keeps of it; 0 in files of earlier versions."""
    return float(json.loads(kind).get("at", 0)) if kind.startswith("{") else 0.0


class Shelf:
    """The things of one phone.

    Args:
        hub: The server's common ground.
        person: Whose phone it is.
    """

    def __init__(self, hub: Hub, person: Person) -> None:
        self._hub = hub
        self._person = person

    def upload(self, kind: MediaKind, data: bytes) -> dict[str, Any]:
        """Keep an attachment, encrypted; return the fields that describe it."""
        sealed = media.encrypt(data, kind)
        blob_id = media_id(sealed.blob_sha256)
        self._hub.store.save_media(blob_id, kind, sealed.blob)
        return {
            "url": stored_url(blob_id),
            "direct_path": direct_path(blob_id),
            "sha256": sealed.sha256,
            "blob_sha256": sealed.blob_sha256,
            "key": sealed.key,
            "length": sealed.length,
        }

    def earlier(self, message_id: str) -> Earlier | None:
        """Return a message that the phone has sent or received."""
        if (sent := self._hub.store.sent(self._person.number, message_id)) is not None:
            return Earlier(message_id, sent[0], self._person.lid_jid, True, sent[2], sent_at(sent[1]))
        record = self._hub.store.inbox_message(self._person.number, message_id)
        if record is None:
            return None
        chat = record["group"]
        if not chat:
            number = record["chat"].removeprefix("+")
            person = self._hub.store.person(number)
            chat = str(person.lid_jid) if person else record["chat"]
        author = JID.parse(record["sender"]).bare
        own = author == self._person.lid_jid
        plain = base64.b64decode(record.get("plain", ""))
        return Earlier(message_id, chat, author, own, plain, float(record["at"]))

    def has(self, message_id: str, sender: JID) -> bool:
        """Tell whether the phone has received a message of somebody with that id already."""
        found = self._hub.store.inbox_messages(self._person.number, message_id)
        return any(JID.parse(one["sender"]).bare == sender.bare for one in found)

    def name_of(self, address: str) -> str:
        """Return somebody's number, or the address if nobody here has it."""
        try:
            person = self._hub.store.person_by_jid(JID.parse(address))
        except ValueError:
            return address
        return f"+{person.number}" if person else address

    def blob(self, blob_id: str) -> bytes | None:
        """Return an uploaded attachment, encrypted."""
        return self._hub.store.media(blob_id)
