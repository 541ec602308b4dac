"""The control interface of a running sandbox, for Python programs: tests, tools, the CLI.

SandboxError              the sandbox refused a request, or an event did not come in time
└── SandboxUnreachable    no sandbox answers at the address
"""

from __future__ import annotations

import base64
import json
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlencode, urlsplit

from orchestrator.errors import OrchestratorError
from orchestrator.sandbox import token as tokens
from orchestrator.sandbox.environment import ROOT_KEY_VARIABLE, client_environment

DEFAULT_PORT: Final = 8443
"""Where ``orchestrator sandbox serve`` listens for WhatsApp clients unless told otherwise."""
DEFAULT_CONTROL_PORT: Final = 8444
"""Where a sandbox takes commands unless told otherwise."""
DEFAULT_CONTROL: Final = f"http://127.0.0.1:{DEFAULT_CONTROL_PORT}"
CONTROL_VARIABLE: Final = "ORCHESTRATOR_SANDBOX_CONTROL"
"""The environment variable that names another address than the default one."""

TIMEOUT: Final = 100.0
"""Seconds for an answer. Entering a code takes longest: it waits for the WhatsApp client twice 30 s."""
MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a request that the server accepts."""
UNAUTHORIZED: Final = 401
"""The status of an answer to a request without the sandbox's secret."""
_POLL = 20.0  # seconds for which one request for events is held open; the server allows 60
_SHOWN = 20  # events in the message of a time-out

Json: TypeAlias = dict[str, Any]
MediaKind: TypeAlias = Literal["image", "sticker", "video", "audio", "document"]
Change: TypeAlias = Literal["subject", "add", "remove", "promote", "demote"]


class SandboxError(OrchestratorError):
    """The sandbox could not do something; the message says why.

    Attributes:
        status: The HTTP status of the sandbox's answer: 400 for a request that makes no sense, 409 for a
            request that cannot be carried out now, 401, 403, 415 or 421 for one that is refused unread, 500
            for an error of the sandbox. None without an answer.
    """

    key = "sandbox_failed"

    def __init__(self, message: str, status: int | None = None, *, key: str | None = None) -> None:
        super().__init__(message, key=key)
        self.status = status


class SandboxUnreachable(SandboxError):  # noqa: N818 - the name says more than that this is an error
    """No sandbox answers at the address; the message says how to start one."""

    key = "sandbox_unreachable"


class _Requests:
    """The requests of a `SandboxClient`, and the secret that goes with them."""

    def __init__(self, address: str | None = None, *, token_file: Path | None = None) -> None:
        self.address = address or os.environ.get(CONTROL_VARIABLE) or DEFAULT_CONTROL
        self._host, self._port = _host_and_port(self.address)
        self._token_file = token_file
        self._token: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def _object(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        wait: float = 0,
    ) -> Json:
        answer = self._ask(method, path, body, query=query, wait=wait)
        if not isinstance(answer, dict):
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {_REMEDY}")
        return answer

    def _list(self, method: str, path: str, *, query: Mapping[str, str | int] | None = None) -> list[Json]:
        answer = self._ask(method, path, query=query)
        if not isinstance(answer, list):
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {_REMEDY}")
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        wait: float = 0,
    ) -> Any:  # noqa: ANN401 - any JSON value
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body).encode()
        if data is not None and len(data) > MAX_BODY:
            raise SandboxError(f"the request has {len(data):,} bytes; the sandbox accepts {MAX_BODY:,}")
        token, self._token = self._token or self._find_token(), None
        status, answer = self._request(method, target, data, token, wait)
        if status == UNAUTHORIZED:  # a sandbox that was started anew with another state folder
            token = self._find_token()
            status, answer = self._request(method, target, data, token, wait)
        if status != 200:
            text = answer.get("error") if isinstance(answer, dict) else None
            raise SandboxError(str(text or f"HTTP status {status}"), status)
        self._token = token
        return answer

    def _find_token(self) -> str:
        """Return the sandbox's secret; where it is, the sandbox tells."""
        path = self._token_file
        if path is None or not os.path.lexists(path):
            status, answer = self._request("GET", "/", None, None, 0)
            named = answer.get("token_file") if isinstance(answer, dict) else None
            if status != UNAUTHORIZED or not isinstance(named, str):
                raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {_REMEDY}")
            path = Path(named)
        try:
            return tokens.read(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            whose = tokens.owner(path)
            raise SandboxError(
                f"the sandbox at {self.address} asks for the secret in {path}, which cannot be read ({why}):"
                f" run the command as the user {whose or 'who started the sandbox'}, or start a sandbox of"
                " your own, on other ports"
            ) from None

    def _request(
        self, method: str, target: str, data: bytes | None, token: str | None, wait: float
    ) -> tuple[int, Any]:
        """Return status and answer of one request."""
        import http.client  # it brings ssl and email along, which --help can do without

        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        # Unlike urllib this never goes through a proxy, and in the sandbox's environment there is one.
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT + wait)
        try:
            try:
                connection.connect()
            except OSError as error:
                why = error.strerror or str(error)
                raise SandboxUnreachable(f"no sandbox answers at {self.address} ({why}): {_REMEDY}") from None
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except TimeoutError:
            raise SandboxUnreachable(
                f"the sandbox at {self.address} does not answer: look at its log, or restart the sandbox"
            ) from None
        except OSError:
            raise SandboxUnreachable(
                f"the sandbox at {self.address} ended before it answered: look at its log"
            ) from None
        except (http.client.HTTPException, ValueError):
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {_REMEDY}") from None
        finally:
            connection.close()


class SandboxClient(_Requests):
    """Asks a running sandbox to do things, as a person with the phones in hand would.

    Phone numbers are text with the country code, such as ``+4915100001``. Each call makes a connection of its
    own, so one client may be used by many threads. Every method raises `SandboxError`.

    Args:
        address: ``http://HOST:PORT`` of the control interface; if not given, what the environment variable
            ORCHESTRATOR_SANDBOX_CONTROL says, or else port 8444 of this machine.
        token_file: The file with the sandbox's secret; if not given, the sandbox is asked where it is.

    Raises:
        ValueError: This is no address of a control interface.
    """

    # The sandbox itself

    def about(self) -> Json:
        """Return facts about the sandbox.

        Keys: sandbox (its version), pid, port, control_port, state_dir, environment.
        """
        answer = self._ask("GET", "/")
        if not isinstance(answer, dict) or "sandbox" not in answer:
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {_REMEDY}")
        return answer

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment that sends a process to the sandbox; see `environment_of`."""
        return environment_of(self.about(), base)

    def state(self) -> Json:
        """Return everything at once: phones, groups, connections, faults, last_event."""
        return self._object("GET", "/state")

    def connections(self) -> list[Json]:
        """Return the open connections of clients.

        Keys: connection, phone, device, state (handshake, linking, logged-in or online), proxy_user, since;
        version and platform once the client has told them.
        """
        return list(self.state()["connections"])

    # Phones and their linked devices

    def phones(self) -> list[Json]:
        """Return the phones, by number.

        Keys: phone, name, lid, and devices, each with device, os, online, connection, queued, prekeys,
        linked_at.
        """
        return self._list("GET", "/phones")

    def add_phone(self, phone: str, name: str | None = None) -> Json:
        """Add a phone; return its phone, name and lid."""
        return self._object("POST", "/phones", {"phone": phone, "name": name})

    def scan(self, phone: str, *, text: str | None = None, png: Path | bytes | None = None) -> Json:
        """Scan a QR code with a phone, and link the client that shows the code; an unknown phone is added.

        Args:
            phone: The phone's number.
            text: The text of the code.
            png: Instead of the text, a picture of the code, in any format that Pillow reads.

        Returns:
            The phone and its new device's number, 1 or more.

        Raises:
            SandboxError: The picture has no code, no client shows the code, or the client refuses the link.
            OSError: The picture cannot be read.
            TypeError: Neither text nor png was given, or both.
        """
        if (text is None) == (png is None):
            raise TypeError("scan() takes either text or png")
        if isinstance(png, Path):
            png = png.read_bytes()
        code = {"text": text} if png is None else {"png": _base64(png)}
        return self._object("POST", "/scan", {"phone": phone, **code})

    def enter_code(self, phone: str, code: str) -> Json:
        """Type the eight characters that a client shows into the phone; return its phone and device."""
        return self._object("POST", "/code", {"phone": phone, "code": code})

    def unlink(self, phone: str, device: int | None = None) -> list[int]:
        """Log one linked device out, or all of the phone's; return their numbers."""
        answer = self._object("POST", "/unlink", {"phone": phone, "device": device})
        return list(answer["unlinked"])

    def forget_sessions(self, phone: str) -> None:
        """Make the phone forget its encrypted sessions, as if the phone had been set up anew."""
        self._ask("POST", "/forget-sessions", {"phone": phone})

    # Messages

    def send_text(self, sender: str, to: str, text: str) -> str:
        """Send a text from a phone to a number or a group's address; return the message's ID."""
        return str(self._object("POST", "/send", {"from": sender, "to": to, "text": text})["id"])

    def send_media(
        self,
        sender: str,
        to: str,
        kind: MediaKind,
        data: bytes,
        *,
        mime: str | None = None,
        caption: str | None = None,
        file_name: str | None = None,
    ) -> str:
        """Send an attachment from a phone; return the message's ID.

        Args:
            sender: The phone's number.
            to: A number or a group's address.
            kind: What the receiver shows the attachment as.
            data: The attachment's bytes, at most some 48 MB.
            mime: The attachment's type; application/octet-stream if not given.
            caption: The text below an image, video or document.
            file_name: The name of a document.
        """
        media = {
            "kind": kind,
            "data": _base64(data),
            "mime": mime,
            "caption": caption or None,
            "file_name": file_name or None,
        }
        return str(self._object("POST", "/send", {"from": sender, "to": to, "media": media})["id"])

    def read(self, phone: str, message_id: str) -> None:
        """Open a message that the phone has received, so that its sender gets a read receipt."""
        self._ask("POST", "/read", {"phone": phone, "id": message_id})

    def inbox(self, phone: str, after: int = 0) -> list[Json]:
        """Return what a phone has received, decrypted, oldest first.

        Keys: seq, id, at, direction (``in``, or ``copy`` of what a linked device of its own has sent), from,
        chat, group, kind; text for a text; mime, caption, file_name, sha256, size or error for an attachment.

        Args:
            phone: The phone's number.
            after: A seq: only what came later.
        """
        return self._list("GET", "/inbox", query={"phone": phone, "after": after})

    def attachment(self, phone: str, seq: int) -> bytes:
        """Return the decrypted bytes of an attachment, by its seq in the phone's inbox."""
        answer = self._object("GET", "/attachment", query={"phone": phone, "seq": seq})
        return base64.b64decode(answer["data"])

    # Groups

    def groups(self) -> list[Json]:
        """Return the groups: group (the address), subject, and members, number to role."""
        return self._list("GET", "/groups")

    def make_group(self, phone: str, subject: str, members: Iterable[str]) -> Json:
        """Make a group as the owner of a phone; return the group as `groups` does."""
        body = {"phone": phone, "subject": subject, "members": list(members)}
        return self._object("POST", "/groups", body)

    def change_group(
        self,
        phone: str,
        group: str,
        change: Change,
        *,
        subject: str | None = None,
        members: Iterable[str] | None = None,
    ) -> Json:
        """Rename a group, or add, remove, promote or demote members; return the changed group.

        Args:
            phone: Who changes the group. To leave a group, a member removes itself.
            group: The group's address.
            change: What to do.
            subject: The new name, with ``subject``.
            members: The numbers of the members to change, with the other changes.
        """
        body = {"phone": phone, "group": group, "change": change, "subject": subject}
        if members is not None:
            body["members"] = list(members)  # type: ignore[assignment]
        return self._object("POST", "/groups/change", body)

    # Faults

    def fault(
        self,
        kind: str,
        target: str = "all",
        times: int | None = None,
        seconds: float | None = None,
        **params: object,
    ) -> Json:
        """Make something go wrong: now, or for the next clients that match.

        Args:
            kind: One of `orchestrator.sandbox.server.faults.KINDS`.
            target: ``all``, ``pairing``, ``+NUMBER``, ``+NUMBER:DEVICE``, ``connection:N`` or ``proxy:USER``.
            times: How many connections the fault strikes; by default one, or no limit if the fault lasts or
                has seconds.
            seconds: For how long the fault waits or lasts; by default until it is used up or cleared.
            **params: The parameters of the kind.

        Returns:
            The fault: id, kind, target, its parameters, times, seconds_left, struck.
        """
        body = {"kind": kind, "target": target, "times": times, "seconds": seconds, **params}
        # An explicit null would mean something else: with times, no limit.
        return self._object(
            "POST", "/faults", {key: value for key, value in body.items() if value is not None}
        )

    def faults(self) -> list[Json]:
        """Return the faults that wait for a client or still last, oldest first."""
        return self._list("GET", "/faults")

    def clear_faults(self, id: int | None = None) -> list[Json]:  # noqa: A002 - what the server calls it
        """Clear one fault, or all faults; return the cleared faults."""
        return self._list("DELETE", "/faults", query={} if id is None else {"id": id})

    # Events

    def last_event(self) -> int:
        """Return the number of the newest event: waiting from this number on ignores earlier events."""
        return int(self.state()["last_event"])

    def events(self, since: int = 0, wait: float = 0) -> list[Json]:
        """Return the events after that number, each with seq, at, event and more.

        The server counts from 1 whenever it starts. A number that the server has not reached yet is therefore
        from before a restart, and all events are returned.

        Args:
            since: The number of an event, or 0.
            wait: If there are no events, wait for some for this many seconds, at most 60, rounded up.
        """
        answer = self._object(
            "GET", "/events", query={"since": since, "wait": max(0, math.ceil(wait))}, wait=wait
        )
        return self.events() if answer["last"] < since else list(answer["events"])

    def follow(self, since: int = 0) -> Iterator[Json]:
        """Yield the events after that number as they come, endlessly."""
        wait = 0.0
        while True:
            for event in self.events(since, wait):
                since = event["seq"]
                yield event
            wait = _POLL

    def wait_for(self, event: str, timeout: float = 30.0, since: int = 0, **facts: object) -> Json:
        """Wait for an event of that name and with these facts; return the first.

        Args:
            event: The event's name, such as ``login``.
            timeout: Seconds to wait at most, rounded up.
            since: The number of an event: only later ones count.
            **facts: What else must be true of the event, such as ``phone="+4915100001"``.

        Raises:
            SandboxError: The event did not come in time; the message lists the last events that came.
        """
        deadline = time.monotonic() + timeout
        recent: deque[Json] = deque(maxlen=_SHOWN)
        wanted = {"event": event, **facts}
        start = since
        wait = 0.0
        while True:
            for found in self.events(since, wait):
                if all(key in found and _same(found[key], value) for key, value in wanted.items()):
                    return found
                recent.append(found)
                since = found["seq"]
            wait = min(deadline - time.monotonic(), _POLL)
            if wait <= 0:
                raise SandboxError(_not_come(wanted, timeout, start, recent))


def environment_of(about: Mapping[str, Any], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which a process connects to the sandbox and finds its control interface.

    Args:
        about: What `SandboxClient.about` has returned.
        base: The other variables; `os.environ` if not given.
    """
    given = about["environment"]
    environment = client_environment(
        port=about["port"],
        ca_file=Path(given["SSL_CERT_FILE"]),
        root_key=bytes.fromhex(given[ROOT_KEY_VARIABLE]),
        base=os.environ if base is None else base,
    )
    return {**environment, CONTROL_VARIABLE: f"http://127.0.0.1:{about['control_port']}"}


_REMEDY = (
    "start one with 'orchestrator sandbox serve', "
    f"or name another address with --control or in ${CONTROL_VARIABLE}"
)


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    else:
        if parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.username:
            host = None
    if not host or not port:
        raise ValueError(f"{address!r} is no address of a sandbox: write one like {DEFAULT_CONTROL}")
    return host, port


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _same(found: object, wanted: object) -> bool:
    """Compare two facts. People write phone numbers with a plus, events have no plus."""
    if isinstance(found, str) and isinstance(wanted, str):
        return found.removeprefix("+") == wanted.removeprefix("+")
    return found == wanted


def _not_come(wanted: Mapping[str, object], timeout: float, since: int, recent: Iterable[Json]) -> str:
    facts = ", ".join(f"{key} {value!r}" for key, value in wanted.items())
    lines = [json.dumps(event) for event in recent] or ["(none)"]
    return "\n".join([f"no {facts} within {timeout:g} s; the last events after number {since}:", *lines])
