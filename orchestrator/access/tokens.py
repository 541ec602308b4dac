"""The file of the tokens, for those who check them and for those who change them.

The file is replaced as a whole under a lock, so a reader finds either the old tokens or the new ones. Whoever
checks tokens calls `Tokens.load` again and again: a token that was removed is refused from the next call on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.access import token as form
from orchestrator.access.scopes import Principal
from orchestrator.access.token import Token
from orchestrator.accounts.names import shorten
from orchestrator.errors import OrchestratorError, StateError
from orchestrator.system.files import open_file, replacing, sweep, sync, sync_folder
from orchestrator.system.locking import flock
from orchestrator.system.os_errors import trouble

FILE: Final = "tokens.json"
MAX_SIZE = 32 << 20
"""Bytes of the file. 1,000 tokens have about 300,000, unless they name thousands of accounts."""
LOOK_SECONDS = 0.5
"""How often, at least, whoever checks tokens looks whether the file has changed."""
LOCK_SECONDS = 10.0
"""How long to wait for others who change the file; a change takes some milliseconds."""

_Seen: TypeAlias = tuple[int, int, int, int]
"""By what a file is known to be the same: inode, size, and when content and inode were changed."""


class Tokens:
    """The tokens, for those who check them.

    Args:
        folder: The folder with the file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._seen: _Seen | None = None
        self._tokens: dict[str, Token] = {}

    def load(self) -> None:
        """Read the file if it has changed. Without a file there are no tokens.

        Raises:
            StateError: The file cannot be used. There are no tokens then, until a later call finds better.
        """
        try:
            now = _identity(self._path.lstat())
        except FileNotFoundError:
            self._seen, self._tokens = None, {}
            return
        except OSError as error:
            self._seen, self._tokens = None, {}
            raise _unusable(self._path, f"cannot be read: {trouble(error)}") from None
        if now == self._seen:
            return
        self._seen, self._tokens = None, {}
        tokens, seen = _read(self._path)
        self._seen, self._tokens = seen, {one.id: one for one in tokens}

    def check(self, presented: str, now: float) -> Principal | None:
        """Return whose token a text is; None if it is no token of anybody's, or has expired.

        The time that this takes tells nothing about the tokens: an unknown id costs the same work.

        Args:
            presented: What a client presents.
            now: Unix seconds.
        """
        key, secret = form.split(presented)
        token = self._tokens.get(key)
        if not form.is_secret_of(token, secret) or token is None or token.is_over(now):
            return None
        return token.principal

    def check_code(self, presented: str, now: float) -> Token | None:
        """Return the row of the page whose code a text is; None if it is nobody's, or its time is over.

        Whether the code was used before, this does not know: see `access.sessions`.

        Args:
            presented: What a client presents.
            now: Unix seconds.
        """
        key, code = form.split(presented)
        token = self._tokens.get(key)
        if not form.is_code_of(token, code) or token is None or token.is_over(now):
            return None
        return token if token.code_until is not None and now < token.code_until else None

    def find(self, token_id: str, now: float) -> Token | None:
        """Return what is kept of a token, or of a row of the page; None if it is gone or has expired.

        Args:
            token_id: Its id.
            now: Unix seconds.
        """
        token = self._tokens.get(token_id)
        return None if token is None or token.is_over(now) else token

    def principal(self, token_id: str, now: float) -> Principal | None:
        """Return the holder of a token that was checked before; None if it is gone or has expired.

        Args:
            token_id: The token's id, or that of a row of the page.
            now: Unix seconds.
        """
        token = self.find(token_id, now)
        return None if token is None else token.principal

    def __len__(self) -> int:
        """Return how many tokens there are, with those that have expired."""
        return sum(not one.is_of_page for one in self._tokens.values())


def read(folder: Path) -> tuple[Token, ...]:
    """Return all tokens, in the order in which they were added.

    Raises:
        StateError: The file cannot be used.
    """
    try:
        return _read(folder / FILE)[0]
    except FileNotFoundError:
        return ()


def add(folder: Path, token: Token, is_needless: Callable[[Token], bool] = lambda _: False) -> None:
    """Add a token, or a row of the page.

    Args:
        folder: The folder with the file, which exists.
        token: The token.
        is_needless: Tells of each other one whether it is to be removed by the way.

    Raises:
        OrchestratorError: There is a token of that name, or there are too many.
        StateError: The file cannot be read or written; it is as it was.
    """

    def change(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        tokens = tuple(one for one in tokens if not is_needless(one))
        if any(one.name == token.name for one in tokens):
            raise OrchestratorError(
                f"there is a token {token.name} already: choose another name, or remove that one with"
                f" `orchestrator token remove {token.name}` first",
                key="token_exists",
            )
        if len(tokens) >= form.MOST_TOKENS:
            raise OrchestratorError(
                f"there are {form.MOST_TOKENS:,} tokens, and no more fit: remove those that nobody uses",
                key="too_many_tokens",
            )
        return (*tokens, token)

    _edit(folder, change)


def remove(folder: Path, names: Collection[str]) -> tuple[Token, ...]:
    """Remove tokens: all of them, or none. Return those that were removed.

    Args:
        folder: The folder with the file, which exists.
        names: Their names or ids.

    Raises:
        OrchestratorError: There is no token of a name.
        StateError: The file cannot be read or written; it is as it was.
    """
    removed: list[Token] = []

    def change(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        known = {one.name for one in tokens} | {one.id for one in tokens}
        if unknown := [name for name in names if name not in known]:
            raise OrchestratorError(
                f"there is no token {', '.join(map(shorten, unknown))}; `orchestrator token list` shows all",
                key="no_such_token",
            )
        # A name may look like an id. Then the one of that name is meant.
        called = {one.name for one in tokens}
        gone = {name for name in names if name in called}
        ids = set(names) - gone
        removed[:] = [one for one in tokens if one.name in gone or one.id in ids]
        return tuple(one for one in tokens if one not in removed)

    _edit(folder, change)
    return tuple(removed)


def _edit(folder: Path, change: Callable[[tuple[Token, ...]], tuple[Token, ...]]) -> None:
    path = folder / FILE
    try:
        with _locked(path):
            sweep(folder, of=FILE)
            tokens = change(read(folder))
            with replacing(path) as file:
                _give_to_owner(folder, file.fileno())
                file.write(form.encode(tokens))
                sync(file)
            with suppress(OSError):  # it is in place already; only a power cut right now could undo it
                sync_folder(folder)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {trouble(error)}; nothing was changed") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of those who change the file. It is a file beside it: the file itself is replaced."""
    lock = path.with_name(f".{path.name}.lock")
    descriptor = open_file(lock, os.O_RDWR | os.O_CREAT)
    try:
        _give_to_owner(path.parent, descriptor)
        try:
            flock(descriptor, patience=LOCK_SECONDS)
        except BlockingIOError:
            raise StateError(
                f"{path}: somebody else has been changing it for {LOCK_SECONDS:g} s (`fuser {lock}` tells"
                " who): try again later"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _give_to_owner(folder: Path, descriptor: int) -> None:
    """Give a file to the user of its folder, if root makes it for the service of another user."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _read(path: Path) -> tuple[tuple[Token, ...], _Seen]:
    try:
        with os.fdopen(open_file(path), "rb") as file:
            about = os.fstat(file.fileno())
            data = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(path, f"cannot be read: {trouble(error)}") from None
    if about.st_uid not in (0, os.geteuid(), path.parent.stat().st_uid):
        raise _unusable(path, "belongs to another user: whoever made it could let anybody in")
    if stat.S_IMODE(about.st_mode) & 0o077:
        raise _unusable(path, f"is open to other users: check who is in it, then `chmod 600 {path}`")
    if len(data) > MAX_SIZE:
        raise _unusable(path, f"has more than {MAX_SIZE:,} bytes")
    try:
        return form.decode(data), _identity(about)
    except ValueError:
        raise _unusable(
            path, "is damaged: move it away, and make new tokens with `orchestrator token add`"
        ) from None


def _identity(about: os.stat_result) -> _Seen:
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _unusable(path: Path, why: str) -> StateError:
    return StateError(f"{path}: {why}", key="tokens_unusable")
