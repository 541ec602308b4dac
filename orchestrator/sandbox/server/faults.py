"""Faults on demand: what goes wrong, for which clients, how often and for how long. Pure: takes a clock."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

When = Literal["now", "connect", "identified", "pairing", "sent", "upload"]

HANG_PHASES = ("connect", "tls", "upgrade", "noise", "success")
"""The phases in which a connection can hang, in their order."""


class FaultError(ValueError):
    """An impossible fault. The message names the wrong part and the values that are possible."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a kind: its type, its default (None: optional), and its bounds, choices or form.

    The form of a text is a pair: a regular expression, and words for people.
    """

    type: type
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    form: tuple[str, str] | None = None

    def check(self, name: str, value: object) -> object:
        """Return the value as the kind uses the value.

        Raises:
            FaultError: The value has another type or is out of bounds.
        """
        types = (int, float) if self.type is float else (self.type,)
        if not isinstance(value, types) or (self.type is not bool and isinstance(value, bool)):
            raise FaultError(f"{name} must be {_TYPE_NAMES[self.type]}, not {value!r}")
        if self.choices and value not in self.choices:
            raise FaultError(f"{name} must be one of {', '.join(self.choices)}, not {value!r}")
        if self.form is not None and not re.fullmatch(self.form[0], str(value)):
            raise FaultError(f"{name} must be {self.form[1]}, not {value!r}")
        if isinstance(value, int | float):
            # Written so that NaN, which JSON in Python knows, is out of every bounds.
            if self.low is not None and not value >= self.low:
                raise FaultError(f"{name} must be at least {self.low:g}, not {value!r}")
            if self.high is not None and not value <= self.high:
                raise FaultError(f"{name} must be at most {self.high:g}, not {value!r}")
        return float(value) if self.type is float and isinstance(value, int) else value


NEW = "new"
"""Receivers who have never written to the account, as value of the parameter ``to``."""
RECEIVER = Param(
    str, form=(r"\+[0-9]{1,20}|[0-9]{1,30}@g\.us|new", "+NUMBER, the address of a group, or new")
)
"""Whom a message is for that a fault strikes; by default anybody."""

_TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: when the fault strikes, its parameters, and its effect.

    Attributes:
        when: ``now`` strikes the open connections that match, once. The others wait for the next connection
            that matches: ``connect`` before the client is identified, ``identified`` once the client's number
            is known (or known to be absent), ``pairing`` while the client is being linked, ``sent`` the next
            message of a phone, ``upload`` the next attachment that a client uploads, whoever that is.
        params: The parameters besides target, times and seconds.
        about: One line for people.
        lasting: Whether the fault lasts until it is cleared or over. Other faults are used up.
    """

    when: When
    about: str
    params: Mapping[str, Param] = field(default_factory=dict)
    lasting: bool = False


KINDS: dict[str, Kind] = {
    "logged-out": Kind("now", "the phone unlinks the device while it is online"),
    "replaced": Kind("now", "another client has taken the session over"),
    "stream-error": Kind("now", "a stream error of any code", {"code": Param(int, 516, 100, 999)}),
    "reset": Kind("now", "TCP reset"),
    "close": Kind("now", "the WebSocket is closed in good order"),
    "blackhole": Kind(
        "identified", "takes everything in, answers nothing, open connections included", lasting=True
    ),
    "refuse": Kind(
        "connect",
        "connections are refused; with target all the port itself is closed",
        {"drop": Param(bool, True)},
        lasting=True,
    ),
    "hang": Kind(
        "connect", "goes silent in one phase", {"phase": Param(str, "success", choices=HANG_PHASES)}
    ),
    "http": Kind("connect", "an HTTP status in place of the upgrade", {"status": Param(int, 503, 400, 599)}),
    "slow": Kind(
        "identified",
        "every answer comes late by so many seconds",
        {"delay": Param(float, 2.0, 0, 600)},
        lasting=True,
    ),
    "slow-connect": Kind(
        "connect", "the proxy answers late by so many seconds", {"delay": Param(float, 2.0, 0, 600)}
    ),
    "failure": Kind(
        "identified",
        "log-in is refused with a reason",
        {
            "reason": Param(int, low=400, high=599, required=True),
            "code": Param(int, low=0, high=9999),
            "expire": Param(int, low=0, high=10**9),
            "message": Param(str),
        },
    ),
    "short-qr": Kind(
        "pairing",
        "the round of QR codes ends early: after so many seconds, or with fewer codes",
        {"after": Param(float, None, 0, 160), "codes": Param(int, None, 1, 6)},
    ),
    "tamper": Kind(
        "pairing",
        "what the phone signs is wrong",
        {"part": Param(str, "hmac", choices=("hmac", "signature"))},
    ),
    "passkey": Kind("pairing", "the server demands a passkey, which this client cannot give"),
    "undecryptable": Kind(
        "sent",
        "linked devices cannot decrypt a message",
        {"repair": Param(bool, True)},
    ),
    "send-error": Kind(
        "identified",
        "messages are acknowledged with an error, and nobody gets them",
        {"code": Param(int, 463, 400, 999), "to": RECEIVER, "ends": Param(int, None, 1, 10**8)},
    ),
    "request-error": Kind(
        "identified",
        "requests are answered with an error: all, or those of a namespace, such as usync or w:g2",
        {"code": Param(int, 429, 400, 599), "xmlns": Param(str)},
    ),
    "upload-error": Kind(
        "upload",
        "attachments are not taken, but answered with an HTTP status",
        {"status": Param(int, 507, 400, 599)},
    ),
    "lost-ack": Kind(
        "identified",
        "messages are not acknowledged",
        {"to": RECEIVER, "delivered": Param(bool, True), "cut": Param(bool, False)},
    ),
}


@dataclass(frozen=True, slots=True)
class Who:
    """What is known of a connection when a fault might strike.

    Attributes:
        connection: The number of the connection, counted from 1 since the server has started.
        proxy_user: The user name that the client gave to the proxy, or None.
        identified: Whether the client is identified.
        number: The digits of the client's phone number, or None while the client is not linked.
        device: The client's device number, or None while the client is not linked.
    """

    connection: int
    proxy_user: str | None = None
    identified: bool = False
    number: str | None = None
    device: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The clients that a fault strikes.

    The written form is ``all``, ``pairing`` (clients that are not linked), ``+NUMBER``, ``+NUMBER:DEVICE``,
    ``connection:N`` or ``proxy:USER``.
    """

    kind: Literal["all", "pairing", "number", "device", "connection", "proxy"]
    value: str = ""
    device: int = 0

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the written form.

        Raises:
            FaultError: The text is no target.
        """
        if text in ("all", "pairing"):
            return cls("all" if text == "all" else "pairing")
        if match := re.fullmatch(r"connection:0*([1-9][0-9]{0,17})", text):
            return cls("connection", match[1])
        if match := re.fullmatch(r"proxy:(.+)", text, re.DOTALL):
            return cls("proxy", match[1])
        if match := re.fullmatch(r"\+([0-9]+)(?::([0-9]{1,3}))?", text):
            number, device = match.groups()
            return cls("number", number) if device is None else cls("device", number, int(device))
        raise FaultError(
            f"target {text!r} is none of: all, pairing, +NUMBER, +NUMBER:DEVICE, connection:N, proxy:USER"
        )

    def __str__(self) -> str:
        match self.kind:
            case "all" | "pairing":
                return self.kind
            case "number":
                return f"+{self.value}"
            case "device":
                return f"+{self.value}:{self.device}"
            case _:
                return f"{self.kind}:{self.value}"

    def matches(self, who: Who) -> bool:
        """Tell whether the target includes a connection."""
        match self.kind:
            case "all":
                return True
            case "pairing":
                return who.identified and who.number is None
            case "number":
                return who.number == self.value
            case "device":
                return who.number == self.value and who.device == self.device
            case "connection":
                return str(who.connection) == self.value
            case "proxy":
                return who.proxy_user == self.value


@dataclass(slots=True)
class Fault:
    """One fault in the book.

    Attributes:
        id: The number that clears the fault.
        kind: A key of `KINDS`.
        target: The clients that the fault strikes.
        params: The kind's parameters, complete.
        times: How many more connections the fault strikes, or None for any number.
        until: The monotonic time at which the fault is over, or None if only clearing ends the fault.
        struck: How many connections the fault has struck.
        held: The numbers of the connections that a lasting fault has struck.
    """

    id: int
    kind: str
    target: Target
    params: dict[str, Any]
    times: int | None
    until: float | None
    struck: int = 0
    held: set[int] = field(default_factory=set)

    def public(self, now: float) -> dict[str, Any]:
        """Return the fault as the control interface shows the fault."""
        return {
            "id": self.id,
            "kind": self.kind,
            "target": str(self.target),
            **self.params,
            "times": self.times,
            "seconds_left": None if self.until is None else round(max(0.0, self.until - now), 3),
            "struck": self.struck,
        }


class FaultBook:
    """The faults that wait for connections.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ids = itertools.count(1)
        self._faults: dict[int, Fault] = {}

    def make(self, spec: Mapping[str, Any]) -> Fault:
        """Read a fault from ``{"kind", "target", "times", "seconds", …}`` without adding it to the book.

        The default target is ``all``. By default a fault strikes once. A lasting fault, or a fault with
        ``seconds``, strikes any number of times.

        Raises:
            FaultError: A value is unknown, missing or of the wrong type, or the values contradict each other.
        """
        given = dict(spec)
        name = given.pop("kind", None)
        kind = KINDS.get(name) if isinstance(name, str) else None
        if not isinstance(name, str) or kind is None:
            raise FaultError(f"kind must be one of {', '.join(KINDS)}, not {name!r}")
        target_text = given.pop("target", "all")
        if not isinstance(target_text, str):
            raise FaultError(f"target must be text, not {target_text!r}")
        target = Target.parse(target_text)
        seconds = given.pop("seconds", None)
        default_times = None if kind.lasting or seconds is not None else 1
        times = given.pop("times", default_times)
        if kind.lasting and times is not None:
            raise FaultError(f"{name} holds until it is cleared or for so many seconds: it takes no times")
        if kind.when == "now" and (times != default_times or seconds is not None):
            raise FaultError(f"{name} strikes at once and once: it takes neither times nor seconds")
        if times is not None:
            times = Param(int, low=1, high=10**6).check("times", times)
        if seconds is not None:
            seconds = Param(float, low=0, high=10**7).check("seconds", seconds)
        params: dict[str, Any] = {}
        for key, param in kind.params.items():
            value = given.pop(key, None)
            if value is None:
                if param.required:
                    raise FaultError(f"{name} needs {key}")
                value = param.default
            params[key] = value if value is None else param.check(key, value)
        if given:
            known = ", ".join(["kind", "target", "times", "seconds", *kind.params])
            raise FaultError(f"{name} does not take {', '.join(map(str, given))}; it takes {known}")
        self._check_target(name, kind, target, params)
        until = None if seconds is None else self._clock() + float(seconds)
        return Fault(next(self._ids), name, target, params, times, until)

    @staticmethod
    def _check_target(name: str, kind: Kind, target: Target, params: Mapping[str, Any]) -> None:
        early = kind.when == "connect" and params.get("phase") != "success"
        if early and target.kind not in ("all", "connection", "proxy"):
            raise FaultError(
                f"{name} strikes before the client has said who it is: "
                f"target {target} cannot be known there; use all or proxy:USER"
            )
        if kind.when == "sent" and target.kind not in ("all", "number"):
            raise FaultError(f"{name} strikes messages of phones; use all or +NUMBER, the phone that sends")
        if kind.when == "upload" and target.kind != "all":
            raise FaultError(f"{name} strikes uploads, of which nobody says whose they are; use all")
        if kind.when == "pairing" and target.kind in ("number", "device") and name != "tamper":
            raise FaultError(
                f"{name} strikes clients that have no number yet; use pairing, all or proxy:USER"
            )

    def add(self, fault: Fault) -> None:
        """Add a fault, which waits for connections from now on."""
        self._faults[fault.id] = fault

    def clear(self, fault_id: int | None = None) -> list[Fault]:
        """Remove one fault, or all. Return the removed faults."""
        self._expire()
        if fault_id is None:
            gone, self._faults = list(self._faults.values()), {}
            return gone
        fault = self._faults.pop(fault_id, None)
        return [fault] if fault else []

    def active(self) -> list[Fault]:
        """Return the waiting faults, oldest first."""
        self._expire()
        return list(self._faults.values())

    def find(self, kind: str, who: Who, **params: object) -> Fault | None:
        """Return the oldest fault of a kind whose target includes a connection.

        The fault has these parameters, or leaves them open. A function instead of a value tells what fits.
        """
        self._expire()
        for fault in self._faults.values():
            if (
                fault.kind == kind
                and fault.target.matches(who)
                and all(_fits(fault.params[key], value) for key, value in params.items())
            ):
                return fault
        return None

    def take(self, kind: str, who: Who, **params: object) -> Fault | None:
        """Find a fault and count the strike. A fault that has struck often enough leaves the book."""
        fault = self.find(kind, who, **params)
        if fault is not None:
            fault.struck += 1
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    del self._faults[fault.id]
        return fault

    def hold(self, kind: str, who: Who) -> Fault | None:
        """Find a lasting fault, and count each connection that the fault holds once."""
        fault = self.find(kind, who)
        if fault is not None and who.connection not in fault.held:
            fault.held.add(who.connection)
            fault.struck += 1
        return fault

    def _expire(self) -> None:
        now = self._clock()
        for fault in [f for f in self._faults.values() if f.until is not None and f.until <= now]:
            del self._faults[fault.id]


def _fits(set_value: object, value: object) -> bool:
    if set_value is None:
        return True
    return bool(value(set_value)) if callable(value) else set_value == value
