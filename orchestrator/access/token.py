"""A token: its form, what is kept of it, and the file's format. Pure.

A token is ``orc_ID_SECRET``. The secret has 32 random bytes, so a plain SHA-256 of it can be kept: nobody can
try that many.

The file has a second sort of row, of the page: its secret is a code of the same form that opens the page
once, within some minutes, and nothing else. Whoever opened the page has the row's rights until it expires.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.access.scopes import Principal, Scope, as_scopes, in_order
from orchestrator.accounts import orderers
from orchestrator.accounts.names import is_name

PREFIX: Final = "orc_"
"""By what people and programs that look for leaked secrets know a token."""
ID_BYTES, SECRET_BYTES = 6, 32
MOST_TOKENS = 1_000
MOST_ACCOUNTS = 10_000
"""Accounts that a token may name."""
LATEST: Final = 2.0**33
"""Unix seconds of the latest time that is read: in the year 2242."""

_TOKEN = re.compile(r"orc_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CODE: Final = "page "
"""What a code is hashed with: not even a program that knows nothing of the page takes a code for a token."""
_NOBODYS = ("0" * 12, "A" * 43)
"""What is compared in place of a text that is no token, so that the work is the same."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token.

    Attributes:
        id: Its public part.
        name: What the operator calls it.
        digest: The SHA-256 of its secret in hexadecimal.
        scopes: What it may be used for.
        accounts: The accounts that its holder may know of, None for all.
        created: Unix seconds.
        expires: Unix seconds, None for never.
        code_until: Of a row of the page: until when its code opens the page, in Unix seconds; else None.
    """

    id: str
    name: str
    digest: str = field(repr=False)
    scopes: frozenset[Scope]
    accounts: frozenset[str] | None
    created: float
    expires: float | None = None
    code_until: float | None = None

    @property
    def is_of_page(self) -> bool:
        """Whether it is a row of the page."""
        return self.code_until is not None

    def is_over(self, now: float) -> bool:
        """Tell whether the token has expired."""
        return self.expires is not None and now >= self.expires

    @property
    def principal(self) -> Principal:
        """The holder as one who asks."""
        who = orderers.token(self.name, of_page=self.is_of_page)
        return Principal("token", self.id, self.scopes, self.accounts, who)


def make(
    name: str,
    scopes: Iterable[Scope],
    accounts: Iterable[str] | None,
    *,
    created: float,
    expires: float | None,
    random: bytes,
) -> tuple[Token, str]:
    """Return a new token, and its text, which is kept nowhere.

    Args:
        name: What the operator calls it.
        scopes: What it may be used for.
        accounts: The accounts that its holder may know of, None for all.
        created: Unix seconds.
        expires: Unix seconds, None for never.
        random: `ID_BYTES` and `SECRET_BYTES` random bytes.
    """
    key, secret = key_and_secret(random)
    only = None if accounts is None else frozenset(accounts)
    token = Token(key, name, hash_of(secret), frozenset(scopes), only, created, expires)
    return token, f"{PREFIX}{key}_{secret}"


def make_of_page(
    scopes: Iterable[Scope],
    accounts: Iterable[str] | None,
    *,
    created: float,
    code_until: float,
    expires: float,
    random: bytes,
) -> tuple[Token, str]:
    """Return a new row of the page, and the code that opens the page, which is kept nowhere.

    Args:
        scopes: What whoever opens the page may do there.
        accounts: The accounts that they may know of, None for all.
        created: Unix seconds.
        code_until: Until when the code opens the page, in Unix seconds.
        expires: Until when they may do that, in Unix seconds.
        random: `ID_BYTES` and `SECRET_BYTES` random bytes.
    """
    key, secret = key_and_secret(random)
    only = None if accounts is None else frozenset(accounts)
    digest = hash_of(_CODE + secret)
    token = Token(key, f"page-{key[:8]}", digest, frozenset(scopes), only, created, expires, code_until)
    return token, f"{PREFIX}{key}_{secret}"


def key_and_secret(random: bytes) -> tuple[str, str]:
    """Return an id and a secret of `ID_BYTES` and `SECRET_BYTES` random bytes."""
    assert len(random) == ID_BYTES + SECRET_BYTES
    return random[:ID_BYTES].hex(), base64.urlsafe_b64encode(random[ID_BYTES:]).decode().rstrip("=")


def split(presented: str) -> tuple[str, str]:
    """Return the id and the secret of a text; those of nobody's token if the text is no token."""
    match = _TOKEN.fullmatch(presented) if len(presented) < 100 else None
    return (match[1], match[2]) if match else _NOBODYS


def is_secret_of(token: Token | None, secret: str) -> bool:
    """Tell whether a secret is a token's. The work does not depend on whether there is one.

    No secret is that of a row of the page: its code is no token.
    """
    is_right = hmac.compare_digest(hash_of(secret), token.digest if token is not None else "0" * 64)
    return is_right and token is not None and not token.is_of_page


def is_code_of(token: Token | None, code: str) -> bool:
    """Tell whether a secret is the code of a row of the page. The work is as that of `is_secret_of`."""
    is_right = hmac.compare_digest(hash_of(_CODE + code), token.digest if token is not None else "0" * 64)
    return is_right and token is not None and token.is_of_page


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


# The file


def encode(tokens: Iterable[Token]) -> bytes:
    """Return tokens as the file has them."""
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "sha256": one.digest,
            "scopes": in_order(one.scopes),
            "accounts": None if one.accounts is None else sorted(one.accounts),
            "created": one.created,
            "expires": one.expires,
            **({} if one.code_until is None else {"code_until": one.code_until}),
        }
        for one in tokens
    ]
    return json.dumps({"version": 1, "tokens": rows}, indent=1).encode()


def decode(data: bytes) -> tuple[Token, ...]:
    """Return the tokens of a file.

    Raises:
        ValueError: The file is not one that `encode` has made: nothing in it can be relied on then.
    """
    try:
        document = json.loads(data)
        if document["version"] != 1 or len(document["tokens"]) > MOST_TOKENS:
            raise ValueError("of another version, or too many")
        tokens = tuple(map(_decoded, document["tokens"]))
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(type(error).__name__) from None
    if len({one.id for one in tokens}) < len(tokens) or len({one.name for one in tokens}) < len(tokens):
        raise ValueError("two of the same id or name")
    return tokens


def _decoded(row: dict[str, Any]) -> Token:
    accounts = row["accounts"]
    if not _ID.fullmatch(row["id"]) or not is_name(row["name"]) or not _DIGEST.fullmatch(row["sha256"]):
        raise ValueError("an id, name or hash of another form")
    if accounts is not None and (len(accounts) > MOST_ACCOUNTS or not all(map(is_name, accounts))):
        raise ValueError("accounts of another form")
    return Token(
        row["id"],
        row["name"],
        row["sha256"],
        as_scopes(row["scopes"]),
        None if accounts is None else frozenset(accounts),
        time(row["created"]),
        None if row["expires"] is None else time(row["expires"]),
        # Files of older versions have no rows of the page.
        time(row["code_until"]) if "code_until" in row else None,
    )


def time(value: object) -> float:
    """Return a time of a file.

    Raises:
        TypeError: It is no number.
        ValueError: It is none between 1970 and `LATEST`.
    """
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise TypeError("a time of another form")
    if not 0 <= value <= LATEST:
        raise ValueError("a time that is none")
    return float(value)
