"""Adding accounts to the configuration file, renaming them, taking them out: one at a time, all or nothing.

A result is written only if it reads as exactly the old settings with that one account more, less or renamed.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from orchestrator.accounts import phones
from orchestrator.accounts.names import check_name, no_such_account
from orchestrator.config import file, reader, yaml_tree
from orchestrator.config.model import AccountSection, type_of
from orchestrator.config.settings import Settings
from orchestrator.config.tags import check_tags
from orchestrator.config.yaml_edit import AccountsText, CannotEditError, written
from orchestrator.config.yaml_tree import Document
from orchestrator.errors import ConfigError, StateError
from orchestrator.system.files import open_file, replacing, sweep, sync, sync_folder
from orchestrator.system.locking import flock
from orchestrator.system.os_errors import advice

LOCK_SECONDS = 10.0
"""How long to wait for others who edit the file; an edit takes some milliseconds."""

NEW_FILE = """\
# The accounts that this machine keeps connected. `orchestrator config example` explains every key.
# `orchestrator add NAME` and `orchestrator remove NAME` edit this file and leave comments and layout alone;
# after editing it by hand, run `orchestrator reload`.

accounts:
"""
"""What a configuration starts as when the first account is added."""


def add_account(
    path: str | Path,
    name: str,
    *,
    phone: str | None = None,
    proxy: str | None = None,
    proxy_file: str | None = None,
    enabled: bool = True,
    device_name: str | None = None,
    memory_limit: str | None = None,
    tags: Sequence[str] = (),
    note: str | None = None,
    state_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Add an account at the end of the accounts; the file is made if there is none.

    Args:
        path: The configuration file; a symbolic link is followed.
        name: The account's name.
        phone: Its number with + and country code.
        proxy: URL of its proxy.
        proxy_file: Absolute path of a file with the URL of its proxy.
        enabled: Whether it is to run.
        device_name: What the phone is to show under linked devices.
        memory_limit: A size such as ``200M``.
        tags: Its tags; without any, those of the defaults count.
        note: What people want to remember of it.
        state_dir: What ``--state-dir`` says.
        environ: The environment, for the variables in the file.

    Returns:
        What the file says now.

    Raises:
        ConfigError: The file is not valid, the account is there already, a value is not valid, or the file is
            laid out in a way that only a person can edit.
        StateError: The file cannot be written; it is as it was.
    """
    check_name(name)
    values = {
        "phone": phone,
        "proxy": proxy,
        "proxy_file": proxy_file,
        "device_name": device_name,
        "memory_limit": memory_limit,
        "note": note,
    }
    given = {key: value for key, value in values.items() if value is not None}
    wanted = {key: reader.check_value(key, value, environ) for key, value in given.items()}
    if proxy_file is not None:
        wanted["proxy"] = wanted.pop("proxy_file")  # what is in the file
    number = cast("str | None", wanted.get("phone"))
    if number:
        given["phone"] = f"+{number}"  # whatever was between its digits
    entry = {key: written(value, quoted=key == "phone") for key, value in given.items()}
    if tags:
        wanted["tags"] = known = check_tags(tags)
        entry["tags"] = type_of(AccountSection, "tags").write(known)
    if not enabled:
        entry["enabled"] = "false"

    def edit(text: str, document: Document, before: Settings) -> str:
        if name in before.accounts:
            raise ConfigError(f"{path}: there is an account {name} already", key="account_exists")
        others = before.accounts.values()
        other = next(
            (one.name for one in others if number and one.phone and phones.same(one.phone, number)), None
        )
        if other:
            raise ConfigError(f"{path}: phone: that is the number of the account {other}", key="phone_taken")
        return AccountsText(text, document).with_account(name, entry)

    def is_right(before: Settings, after: Settings) -> bool:
        account = after.accounts.get(name)
        others = {other: value for other, value in after.accounts.items() if other != name}
        return (
            account is not None
            and account.phone == number
            and account.enabled == enabled
            and all(getattr(account, key) == value for key, value in wanted.items())
            and same(replace(after, accounts=others), before)
        )

    def read(text: str) -> Settings:
        return reader.parse(text, path, state_dir=state_dir, environ=environ)

    return edit_file(Path(path), edit, is_right, read, create=True)


def remove_account(
    path: str | Path,
    name: str,
    *,
    only_check: bool = False,
    state_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Take an account out, with the comments inside it; those above it stay.

    Args:
        path: The configuration file; a symbolic link is followed.
        name: The account's name.
        only_check: See that the account can be taken out, and leave the file as it is.
        state_dir: What ``--state-dir`` says.
        environ: The environment, for the variables in the file.

    Returns:
        What the file says now, or would say.

    Raises:
        NoSuchAccount: There is no account of that name.
        ConfigError: The file is not valid, or laid out in a way that only a person can edit; or a webhook or
            a bot names the account.
        StateError: The file cannot be written; it is as it was.
    """

    def edit(text: str, document: Document, before: Settings) -> str:
        if name not in before.accounts:
            raise no_such_account(name, known=before.accounts, file=Path(path))
        if users := _users(before, name):
            raise ConfigError(
                f"{path}: {' and '.join(users)} names {name}: take the name out there first",
                key="account_in_use",
            )
        return AccountsText(text, document).without_account(name)

    def is_right(before: Settings, after: Settings) -> bool:
        others = {other: value for other, value in before.accounts.items() if other != name}
        return same(after, replace(before, accounts=others))

    def read(text: str) -> Settings:
        return reader.parse(text, path, state_dir=state_dir, environ=environ)

    return edit_file(Path(path), edit, is_right, read, write=not only_check)


def rename_account(
    path: str | Path,
    name: str,
    new: str,
    *,
    state_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Call an account otherwise, also where webhooks and bots name it; all else stays as it is written.

    Args:
        path: The configuration file; a symbolic link is followed.
        name: The account's name.
        new: Its new name.
        state_dir: What ``--state-dir`` says.
        environ: The environment, for the variables in the file.

    Returns:
        What the file says now.

    Raises:
        NoSuchAccount: There is no account of that name.
        ConfigError: The file is not valid, or laid out in a way that only a person can edit; or there is an
            account of the new name already.
        StateError: The file cannot be written; it is as it was.
    """
    check_name(new)

    def edit(text: str, document: Document, before: Settings) -> str:
        if name not in before.accounts:
            raise no_such_account(name, known=before.accounts, file=Path(path))
        if new in before.accounts:
            raise ConfigError(f"{path}: there is an account {new} already", key="account_exists")
        return AccountsText(text, document).with_renamed(name, new)

    def is_right(before: Settings, after: Settings) -> bool:
        wanted = {
            new if old == name else old: replace(value, name=new) if old == name else value
            for old, value in before.accounts.items()
        }
        webhooks = {key: replace(one, accounts=_with(one.accounts)) for key, one in before.webhooks.items()}
        bots = {key: replace(one, accounts=_with(one.accounts)) for key, one in before.bots.items()}
        return same(after, replace(before, accounts=wanted, webhooks=webhooks, bots=bots))

    def _with(accounts: frozenset[str] | None) -> frozenset[str] | None:
        return accounts and frozenset(new if one == name else one for one in accounts)

    def read(text: str) -> Settings:
        return reader.parse(text, path, state_dir=state_dir, environ=environ)

    return edit_file(Path(path), edit, is_right, read)


def _users(settings: Settings, name: str) -> list[str]:
    """Return the keys of webhooks and bots that name an account."""
    return [
        f"{section}.{key}.accounts"
        for section, consumers in (("webhooks", settings.webhooks), ("bots", settings.bots))
        for key, one in consumers.items()
        if one.accounts is not None and name in one.accounts
    ]


def same(one: Settings, other: Settings) -> bool:
    """Tell whether two configurations say the same, with their accounts in the same order."""
    return one == other and list(one.accounts) == list(other.accounts)


def edit_file(
    path: Path,
    edit: Callable[[str, Document, Settings], str],
    is_right: Callable[[Settings, Settings], bool],
    read: Callable[[str], Settings],
    *,
    create: bool = False,
    write: bool = True,
    invalid: Callable[[ConfigError], Exception] = lambda _: CannotEditError(),
) -> Settings:
    """Edit a configuration file, all or nothing.

    Args:
        path: The file; a symbolic link is followed.
        edit: Returns the new text, from the old one, its tree and what it says.
        is_right: Tells whether the new text says what it should, from what the old and the new one say.
        read: Reads a text.
        create: Make the file if there is none.
        write: Write the file; otherwise only see whether it could be edited.
        invalid: Says what to raise if the new text is not valid.

    Returns:
        What the file says now.

    Raises:
        ConfigError: The file is not valid, or laid out in a way that only a person can edit.
        StateError: The file cannot be written; it is as it was.
    """
    target = Path(os.path.realpath(path))  # a link stays a link: what it leads to is replaced
    if not create or os.path.lexists(target):
        file.read(path)  # says better than the lock could what is wrong with the file
    try:
        if create:
            target.parent.mkdir(0o700, parents=True, exist_ok=True)
        with _locked(target):
            sweep(target.parent, of=target.name)
            seen = target.stat() if target.exists() or not create else None
            data = file.read(path) if seen else NEW_FILE.encode()
            text = file.decode(data, path)
            before = read(text)
            try:
                changed = edit(text, yaml_tree.parse(text), before)
                if changed == text and seen:
                    return before
                after = _read_back(changed, path, read, invalid)
                if not is_right(before, after):
                    raise CannotEditError
            except CannotEditError:
                raise ConfigError(
                    f"{path}: the accounts are written in a way that only a person can edit (aliases, for"
                    " instance): edit the file by hand, then run `orchestrator reload`",
                    key="config_not_editable",
                ) from None
            if not write:
                return after
            mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
            _replace(target, mark + changed.encode(), seen)
    except OSError as error:
        text = advice(error, "write config", folder=target.parent)
        raise StateError(f"{path}: {text}; nothing was changed") from None
    return after


def _read_back(
    text: str, path: Path, read: Callable[[str], Settings], invalid: Callable[[ConfigError], Exception]
) -> Settings:
    if len(text.encode()) > file.MAX_SIZE:
        raise ConfigError(f"{path}: would have more than {file.MAX_SIZE:,} bytes")
    try:
        return read(text)
    except ConfigError as error:  # an account was taken out whose anchor others use, for instance
        raise invalid(error) from None


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock on a configuration file.

    It is a file beside it that stays there: the configuration itself is replaced, and a lock on it with it.
    """
    path = target.with_name(f".{target.name}.lock")
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        with suppress(OSError):
            # After a `sudo orchestrator add`, the owner of the configuration needs to get at the lock, too.
            owner = (target if target.exists() else target.parent).stat()
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        try:
            flock(descriptor, patience=LOCK_SECONDS)
        except BlockingIOError:
            raise StateError(
                f"{target}: somebody else has been editing it for {LOCK_SECONDS:g} s"
                f" (`fuser {path}` tells who): try again later"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _replace(target: Path, data: bytes, seen: os.stat_result | None) -> None:
    """Put a new file in the place of the old one, at once and with its mode, owner and attributes."""
    with replacing(target) as file:
        if seen:
            _copy_attributes(target, file.fileno(), seen)
        else:
            _let_group_in(target.parent, file.fileno())
        file.write(data)
        sync(file)
        now = target.stat() if seen else None
        if seen and now and (now.st_ino, now.st_mtime_ns) != (seen.st_ino, seen.st_mtime_ns):
            raise StateError(
                f"{target}: somebody changed it meanwhile; it was left as it is now, try again",
                key="config_changed",
            )
    with suppress(OSError):  # it is in place already; only a power cut right now could undo it
        sync_folder(target.parent)


def _let_group_in(folder: Path, descriptor: int) -> None:
    """Let a folder's group read a new file in it, if the folder is meant for that.

    It is if it gives its files to the group, as the folder in /etc of a service that systemd runs does: a
    `sudo orchestrator add` must not make a configuration which that service cannot read.
    """
    wanted = stat.S_ISGID | stat.S_IRGRP | stat.S_IXGRP
    if folder.stat().st_mode & wanted == wanted:
        os.fchmod(descriptor, 0o640)


def _copy_attributes(target: Path, descriptor: int, seen: os.stat_result) -> None:
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (seen.st_uid, seen.st_gid):
        try:
            os.fchown(descriptor, seen.st_uid, seen.st_gid)
        except PermissionError:
            raise StateError(
                f"{target}: if this user changed it, it would no longer belong to user {seen.st_uid} and"
                f" group {seen.st_gid}: start as that user, or with sudo"
            ) from None
    os.fchmod(descriptor, stat.S_IMODE(seen.st_mode))
    with suppress(OSError):  # access lists, where the file system has them
        for name in os.listxattr(target):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(target, name))
