"""Who may come in: checks tokens and codes, counts wrong ones, and knows the browsers that are logged in."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.access import token as form
from orchestrator.access.scopes import Principal
from orchestrator.access.sessions import Session, Sessions
from orchestrator.access.token import Token
from orchestrator.errors import StateError
from orchestrator.gateway.http.attempts import Attempts
from orchestrator.gateway.http.head import RefusedError
from orchestrator.gateway.http.needs import Tokens
from orchestrator.gateway.page.origins import Place
from orchestrator.system.os_errors import trouble

log = logging.getLogger(__name__)

LONGEST: Final = 256
"""Characters of a token, of a code, or of a cookie."""
KEEP_SECONDS: Final = 60.0
"""How often it is written down when sessions were used last, and what is over is forgotten."""
_ID: Final = re.compile(r"orc_([A-Za-z0-9]{1,64})_")
_MOST_COOKIES: Final = 4
"""Cookies of one name that are looked at: a browser has one, unless another host of the same domain has set
one that is sent here, too."""


class LogIn:
    """Lets browsers in, and knows who is in.

    Args:
        tokens: Who may ask for what.
        sessions: Who is logged in.
        wall: Returns Unix seconds.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        tokens: Tokens,
        sessions: Sessions,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._wall = wall
        self._clock = clock
        self._attempts = Attempts()
        self._saving = asyncio.Lock()
        if sessions.are_lost:
            log.warning(
                "the page's sessions cannot be read: everybody has to log in again, and no link that was made"
                " until now is good"
            )

    def check(self, token: str) -> Principal | None:
        """Return whose token a text is, None if it is nobody's."""
        return self._tokens.check(_short(token), self._wall())

    def count_wrong(self, peer: str, presented: str) -> int | None:
        """Count a wrong token or code.

        Args:
            peer: Where it came from.
            presented: What was presented.

        Returns:
            After how many seconds another try makes sense, if there were too many; else None.
        """
        pretended = _ID.match(presented)
        return self._attempts.wrong(peer, pretended[1] if pretended else None, self._clock())

    def find(self, cookies: Sequence[str], place: Place) -> tuple[Principal, Session] | None:
        """Return who is logged in in a browser, None for nobody.

        Args:
            cookies: The values of ``Cookie``.
            place: Where the browser finds the gateway.
        """
        now = self._wall()
        for value in cookies_of(place.cookie, cookies)[:_MOST_COOKIES]:
            session = self._sessions.find(_short(value), now)
            principal = None if session is None else self._tokens.principal(session.token, now)
            if session is not None and principal is not None:
                self._sessions.note_use(session, now)
                return principal, session
        return None

    def is_open(self, session: Session) -> bool:
        """Tell whether somebody is still logged in."""
        return self._sessions.is_open(session.id, self._wall())

    async def begin(self, *, code: str | None, token: str | None, has: Session | None) -> tuple[Session, str]:
        """Log somebody in, and return the session and what the browser keeps: it is kept nowhere else.

        Args:
            code: A code of the page, or None.
            token: A token, or None.
            has: The session that the browser has: the new one takes its place.

        Raises:
            RefusedError: The code or the token lets nobody in.
            StateError: The sessions cannot be written. Nobody is in, the code is as good as before, and no
                other session has ended.
        """
        now = self._wall()
        row = self._row(code, token, now)
        if row is None:
            raise RefusedError(401, "login_failed")
        if not row.principal.may("read"):
            raise RefusedError(403, "scope_missing")
        # From here to the end of `Sessions.begin` nothing waits, so two browsers cannot use one code.
        random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
        begun = self._sessions.begin(
            row.id,
            now=now,
            expires=row.expires,
            code_until=row.code_until,
            random=random,
            instead=None if has is None else has.id,
        )
        try:
            await self._save()
        except StateError:
            self._sessions.take_back(begun)
            raise
        return begun.session, begun.secret

    def _row(self, code: str | None, token: str | None, now: float) -> Token | None:
        if code is not None:
            row = self._tokens.check_code(_short(code), now)
            return None if row is None or self._sessions.was_used(row.id, row.created) else row
        principal = self.check(token or "")
        return None if principal is None else self._tokens.find(principal.id, now)

    def is_hers(self, code: str, session: Session) -> bool:
        """Tell whether a code is the one by which a session began: its browser presents it again."""
        row = self._tokens.check_code(_short(code), self._wall())
        return row is not None and row.id == session.token

    async def end(self, session: Session) -> None:
        """Log somebody out.

        Raises:
            StateError: The sessions cannot be written. The session has ended, but would be there again after
                a restart.
        """
        self._sessions.end(session.id)
        await self._save()

    async def keep(self) -> None:
        """Write down who was there, and forget what is over, again and again, and at the end."""
        told = ""
        try:
            while True:
                await asyncio.sleep(KEEP_SECONDS)
                self._sessions.clear(self._wall())
                try:
                    await self._save()
                    told = ""
                except StateError as error:
                    if str(error) != told:
                        told = str(error)
                        log.warning("%s", error)
        finally:
            data = self._sessions.unsaved()
            if data is not None:
                self._write(data)

    async def _save(self) -> None:
        """Write the sessions down, if they have changed.

        Raises:
            StateError: They cannot be written.
        """
        async with self._saving:  # one after the other: the last one has what is so at the end
            data = self._sessions.unsaved()
            if data is not None:
                await asyncio.to_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        try:
            self._sessions.save(data)
        except OSError as error:
            raise StateError(f"the page's sessions cannot be written: {trouble(error)}") from None


def cookies_of(name: str, headers: Sequence[str]) -> list[str]:
    """Return the values of cookies of a name, in order.

    Args:
        name: The name.
        headers: The values of ``Cookie``.
    """
    pairs = (one.strip().partition("=") for header in headers for one in header.split(";"))
    return [value for key, _, value in pairs if key == name]


def cookie(place: Place, secret: str, seconds: float) -> str:
    """Return the ``Set-Cookie`` of a session.

    Args:
        place: Where the browser finds the gateway.
        secret: What the browser keeps; empty to forget it.
        seconds: For how long.
    """
    secure = "; Secure" if place.is_tls else ""
    age = max(0, int(seconds))
    return f"{place.cookie}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def _short(presented: str) -> str:
    """Return what is presented, or nothing if it is longer than anything that lets somebody in."""
    return presented if len(presented) <= LONGEST and presented.isascii() else ""
