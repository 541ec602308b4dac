"""What each of the library's last signs means: the kind of end, its number, and a sentence for people. Pure.

The kinds are those of `failure`; which signs there are was measured with neonize 0.5.2.
"""

from __future__ import annotations

import re
from dataclasses import replace

from orchestrator.accounts import characters, durations, phones
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.system.masking import mask_number
from orchestrator.system.os_errors import DISK_BROKEN, DISK_FULL, NO_MEMORY, TOO_MANY_FILES
from orchestrator.system.redaction import redact

REASONS = {
    "GENERIC": 400,
    "LOGGED_OUT": 401,
    "TEMP_BANNED": 402,
    "MAIN_DEVICE_GONE": 403,
    "CLIENT_OUTDATED": 405,
    "UNKNOWN_LOGOUT": 406,
    "BAD_USER_AGENT": 409,
    "INTERNAL_SERVER_ERROR": 500,
    "EXPERIMENTAL": 501,
    "SERVICE_UNAVAILABLE": 503,
}
"""neonize's names of a refused log-in's reasons, and WhatsApp's numbers for them."""
BANS = {
    "SEND_TO_TOO_MANY_PEOPLE": 101,
    "BLOCKED_BY_USERS": 102,
    "CREATED_TOO_MANY_GROUPS": 103,
    "SENT_TOO_MANY_SAME_MESSAGE": 104,
    "BROADCAST_LIST": 106,
}
"""The same for temporary bans."""
PASSING = frozenset({500, 503})
"""Reasons after which the library itself tries again."""

_WHY_LOGGED_OUT = {
    401: "the phone or WhatsApp unlinked this device",
    403: "the phone is logged out, or WhatsApp locked the account",
    406: "WhatsApp gives no reason; the account may be locked",
}
_WHY_BANNED = {
    101: "the account wrote to too many people",
    102: "too many people blocked the account",
    103: "the account made too many groups",
    104: "the account sent the same message too often",
    106: "the account sent too much to a broadcast list",
}
_WHY_REFUSED = {
    401: "this device is not linked",
    403: "the account, or this machine's address, is locked",
    406: "the account may be locked",
    409: "WhatsApp does not accept the client's name",
}

_UNSET = re.compile(r"required field neonize\.(\w+)\.\w+ not set")
_REFUSALS = frozenset({"ConnectFailure", "LoggedOut", "TemporaryBan"})
"""Those of neonize's events by which WhatsApp refuses a log-in. All others can be of anybody's making: a
receipt of a type that neonize has no name for ends connect(), too."""
_SERVER_ERROR = re.compile(r"(?:server returned error|info query returned status) (\d{3})")
_DIALLING = re.compile(
    r"(?:failed to dial whatsapp web websocket: |failed to WebSocket dial: "
    r'|failed to send handshake request: |(?:Get|Post) "[^"]*": )'
)
_PROXY_ANSWER = re.compile(r'(?:Get|Post) "[^"]*": ([^:]+)\Z')
"""What net/http says if a proxy's status is not 200: the words after the number, which the proxy chooses."""
_ABOUT_PASSWORD = re.compile(r"auth(?!ority)|credential|password|log-?in\b", re.IGNORECASE)
_PROXY_DOWN = re.compile(r"proxyconnect tcp: |socks connect tcp \S+->\S+: (?=dial |EOF|read )")
_PASSWORD = "the proxy refused the user or the password: correct them"
_LONGEST = 300
"""Characters of somebody else's text that a sentence quotes."""

_CAUSES: tuple[tuple[Kind, str, str], ...] = (
    (Kind.DAMAGED, "file is not a database", "the session file is not a database"),
    (Kind.DAMAGED, "disk image is malformed", "the session file is damaged"),
    (
        Kind.CONFIG,
        "unable to open database file",
        "the session file cannot be opened: check the folder's owner",
    ),
    (Kind.CONFIG, "readonly database", "the session file cannot be written: check its owner and its mode"),
    (Kind.CONFIG, "database is locked", "another program has locked the session file: end that program"),
    (
        Kind.CONFIG,
        "unsupported database schema version",
        "the session file was made by a newer neonize: install that version",
    ),
    (Kind.CONFIG, "unsupported proxy scheme", "neonize does not support the proxy's URL"),
    (Kind.CONFIG, "net/url: ", "neonize does not support the proxy's URL"),
    (Kind.MACHINE, "disk is full", DISK_FULL),
    (Kind.MACHINE, "no space left on device", DISK_FULL),
    (Kind.MACHINE, "disk I/O error", DISK_BROKEN),
    (Kind.MACHINE, "out of memory", NO_MEMORY),
    (Kind.MACHINE, "too many open files", TOO_MANY_FILES),
    # Only another user or password can mend these. What a proxy refuses by its rules, it may allow tomorrow
    # (a quota, a list of addresses, its own trouble), so that is the network's trouble.
    (Kind.CONFIG, "username/password authentication failed", _PASSWORD),
    (Kind.CONFIG, "invalid username/password", _PASSWORD),
    (Kind.CONFIG, "no acceptable authentication methods", "the proxy requires a user and a password"),
    (
        Kind.NETWORK,
        "connection not allowed by ruleset",
        "the proxy's rules forbid connections to WhatsApp: ask its operator",
    ),
    (
        Kind.NETWORK,
        "unexpected protocol version",
        "the proxy does not answer like a SOCKS5 proxy: check its address",
    ),
    (Kind.NETWORK, "malformed HTTP", "the proxy does not answer like an HTTP proxy: check its address"),
    (
        Kind.NETWORK,
        "certificate",
        "the server's certificate is not WhatsApp's: check this machine's clock, and firewalls in between",
    ),
)
"""What neonize's connect() raises: kind, a part of its text, and our sentence. The first that fits counts."""


def same_number(one: str, other: str) -> bool:
    """Tell whether two numbers are one phone's: WhatsApp's form of some is not what people write."""
    return phones.same(one, other)


def quote(text: str) -> str:
    """Return somebody else's text as a sentence may quote it: one line, short, without numbers and codes."""
    return characters.one_line(redact(text), _LONGEST)


# Of a linked device


def logged_out(reason: int | None, *, paired: bool) -> Outcome:
    """WhatsApp ended the session, or refused a device that has none yet."""
    if not paired:
        return refused(reason)
    kind = Kind.LOCKED if reason in (403, 406) else Kind.LOGGED_OUT
    why = _WHY_LOGGED_OUT.get(reason or 0, "WhatsApp gives no reason")
    return Outcome(kind, f"WhatsApp logged the account out{_number(reason)}: {why}", reason)


def replaced() -> Outcome:
    """Another client uses the same session."""
    return Outcome(Kind.REPLACED, "another program took this session over")


def banned(code: int | None, expire: float | None) -> Outcome:
    """WhatsApp refuses the account for some time."""
    seconds = None if expire is None else max(0.0, expire)
    length = "" if seconds is None else f" for {durations.words(seconds)}"
    why = _WHY_BANNED.get(code or 0)
    reason = f": {why}" if why else ""
    return Outcome(
        Kind.TEMPORARY_BAN, f"WhatsApp banned the account{length}{_number(code)}{reason}", code, seconds
    )


def outdated() -> Outcome:
    """WhatsApp refuses this version of the client."""
    return Outcome(Kind.OUTDATED, "WhatsApp refuses this version of the client (405): update neonize", 405)


def refused(reason: int | None, message: str = "") -> Outcome:
    """WhatsApp refused the log-in for a reason without a kind of its own."""
    if reason == 405:
        return outdated()
    why = quote(message) or _WHY_REFUSED.get(reason or 0, "")
    text = f"WhatsApp refused the log-in{_number(reason) or ' without a known reason code'}"
    return Outcome(Kind.REFUSED, f"{text}: {why}" if why else text, reason)


def refusal(reason: int | None, code: int | None, expire: float | None) -> Outcome:
    """WhatsApp refused a log-in, and the library's log alone says with which numbers."""
    if reason == 402:
        return banned(code, expire)
    if reason in PASSING:
        return Outcome(Kind.NETWORK, f"WhatsApp is unavailable ({reason})", reason)
    return refused(reason)


# Of connect()


def hides_number(error: str) -> bool:
    """Tell whether connect() raised because WhatsApp gave a number that neonize has no name for."""
    match = _UNSET.search(error)
    return match is not None and match[1] in _REFUSALS


_DATABASE = re.compile(
    r"failed to (?:upgrade|open) database: (.*)|failed to get device: (.*)|^(pq: .*)", re.DOTALL
)
"""How the library says that its database failed, and what of that is the driver's."""
_DATABASE_REFUSES = ("28000", "28P01", "42501")
"""By these, the server lets a role not in: its password was changed, or it was shut out."""


def connect_raised(error: str, *, known: bool = True, in_database: bool = False) -> Outcome:
    """The library's connect() raised an error, or something else did that nobody has thought of.

    Args:
        error: The error.
        known: Whether the library raised it.
        in_database: Whether the session is in a database of `store:`, and not in a file.
    """
    if known and in_database and (match := _DATABASE.search(error)):
        return _about_database(next(filter(None, match.groups()), ""))
    if not known:
        return Outcome(Kind.CRASH, f"an unexpected error in the process: {quote(error)}")
    if (match := _UNSET.search(error)) and match[1] not in _REFUSALS:
        # Whoever writes to the account can cause that as often as they like: it must not be given up for it.
        return Outcome(Kind.NETWORK, f"neonize ended the connection: it cannot hand over a {match[1]} event")
    if match:
        what = "a ban" if match[1] == "TemporaryBan" else "a reason"
        return Outcome(Kind.REFUSED, f"WhatsApp refused the log-in with {what} that neonize has no name for")
    for kind, part, text in _CAUSES:
        if part.lower() in error.lower():
            return Outcome(kind, text)
    if (match := _PROXY_ANSWER.search(error)) and _ABOUT_PASSWORD.search(match[1]):
        return Outcome(Kind.CONFIG, _PASSWORD)
    if match := _PROXY_DOWN.search(error):
        return Outcome(Kind.NETWORK, f"the proxy cannot be reached: {cause(error[match.end() :])}")
    return Outcome(Kind.NETWORK, f"WhatsApp cannot be reached: {cause(error)}")


def _about_database(error: str) -> Outcome:
    """The database has refused the library, or was not reached."""
    if match := re.search(r"pq: .*\(([0-9A-Z]{5})\)", error):
        if match[1] in _DATABASE_REFUSES:
            return Outcome(Kind.STORE, f"the database lets the account not in ({match[1]})")
        if match[1][:2] not in ("08", "53", "57"):
            return Outcome(Kind.CONFIG, f"the database refuses what the library asks ({match[1]})")
    return Outcome(Kind.STORE, f"the database that has the session cannot be reached: {cause(error)}")


def by_way(outcome: Outcome, proxy: str | None) -> Outcome:
    """Say in an outcome's text which proxy it speaks of.

    Args:
        outcome: How a run ended.
        proxy: The proxy of that run, as messages may show it, None for none.
    """
    if proxy is None:
        return outcome
    text = re.sub(r"^the proxy\b", lambda _: f"the proxy {proxy}", outcome.text)
    text = re.sub(r"^WhatsApp cannot be reached\b", lambda word: f"{word[0]} through the proxy {proxy}", text)
    return replace(outcome, text=text)


def connect_returned() -> Outcome:
    """The library's connect() returned, which it should not have."""
    return Outcome(Kind.CRASH, "neonize ended the connection without a reason")


def cause(error: str) -> str:
    """Return what a network error says at its core."""
    return quote(_DIALLING.sub("", error)) or "no reason given"


# Of linking


def pairing_expired() -> Outcome:
    """A round of codes is over."""
    return Outcome(Kind.PAIRING_EXPIRED, "no code was used while codes were shown")


def passkey() -> Outcome:
    """WhatsApp wants a passkey."""
    text = "to link this account, WhatsApp asks for a passkey, which neonize does not support"
    return Outcome(Kind.PASSKEY, text)


def linking_failed(error: str) -> Outcome:
    """A phone used the code, and the link did not come about: the next code may do."""
    why = f": {quote(error)}" if error else ""
    return Outcome(Kind.NETWORK, f"a phone used the code, but linking failed{why}; use the next code")


def linking_ended(word: str) -> Outcome:
    """The library gave the linking up, with a word that has no meaning of its own here."""
    return Outcome(Kind.NETWORK, f"linking ended: {quote(word)}")


def codes_lost(error: str) -> Outcome:
    """The connection was lost while a code was shown."""
    return Outcome(Kind.NETWORK, f"the connection was lost while a code was shown: {cause(error)}")


def link_code_failed(error: str) -> Outcome:
    """WhatsApp gave no eight-character code."""
    if match := _SERVER_ERROR.search(error):
        code = int(match[1])
        why = "too many codes were requested" if code == 429 else quote(error)
        return Outcome(Kind.REFUSED, f"WhatsApp gave no pairing code ({code}): {why}", code)
    if "phone number" in error:
        return Outcome(
            Kind.CONFIG, f"WhatsApp gave no pairing code: {quote(error)}: check the account's phone"
        )
    return Outcome(Kind.NETWORK, f"WhatsApp gave no pairing code: {quote(error)}")


def wrong_phone(linked: str, wanted: str, *, unlinked: bool) -> Outcome:
    """The device is linked to another number than it may be.

    Args:
        linked: Digits of that number.
        wanted: Digits of the number that the configuration names, or that the account had before.
        unlinked: Whether WhatsApp has confirmed that the device is unlinked again.
    """
    after = (
        "this device was unlinked again"
        if unlinked
        else "this device could not be unlinked: remove it on that phone"
    )
    text = f"linked to {mask_number(linked)} instead of {mask_number(wanted)}; {after}"
    return Outcome(Kind.WRONG_PHONE, text)


def unlinked() -> Outcome:
    """WhatsApp has unlinked the device, as the parent wanted."""
    return Outcome(Kind.LOGGED_OUT, "WhatsApp has unlinked this device, because the account was removed")


def not_unlinked(why: str) -> Outcome:
    """WhatsApp has not confirmed that the device is unlinked."""
    return Outcome(Kind.STOPPED, why)


def another_number(linked: str, wanted: str, *, remembered: bool = False) -> Outcome:
    """The stored session is of another number than it should be.

    It was right when it was made, so it is the configuration that has changed, perhaps by a slip: the session
    is a good one and stays linked until an operator says otherwise. The same holds for a session that
    somebody has copied to where that of another number was.

    Args:
        linked: Digits of the session's number.
        wanted: Digits of the number that the configuration names, or that the account had before.
        remembered: Whether it is the one that the account had before.
    """
    if remembered:
        return Outcome(
            Kind.CONFIG,
            f"the session is of {mask_number(linked)}, and the account was linked to {mask_number(wanted)}"
            " before: if the new number is right, name it as `phone:` in the configuration; if not, pair anew"
            " with `orchestrator repair`",
        )
    text = (
        f"the session is of {mask_number(linked)}, and `phone:` names {mask_number(wanted)}: "
        "correct that, or pair anew with `orchestrator repair`"
    )
    return Outcome(Kind.CONFIG, text)


# Of deadlines, and the rest


def too_slow(seconds: float, error: str = "") -> Outcome:
    """There was no log-in in time."""
    why = f": {cause(error)}" if error else ""
    return Outcome(Kind.NETWORK, f"no log-in within {durations.words(seconds)}{why}")


def link_lost(seconds: float, why: str, error: str = "") -> Outcome:
    """The link was lost and did not come back in time."""
    last = f"; {cause(error)}" if error else ""
    return Outcome(
        Kind.NETWORK, f"{why}, and the connection did not return within {durations.words(seconds)}{last}"
    )


def disk_full() -> Outcome:
    """There is no room for what the session has to store."""
    return Outcome(Kind.MACHINE, "the disk is full: make room")


def store_lost() -> Outcome:
    """The database is away that has the session.

    What the library still holds could not be kept: WhatsApp sends it again to whoever comes back.
    """
    return Outcome(Kind.STORE, "the database that has the session is away")


def callback_hangs(seconds: float) -> Outcome:
    """One of the library's calls into this process does not return, so it hands over nothing any more."""
    return Outcome(Kind.CRASH, f"a callback of neonize has not returned for {durations.words(seconds)}")


def stopped() -> Outcome:
    """The process was asked to stop."""
    return Outcome(Kind.STOPPED, "stopped")


def _number(value: int | None) -> str:
    return "" if value is None else f" ({value})"
