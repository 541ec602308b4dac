"""The lines a library prints and logs: what they tell, and what of them may be shown. Pure.

All patterns are those of neonize 0.5.2 and the whatsmeow it holds, read off their output; a line that is not
recognised costs precision (a deadline decides, later), never a wrong verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.messages.loss import bare
from orchestrator.system.redaction import redact
from orchestrator.worker import events

HIDDEN = "[hidden]"
"""What stands in the place of a secret."""

_LOGIN = re.compile(r"Login event: ?(\S+)")

_REFUSED = re.compile(r"(?:Unknown|Temporary ban) connect failure: <failure\b([^>]*)")
_REFUSED_BY_NUMBER = re.compile(r"(?:Got (\d{3})[:/]|Client outdated \((\d{3})\)).*\bconnect failure\b")
_DELETED = re.compile(
    r"Got (?:(401|403|406): [^/\n]* connect failure|device removed stream error)"
    r", sending LoggedOut event and deleting session"
)
"""All but the number is whatsmeow's own text: nothing that WhatsApp sends is in it."""
_ATTRIBUTE = re.compile(r'\b(reason|code|expire)="(\d{1,10})"')
_STREAM_ERROR = re.compile(r'Unknown stream error: <stream:error\b[^>]*\bcode="([^"]{1,20})"')
_SOCKET = "Error reading from websocket: "
_GOODBYE = "received close frame"
_REDIAL = "Error reconnecting after autoreconnect sleep: "
_LAST_REDIAL = "Failed to reconnect after 515 code: "
_LINKING = "Failed to pair device: "
_DISK_FULL = ": database or disk is full"
_NO_WRITES = re.compile(
    r"(?:Error decrypting message|Failed to) .*: pq: .*\((?:53[0-9A-Z]{3}|25006)\)", re.DOTALL
)
"""A database that has no room, memory or connection left, or takes no writes: the end is the driver's."""

UNDECRYPTED = b"Error decrypting message "
"""How a record begins of a message that could not be decrypted."""
_STORE_FAILED = re.compile(
    UNDECRYPTED.decode()
    + r".*: (?:(?:read|write|dial) (?:tcp|unix) [^ ]+: (?:(?:read|write|connect): )?[a-z/ ]{1,40}"
    r"|driver: bad connection|sql: database is closed"
    r"|failed to (?:check|load|get|store|save|put|delete|remove) [a-z ]{1,60}"
    r"(?:[0-9A-Za-z_.-]{1,64}:[0-9]{1,5})?: (?:unexpected )?EOF"
    r"|pq: .*\((?:08[0-9A-Z]{3}|25006|28[0-9A-Z]{3}|42501|53[0-9A-Z]{3}|57[0-9A-Z]{3})\))",
    re.DOTALL,
)
"""The database of the session did not answer, or refused to. The end is the driver's: whoever sends a message
may choose its identifier and what cannot be decrypted, and none of that comes last."""

_JID = r"[0-9A-Za-z_-]{1,64}(?:\.[0-9]{1,3})?(?::[0-9]{1,5})?@[a-z.]{1,24}"
_REPEATED = re.compile(
    rf"Ignoring message ([!-~]{{1,128}}) from ({_JID})(?: in ({_JID}))?: failed to decrypt"
    r" (?:prekey|normal|group) message: (?:[a-z ]{1,60}: ){0,3}received message with old counter"
    r"(?: \((?:index|current): [0-9]{1,20}, (?:count|received): [0-9]{1,20}\))?"
)
"""A message that the library had decrypted before. Its sender chooses the identifier, so all of the line
counts: an identifier without a blank cannot hold what looks like the rest of the line."""
_NAMED = re.compile(r"\b((?:Ignoring|Error decrypting|Unavailable) message) .* from ")
"""What comes before an identifier in the log; the sender of a message may have written anything into that."""
_NOT_STORED = "Failed to store message secret key for outgoing message "
_COPIED = re.compile(r"Stored [0-9]{1,9} message secret keys from history sync")

_NOISE = re.compile(r"\s*|\d{6,}|Press Ctrl\+C to exit|Login event: ?\S*|Pair ?Code\b.*|.*[▀-▟].*")
"""Blank lines, a pointer that neonize prints, what `login_line` has told, a code to type in, a code drawn."""


def login_line(line: str) -> events.LoginLine | None:
    """Return the word of the library's only report on linking, if a line of its stdout is one."""
    match = _LOGIN.fullmatch(line.strip())
    return events.LoginLine(match[1]) if match else None


def log_event(logger: str, message: str) -> events.LogEvent | events.StreamError | events.StoreLost | None:
    """Return what a record of the library's log tells that none of its events does.

    Args:
        logger: The record's logger: ``whatsmeow.Client`` or one below it.
        message: Its text.
    """
    if logger == "whatsmeow.Client.Socket" and message.startswith(_SOCKET):
        error = message.removeprefix(_SOCKET)
        return events.SocketLost(_GOODBYE in error, error)
    if logger != "whatsmeow.Client":
        return None
    if message.endswith(_DISK_FULL):
        return events.DiskFull()
    if _NO_WRITES.fullmatch(message):
        return events.StoreLost()
    if message.startswith(_REDIAL):
        return events.RedialFailed(message.removeprefix(_REDIAL))
    if message.startswith(_LAST_REDIAL):
        return events.RedialFailed(message.removeprefix(_LAST_REDIAL), for_good=True)
    if match := _REPEATED.fullmatch(message):
        return events.Repeated(match[1], bare(match[2]), bare(match[3] or match[2]))
    if _COPIED.fullmatch(message):
        return events.HistoryCopied()
    if message.startswith(_LINKING):
        return events.LinkingFailed(message.removeprefix(_LINKING))
    if match := _STREAM_ERROR.match(message):
        return events.StreamError(match[1])
    if match := _REFUSED.match(message):
        found = {key: int(value) for key, value in _ATTRIBUTE.findall(match[1])}
        expire = found.get("expire")
        if "reason" in found:
            seconds = None if expire is None else float(expire)
            return events.RefusalLogged(found["reason"], found.get("code"), seconds)
    if match := _DELETED.fullmatch(message):
        return events.RefusalLogged(int(match[1] or 401), deleted=True)
    if match := _REFUSED_BY_NUMBER.match(message):
        return events.RefusalLogged(int(match[1] or match[2]))
    return None


def secret_is_missing(logger: str, message: str) -> bool:
    """Tell whether a record says that the library sends a message whose secret is not in the session."""
    return logger == "whatsmeow.Client" and message.startswith(_NOT_STORED)


def store_has_failed(message: str) -> bool:
    """Tell whether a record says that a message was not decrypted because of the session's database.

    The library confirms the message to WhatsApp right after this record. It would be lost.
    """
    return _STORE_FAILED.fullmatch(message) is not None


def is_noise(line: str) -> bool:
    """Tell whether a printed line need not, or must not, be shown at all."""
    return _NOISE.fullmatch(line.strip()) is not None


class Scrubber:
    """Takes out of texts what is known to be secret, and all that looks like it.

    Args:
        secrets: Texts that must not be shown wherever they turn up; empty ones do not count.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide one more text from now on; may be called from any thread."""
        if secret and secret not in self._secrets:
            # The longer first, as one may hold another.
            self._secrets = sorted([*self._secrets, secret], key=len, reverse=True)

    def clean(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return redact(_NAMED.sub(rf"\1 {HIDDEN} from ", text))
