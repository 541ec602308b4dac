"""Programs for Meta's Cloud API, unmodified, and what others of them read, as judges of our webhooks."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import fastapi
import httpx
import pywa
import uvicorn
from kapso_whatsapp.webhooks import normalize_webhook
from pywa import types

Json = dict[str, Any]
NUMBER = "15550100"


class Elsewhere(httpx.HTTPTransport):
    """Has httpx ask another server than Meta's: pywa has no setting for that, but takes a session.

    Args:
        base: The other server, such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = httpx.URL(base)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "graph.facebook.com":
            netloc = {"scheme": self._base.scheme, "host": self._base.host, "port": self._base.port}
            request.url = request.url.copy_with(**netloc)
            request.headers["host"] = self._base.netloc.decode()
        return super().handle_request(request)


class Pywa:
    """pywa, with a handler of every sort; what each got is kept.

    Attributes:
        got: The updates that handlers got, in order.
    """

    def __init__(self, number: str = NUMBER, **more: Any) -> None:  # noqa: ANN401
        # Any: pywa gives its methods types that no type checker takes.
        self.wa = cast("Any", pywa.WhatsApp(phone_id=number, waba_id=number, **more))
        self.got: list[Any] = []

        def keep(_: pywa.WhatsApp, update: Any) -> None:  # noqa: ANN401
            self.got.append(update)

        self.wa.on_message(keep)
        self.wa.on_message_status(keep)
        self.wa.on_edited_message(keep)
        self.wa.on_deleted_message(keep)
        self.wa.on_callback_button(keep)
        self.wa.on_group_message_statuses(keep)
        self.wa.on_outgoing_message(keep)

    def take(self, body: Json | bytes) -> Any:  # noqa: ANN401
        """Have it handle the body of a webhook, and return what its handler got."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        before = len(self.got)
        with _complaints() as said:
            answer = self.wa.webhook_update_handler(raw)
        assert answer == ("ok", 200)
        assert not said, said
        (got,) = self.got[before:]
        return got


class PywaServer:
    """pywa, listening as its own documentation says.

    Attributes:
        url: Where.
        pywa: It.
    """

    def __init__(self, sock: socket.socket, **more: Any) -> None:  # noqa: ANN401
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/hook"
        app = fastapi.FastAPI()
        self.pywa = Pywa(server=app, webhook_endpoint="/hook", **more)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([sock],))
        self._thread.start()

    def end(self) -> None:
        """Wait for what pywa does after its answers, and end it."""
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what pywa complains of: it answers 200 in any case."""
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage() + (str(record.exc_info[1]) if record.exc_info else ""))

    handler = Collect(logging.WARNING)
    logger = logging.getLogger("pywa")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def kapso(body: Json | bytes) -> Any:  # noqa: ANN401
    """Have kapso-whatsapp-cloud-api read the body of a webhook."""
    return normalize_webhook(json.loads(body) if isinstance(body, bytes) else body)


def chatwoot(body: Json) -> Json:
    """Return what Chatwoot takes from the body of a webhook: it looks at the first entry of each list only.

    Its channel is found by "+" and `display_phone_number`, and must have the same `phone_number_id`.
    """
    assert body["object"] == "whatsapp_business_account"
    value = body["entry"][0]["changes"][0]["value"]
    found: Json = {
        "channel": "+" + value["metadata"]["display_phone_number"],
        "phone_number_id": value["metadata"]["phone_number_id"],
    }
    if value.get("statuses"):
        status = value["statuses"][0]
        found |= {"source_id": status["id"], "status": status["status"]}
        if status["status"] == "failed":
            found["error"] = f"{status['errors'][0]['code']}: {status['errors'][0]['title']}"
        return found
    message, contact = value["messages"][0], value["contacts"][0]
    found |= {
        "source_id": message["id"],
        "contact": contact.get("user_id") or contact.get("wa_id"),
        "name": contact["profile"]["name"],
        "phone": f"+{message['from']}" if "from" in message else None,
        "in_reply_to": message.get("context", {}).get("id"),
    }
    match message["type"]:
        case "text":
            found["content"] = message["text"]["body"]
        case "contacts":
            found["content"] = [one["name"]["formatted_name"] for one in message["contacts"]]
        case "image" | "video" | "audio" | "document" | "sticker" as kind:
            found["content"] = message[kind].get("caption")
            found["attachment"] = message[kind]["id"]
        case "location":
            found["content"] = (message["location"]["latitude"], message["location"]["longitude"])
    return found


TYPEBOT: Json = {
    "type": "object",
    "required": ["entry"],
    "properties": {
        "entry": {"items": {"required": ["changes"], "properties": {"changes": {"items": {
            "required": ["value"],
            "properties": {"value": {
                "properties": {
                    "metadata": {
                        "required": ["phone_number_id"],
                        "properties": {"phone_number_id": {"type": "string"}},
                    },
                    "contacts": {"items": {
                        "required": ["profile"],
                        "properties": {"profile": {
                            "required": ["name"], "properties": {"name": {"type": "string"}},
                        }},
                    }},
                    "messages": {"items": {
                        "required": ["from", "timestamp", "type"],
                        "properties": {
                            "from": {"type": "string"},
                            "timestamp": {"type": "string"},
                            "type": {"enum": [
                                "text", "button", "interactive", "image", "video", "audio", "document",
                                "location", "reaction", "sticker", "contacts", "unsupported", "system",
                            ]},
                        },
                    }},
                    "statuses": {"items": {
                        "required": ["recipient_id"],
                        "properties": {
                            "recipient_id": {"type": "string"},
                            "errors": {"items": {
                                "required": ["code", "title", "error_data"],
                                "properties": {
                                    "code": {"type": "number"}, "title": {"type": "string"},
                                    "error_data": {
                                        "required": ["details"],
                                        "properties": {"details": {"type": "string"}},
                                    },
                                },
                            }},
                        },
                    }},
                },
            }},
        }}}}},
    },
}  # fmt: skip
"""What Typebot demands of the body of a webhook, as a JSON Schema. It refuses the whole body otherwise."""

__all__ = ["NUMBER", "TYPEBOT", "Elsewhere", "Pywa", "PywaServer", "chatwoot", "kapso", "types"]
