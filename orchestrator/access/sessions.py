"""Who is logged in to the page: what is kept of each browser, and which codes have let somebody in.

A session is that of a token, or of a row of the page in the tokens' file: it may do what that row says at the
moment, and it ends with the row. The gateway writes the file, which is in its own folder; `orchestrator token
list` reads it. A gateway that is started again knows all sessions, and all codes that were used.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from orchestrator.access import token as form
from orchestrator.system.files import read_file, replacing, sync, sync_folder

FILE: Final = "page-sessions.json"
MAX_SIZE: Final = 16 << 20
"""Bytes of the file. A session has about 200."""
MOST_OF_ONE: Final = 16
"""Sessions of one token. Then the one that was used longest ago ends."""
MOST: Final = 10_000
"""Sessions of all tokens. Then it is the same."""
TOKEN_SECONDS: Final = 12 * 3600.0
"""How long the session of a token lasts."""
NOTE_SECONDS: Final = 60.0
"""How exact the time of the last use is."""
KEEP_CODES: Final = 86_400.0
"""How long after its end a code that was used is remembered, in case the clock is set back."""

_ID: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in.

    Attributes:
        id: Its public part.
        digest: The SHA-256 of its secret in hexadecimal.
        token: The id of the token, or of the row of the page, whose rights it has.
        created: Unix seconds.
        expires: Unix seconds.
        used: When it was used last, in Unix seconds; exact to a minute.
    """

    id: str
    digest: str = field(repr=False)
    token: str
    created: float
    expires: float
    used: float

    def is_over(self, now: float) -> bool:
        """Tell whether it has expired."""
        return now >= self.expires


@dataclass(frozen=True, slots=True)
class Known:
    """What is in the file.

    Attributes:
        sessions: The sessions by their ids.
        codes: Until when each code was good that was used, in Unix seconds, by the id of its row.
        since: The Unix second from which on all codes that were used are known. A file before this one was
            lost then.
    """

    sessions: Mapping[str, Session]
    codes: Mapping[str, float]
    since: float = 0.0


class Begun(NamedTuple):
    """What came of a log-in.

    Attributes:
        session: The new session.
        secret: What its browser keeps.
        ended: The sessions that ended for it.
    """

    session: Session
    secret: str
    ended: tuple[Session, ...]


class Sessions:
    """The sessions, for the gateway.

    Args:
        folder: The gateway's folder.
        now: Unix seconds.

    Attributes:
        are_lost: Whether there is a file that cannot be used. Nobody is logged in then, and no code that was
            made before is good: it may have let somebody in.
    """

    def __init__(self, folder: Path, now: float = 0.0) -> None:
        self._path = folder / FILE
        self.are_lost = False
        try:
            known = _read(folder)
        except FileNotFoundError:
            known = Known({}, {})
        except (OSError, ValueError):
            self.are_lost = True
            known = Known({}, {}, now)
        self._sessions, self._codes, self._since = dict(known.sessions), dict(known.codes), known.since
        self._changed = self.are_lost

    def find(self, presented: str, now: float) -> Session | None:
        """Return whose secret a text is; None if it is nobody's, or the session is over.

        Args:
            presented: What a browser presents.
            now: Unix seconds.
        """
        key, secret = form.split(presented)
        session = self._sessions.get(key)
        digest = session.digest if session is not None else "0" * 64
        is_right = hmac.compare_digest(form.hash_of(secret), digest)
        return session if is_right and session is not None and not session.is_over(now) else None

    def is_open(self, session: str, now: float) -> bool:
        """Tell whether there still is a session.

        Args:
            session: Its id.
            now: Unix seconds.
        """
        found = self._sessions.get(session)
        return found is not None and not found.is_over(now)

    def note_use(self, session: Session, now: float) -> None:
        """Note that a session is used."""
        if session.id in self._sessions and abs(now - session.used) >= NOTE_SECONDS:
            self._sessions[session.id] = replace(session, used=now)
            self._changed = True

    def was_used(self, row: str, created: float = form.LATEST) -> bool:
        """Tell whether the code of a row of the page has let somebody in, or may have.

        Args:
            row: The id of the row.
            created: When it was made, in Unix seconds.
        """
        return row in self._codes or created <= self._since

    def begin(
        self,
        token: str,
        *,
        now: float,
        expires: float | None,
        code_until: float | None,
        random: bytes,
        instead: str | None = None,
    ) -> Begun:
        """Begin a session, and return it with its secret text, which is kept nowhere.

        Args:
            token: The id of its token, or of its row of the page.
            now: Unix seconds.
            expires: When that expires, in Unix seconds; None for never.
            code_until: Of a row of the page: until when its code is good. The code is used up now.
            random: Random bytes, as for a token.
            instead: The id of a session that ends for this one, None for none.
        """
        key, secret = form.key_and_secret(random)
        until = now + TOKEN_SECONDS if code_until is None or expires is None else expires
        until = until if expires is None else min(until, expires)
        session = Session(key, form.hash_of(secret), token, now, until, now)
        if code_until is not None:
            self._codes[token] = code_until
        before = self._sessions.pop(instead or "", None)
        by_use = sorted(self._sessions.values(), key=lambda one: one.used)
        same = [one for one in by_use if one.token == token]
        surplus = same[: max(0, len(same) - MOST_OF_ONE + 1)] or by_use[: max(0, len(by_use) - MOST + 1)]
        for one in surplus:
            del self._sessions[one.id]
        self._sessions[key] = session
        self._changed = True
        ended = (*surplus, *(() if before is None else (before,)))
        return Begun(session, f"{form.PREFIX}{key}_{secret}", ended)

    def end(self, session: str) -> bool:
        """End a session; return whether there was one."""
        gone = self._sessions.pop(session, None) is not None
        self._changed |= gone
        return gone

    def take_back(self, begun: Begun) -> None:
        """Have all be as if nobody had logged in: the code is as good as before, and no session has ended."""
        self._sessions.pop(begun.session.id, None)
        self._sessions |= {one.id: one for one in begun.ended}
        self._codes.pop(begun.session.token, None)
        self._changed = True

    def clear(self, now: float) -> None:
        """Forget what is over."""
        self._since = min(self._since, now)  # the clock was set back
        gone = [one.id for one in self._sessions.values() if one.is_over(now)]
        old = [row for row, until in self._codes.items() if until + KEEP_CODES < now]
        for one in gone:
            del self._sessions[one]
        for row in old:
            del self._codes[row]
        self._changed |= bool(gone or old)

    def unsaved(self) -> bytes | None:
        """Return what the file must have, None if it has that. `save` writes it, maybe in another thread."""
        if not self._changed:
            return None
        self._changed = False
        return encode(Known(self._sessions, self._codes, self._since))

    def save(self, data: bytes) -> None:
        """Write the file, which then outlasts a power failure.

        Raises:
            OSError: The file cannot be written. It is as it was, or as it is to be, but then a power failure
                may undo that.
        """
        try:
            with replacing(self._path) as file:
                file.write(data)
                sync(file)
            sync_folder(self._path.parent)
        except OSError:
            self._changed = True  # it is tried again with the next change
            raise


def read(folder: Path) -> Known:
    """Return what the gateway's file has; nothing, if that cannot be read: everybody logs in again then.

    Args:
        folder: The gateway's folder.
    """
    try:
        return _read(folder)
    except (OSError, ValueError):
        return Known({}, {})


def _read(folder: Path) -> Known:
    return decode(read_file(folder / FILE, MAX_SIZE))


def encode(known: Known) -> bytes:
    """Return sessions and codes as the file has them."""
    rows = [
        {
            "id": one.id,
            "sha256": one.digest,
            "token": one.token,
            "created": one.created,
            "expires": one.expires,
            "used": one.used,
        }
        for one in known.sessions.values()
    ]
    document = {"version": 1, "sessions": rows, "codes": dict(known.codes)}
    return json.dumps(document | ({"since": known.since} if known.since else {})).encode()


def decode(data: bytes) -> Known:
    """Return the sessions and codes of a file.

    Raises:
        ValueError: The file is not one that `encode` has made: nothing in it can be relied on then.
    """
    try:
        document = json.loads(data)
        if document["version"] != 1:
            raise ValueError("of another version")
        rows, codes = document["sessions"], document["codes"]
        if len(rows) > MOST or not all(map(_is_id, codes)):
            raise ValueError("too many, or an id of another form")
        sessions = [_decoded(row) for row in rows]
        times = {row: form.time(at) for row, at in codes.items()}
        found = Known({one.id: one for one in sessions}, times, form.time(document.get("since", 0.0)))
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(type(error).__name__) from None
    if len(found.sessions) < len(sessions):
        raise ValueError("two of the same id")
    return found


def count(known: Known, now: float) -> Mapping[str, tuple[Session, ...]]:
    """Return the sessions that are open of each token, oldest first."""
    found: dict[str, tuple[Session, ...]] = {}
    for one in _by_age(known.sessions.values()):
        if not one.is_over(now):
            found[one.token] = (*found.get(one.token, ()), one)
    return found


def _by_age(sessions: Iterable[Session]) -> list[Session]:
    return sorted(sessions, key=lambda one: (one.created, one.id))


def _decoded(row: Mapping[str, Any]) -> Session:
    if not _is_id(row["id"]) or not _is_id(row["token"]) or not _DIGEST.fullmatch(row["sha256"]):
        raise ValueError("an id or hash of another form")
    times = (form.time(row[key]) for key in ("created", "expires", "used"))
    return Session(row["id"], row["sha256"], row["token"], *times)


def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None
