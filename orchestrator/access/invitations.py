"""Invites somebody to the page: a row in the tokens' file, and the code that opens the page once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator.access import sessions, tokens
from orchestrator.access import token as form
from orchestrator.access.scopes import Scope
from orchestrator.access.token import Token

CODE_SECONDS: Final = 300.0
"""How long a code is good."""
FRAGMENT: Final = "orc-code="
"""What stands before the code in the address of the page, after ``#``: what comes there is in no log, and no
program that looks at links beforehand sends it."""
PAGE_SCOPES: Final[tuple[Scope, ...]] = ("read", "send", "operate")
"""What the page can be opened for."""


def invite(
    folder: Path,
    gateway: Path,
    scopes: Iterable[Scope] = PAGE_SCOPES,
    accounts: Iterable[str] | None = None,
    *,
    now: float,
    seconds: float,
) -> tuple[Token, str]:
    """Make a row of the page, and return it with the code that opens the page once.

    Rows that nobody needs any more are removed by the way.

    Args:
        folder: The folder of the tokens' file, which exists.
        gateway: The gateway's folder, which says who is logged in.
        scopes: What whoever opens the page may do there.
        accounts: The accounts that they may know of, None for all.
        now: Unix seconds.
        seconds: For how long they may do that.

    Raises:
        OrchestratorError: There are too many tokens.
        StateError: The tokens' file cannot be read or written.
    """
    logged_in = sessions.count(sessions.read(gateway), now)
    random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
    row, code = form.make_of_page(
        scopes, accounts, created=now, code_until=now + CODE_SECONDS, expires=now + seconds, random=random
    )
    tokens.add(folder, row, lambda one: is_needless(one, now, is_in=one.id in logged_in))
    return row, code


def is_needless(row: Token, now: float, *, is_in: bool) -> bool:
    """Tell whether nobody needs a row of the page any more: it has expired, or its code has let nobody in.

    Args:
        row: The row, or a token.
        now: Unix seconds.
        is_in: Whether somebody is logged in by it.
    """
    if row.code_until is None:
        return False
    return row.is_over(now) or (not is_in and now >= row.code_until)


def url(base: str, code: str) -> str:
    """Return the address that opens the page.

    Args:
        base: The address of the gateway, without a slash at its end.
        code: The code.
    """
    return f"{base}/#{FRAGMENT}{code}"
