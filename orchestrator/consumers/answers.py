"""What the answer of a webhook's receiver means, or that there was none.

Success is 2xx. A redirect is not followed: the URL in the configuration is where events go, and nobody else
says so. 410 disables the webhook. Everything else is tried again: a receiver that answered 401 or 404 for an
hour must not have cost messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from orchestrator.consumers.outcomes import Delivered, Failed, Outcome

GONE: Final = 410
_WAITS: Final = (429, 503)
"""The answers that ``Retry-After`` belongs to."""
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_MOST_DATE: Final = 64
"""Characters of a date, more than any of HTTP's forms has."""


class Trouble(StrEnum):
    """Why there was no answer. The value says it to people."""

    UNRESOLVED = "the name of its host cannot be resolved"
    REFUSED = "cannot connect: the connection was refused"
    UNREACHABLE = "cannot connect"
    SLOW_CONNECT = "cannot connect in time"
    CERTIFICATE = "its certificate is not trusted"
    CERTIFICATE_EXPIRED = "its certificate has expired, or is not valid yet"
    CERTIFICATE_OTHER = "its certificate is for another host"
    TLS = "TLS fails"
    SLOW = "no answer in time"
    CLOSED = "closed the connection without an answer"
    CUT = "closed the connection in the middle of its answer"
    GARBAGE = "its answer is not HTTP"
    UPGRADE = "its answer asks for another protocol"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said.

    Attributes:
        status: HTTP's status code.
        retry_after: What the header of that name says.
        beginning: The first bytes of the body, or the whole of a short one.
    """

    status: int
    retry_after: str | None = None
    beginning: bytes = field(default=b"", repr=False, compare=False)


def judge(answer: Answer | Trouble, now: float) -> Outcome:
    """Say how a try ended.

    Args:
        answer: What came back.
        now: Unix time, which a date in ``Retry-After`` is compared with.
    """
    if isinstance(answer, Trouble):
        return Failed(answer.value)
    status = answer.status
    if 200 <= status < 300:
        return Delivered()
    if 300 <= status < 400:
        return Failed(f"answered {status}: redirects are not followed")
    wish = wait(answer.retry_after, now) if status in _WAITS and answer.retry_after else None
    return Failed(f"answered {status}", retry_after=wish, disable=status == GONE)


def wait(text: str, now: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, None if it has no valid form.

    Args:
        text: Seconds, or a date of HTTP's.
        now: Unix time.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if len(text) > _MOST_DATE:
        return None
    try:
        date = parsedate_to_datetime(text)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, at - now)


def advise(answer: Answer | Trouble) -> str | None:
    """Say what an operator can do, None if all is well."""
    if isinstance(answer, Trouble):
        return _ADVICE_TROUBLE[answer]
    status = answer.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return "put the address that the receiver redirects to into `url:`, if the address is the right one"
    return _ADVICE_STATUS.get(status, _ADVICE_SERVER if status >= 500 else _ADVICE_CLIENT)


_ADVICE_CLIENT: Final = "see in the receiver's log why it refuses the request"
_ADVICE_SERVER: Final = "the receiver has failed: see its log"
_ADVICE_STATUS: Final = {
    400: "the receiver does not take the request: see its log, and compare with docs/webhooks.md",
    401: "the receiver wants a log-in, or does not find the signature right: compare its secret with"
    " `secret_file:`, and its log-in with `headers:`",
    403: "the receiver refuses: compare its secret with `secret_file:`, and its log-in with `headers:`",
    404: "the receiver knows no such path: correct `url:`",
    405: "the receiver takes no POST at this path: correct `url:`",
    GONE: "the receiver wants no events any more: correct `url:`, or remove the webhook",
    413: "the receiver takes no body of this size: raise its limit to 1 MB",
    415: "the receiver does not take application/json: see its log",
    429: "the receiver, or a proxy before it, wants fewer requests: raise its limit, or lower `parallel:`",
    502: "a proxy does not reach the receiver: see whether the receiver runs",
    503: "the receiver, or a proxy before it, is not ready: see whether the receiver runs",
    504: "a proxy gets no answer from the receiver: see the receiver's log",
}
_ADVICE_TROUBLE: Final = {
    Trouble.UNRESOLVED: "correct the host in `url:`, or see whether DNS works on this machine",
    Trouble.REFUSED: "see whether the receiver runs, and listens at the port in `url:`",
    Trouble.UNREACHABLE: "see whether the receiver runs, and whether a firewall or a route is in the way",
    Trouble.SLOW_CONNECT: "see whether the receiver's machine is up, or a firewall drops connections",
    Trouble.CERTIFICATE: "use a certificate of a known authority, or add your authority to the system's"
    " certificates or to the service's $SSL_CERT_FILE, and restart the service",
    Trouble.CERTIFICATE_EXPIRED: "renew the receiver's certificate, or set this machine's clock",
    Trouble.CERTIFICATE_OTHER: "use the host name in `url:` that the certificate is for",
    Trouble.TLS: "see whether the port in `url:` speaks TLS; `http://` is for receivers without it",
    Trouble.SLOW: "have the receiver answer first and work afterwards, or raise `timeout:`",
    Trouble.CLOSED: "see the receiver's log: it has failed, or closed the connection",
    Trouble.CUT: "see the receiver's log: it has failed, or closed the connection",
    Trouble.GARBAGE: "see whether a web server listens at the port in `url:`; `https://` may be needed",
    Trouble.UPGRADE: "see whether `url:` is the address of a receiver of webhooks",
}
