"""The control interface of a running sandbox, for Python programs: tests, tools, the CLI.

SandboxError              the sandbox refused a request, or an event did not come in time
└── SandboxUnreachable    no sandbox answers at the address
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from orchestrator.sandbox.environment import ROOT_KEY_VARIABLE, client_environment
from orchestrator.sandbox.requests import CONTROL_VARIABLE as CONTROL_VARIABLE
from orchestrator.sandbox.requests import DEFAULT_CONTROL as DEFAULT_CONTROL
from orchestrator.sandbox.requests import DEFAULT_CONTROL_PORT as DEFAULT_CONTROL_PORT
from orchestrator.sandbox.requests import DEFAULT_PORT as DEFAULT_PORT
from orchestrator.sandbox.requests import MAX_BODY as MAX_BODY
from orchestrator.sandbox.requests import REMEDY, Json, in_base64
from orchestrator.sandbox.requests import SandboxError as SandboxError
from orchestrator.sandbox.requests import SandboxUnreachable as SandboxUnreachable
from orchestrator.sandbox.talking import MediaKind as MediaKind
from orchestrator.sandbox.talking import Talking

Change: TypeAlias = Literal[
    "subject",
    "add",
    "remove",
    "promote",
    "demote",
    "announcement",
    "locked",
    "ephemeral",
    "description",
    "invite",
    "join",
    "delete",
]

_SHOWN = 20  # events in the message of a time-out
_POLL = 20.0  # seconds for which one request for events is held open; the server allows 60


class SandboxClient(Talking):
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

        Keys: sandbox (its version), pid, address and port for clients, control_port, state_dir, environment.
        """
        answer = self._ask("GET", "/")
        if not isinstance(answer, dict) or "sandbox" not in answer:
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {REMEDY}")
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
        code = {"text": text} if png is None else {"png": in_base64(png)}
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

    # Groups

    def groups(self) -> list[Json]:
        """Return the groups.

        Keys: group (the address), subject, members (number to role), settings (those that are on).
        """
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
        value: str | bool | int | None = None,
    ) -> Json:
        """Rename a group, add, remove, promote or demote members, change a setting; return the changed group.

        Args:
            phone: Who changes the group. To leave a group, a member removes itself.
            group: The group's address.
            change: What to do.
            subject: The new name, with ``subject``.
            members: The numbers of the members to change, with changes of members.
            value: True or False for ``announcement`` (only admins write) and ``locked`` (only admins change
                what the group is called), seconds for ``ephemeral`` (0: messages stay), the text of
                ``description``, the link's code to ``join``. ``invite`` makes a new link, ``delete`` deletes
                the group; both take nothing.
        """
        body: Json = {"phone": phone, "group": group, "change": change, "subject": subject, "value": value}
        if members is not None:
            body["members"] = list(members)
        return self._object("POST", "/groups/change", body)

    # Faults

    def fault(
        self,
        kind: str,
        target: str = "all",
        times: int | None = None,
        seconds: float | None = None,
        *,
        endless: bool = False,
        **params: object,
    ) -> Json:
        """Make something go wrong: now, or for the next clients that match.

        Args:
            kind: One of `orchestrator.sandbox.server.faults.KINDS`.
            target: ``all``, ``pairing``, ``+NUMBER``, ``+NUMBER:DEVICE``, ``connection:N`` or ``proxy:USER``.
            times: How many connections the fault strikes; by default one, or no limit if the fault lasts or
                has seconds.
            seconds: For how long the fault waits or lasts; by default until it is used up or cleared.
            endless: The fault strikes until it is cleared; instead of times.
            **params: The parameters of the kind.

        Returns:
            The fault: id, kind, target, its parameters, times, seconds_left, struck.
        """
        given = {"times": times, "seconds": seconds, **params}
        body: Json = {key: value for key, value in given.items() if value is not None}
        # An explicit null of times is no limit.
        return self._object(
            "POST",
            "/faults",
            {**body, "kind": kind, "target": target, **({"times": None} if endless else {})},
        )

    def refuse_sends(
        self,
        account: str = "all",
        to: str | None = None,
        *,
        code: int = 463,
        ends: int | None = None,
        times: int | None = 1,
    ) -> Json:
        """Let WhatsApp refuse messages of an account; return the fault.

        Each refusal is an event ``send-refused``, with phone, id, to and code.

        Args:
            account: The account's number, or another target of `fault`.
            to: Only messages to this number or group; ``new``: to people who have never written to it.
            code: 463 for an account or a receiver that is restricted, 475 for too many new chats, 429 for too
                many messages, or another one.
            ends: With 463: the account's devices are told that the restriction ends in so many seconds.
            times: How many messages are refused; None: until the fault is cleared.
        """
        limit: Json = {"times": times, "endless": times is None}
        return self.fault("send-error", account, **limit, to=to, code=code, ends=ends)

    def lose_acks(
        self,
        account: str = "all",
        to: str | None = None,
        *,
        delivered: bool = True,
        cut: bool = False,
        times: int | None = 1,
    ) -> Json:
        """Let WhatsApp acknowledge messages of an account never; return the fault.

        Each lost acknowledgment is an event ``ack-lost``, with phone, id, to and delivered.

        Args:
            account: The account's number, or another target of `fault`.
            to: Only messages to this number or group; ``new``: to people who have never written to it.
            delivered: Whether the message reaches its receivers nevertheless.
            cut: Whether the connection is reset, too; the library sends the message again once it is back.
            times: How many messages; None: until the fault is cleared.
        """
        limit: Json = {"times": times, "endless": times is None}
        return self.fault("lost-ack", account, **limit, to=to, delivered=delivered, cut=cut)

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
        address=about["address"],
    )
    return {**environment, CONTROL_VARIABLE: f"http://127.0.0.1:{about['control_port']}"}


def _same(found: object, wanted: object) -> bool:
    """Compare two facts. People write phone numbers with a plus, events have no plus."""
    if isinstance(found, str) and isinstance(wanted, str):
        return found.removeprefix("+") == wanted.removeprefix("+")
    return found == wanted


def _not_come(wanted: Mapping[str, object], timeout: float, since: int, recent: Iterable[Json]) -> str:
    facts = ", ".join(f"{key} {value!r}" for key, value in wanted.items())
    lines = [json.dumps(event) for event in recent] or ["(none)"]
    return "\n".join([f"no {facts} within {timeout:g} s; the last events after number {since}:", *lines])
