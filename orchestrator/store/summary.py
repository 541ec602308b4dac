"""What commands show of the configuration while no service runs, so that they need not read all of it.

Reading and checking a configuration takes longer than everything else that such a command does. The service
writes down what it has read, with a digest of the file's text. The summary counts only for a file with the
very same text. It holds no secrets: phone numbers are masked, and proxies have no passwords.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.store import plain
from orchestrator.system.files import read_file, replacing
from orchestrator.system.masking import mask_number

if TYPE_CHECKING:  # commands read a summary in order to do without
    from orchestrator.accounts.settings import AccountSettings

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the file; 1,000 accounts need about 60,000."""
_VERSION = 3


class Summary(NamedTuple):
    """One account.

    Attributes:
        name: Its name.
        enabled: Whether it is to run; of one with `disabled_until`, whether it was when this was written.
        phone: Its configured number, masked; None if none is configured.
        tags: Its tags.
        proxy: Its proxy without user and password, None without one.
        note: What people want to remember of it, None if nothing.
        disabled_until: Unix time before which it does not run, None for none.
    """

    name: str
    enabled: bool
    phone: str | None
    tags: tuple[str, ...] = ()
    proxy: str | None = None
    note: str | None = None
    disabled_until: float | None = None

    def runs_at(self, now: float) -> bool:
        """Tell whether the account is to run at a Unix time, as `AccountSettings.at` does."""
        return self.enabled if self.disabled_until is None else self.disabled_until <= now


def summarize(settings: AccountSettings, *, reveal: bool = False) -> Summary:
    """Return what is shown of the configuration of an account.

    Args:
        settings: What the configuration says.
        reveal: With the number in full.
    """
    from orchestrator.accounts import proxy

    phone = settings.phone
    if phone is not None:
        phone = f"+{phone}" if reveal else mask_number(phone)
    shown = proxy.shown(settings.proxy)
    return Summary(
        settings.name, settings.enabled, phone, settings.tags, shown, settings.note, settings.disabled_until
    )


def save(path: Path, of: str, accounts: Mapping[str, Summary]) -> None:
    """Write the summary.

    Args:
        path: The file.
        of: The digest of the configuration's text; see `orchestrator.config.file.digest`.
        accounts: The accounts, in the configuration's order.

    Raises:
        OSError: The file cannot be written; it stays as it was.
    """
    rows = [list(one) for one in accounts.values()]
    with replacing(path) as file:
        file.write(json.dumps({"version": _VERSION, "digest": of, "accounts": rows}).encode())


def load(path: Path, of: str) -> dict[str, Summary] | None:
    """Return the accounts of a configuration; None if they are known of another text only, or not at all.

    Args:
        path: The summary's file.
        of: The digest of the configuration's text.
    """
    try:
        document = json.loads(read_file(path, MAX_SIZE))
        if document["version"] != _VERSION or document["digest"] != of:
            return None
        found = [
            Summary(
                str(name),
                enabled is True,
                phone if isinstance(phone, str) else None,
                tuple(tag for tag in tags if isinstance(tag, str)),
                proxy if isinstance(proxy, str) else None,
                note if isinstance(note, str) else None,
                plain.unix_time(until),
            )
            for name, enabled, phone, tags, proxy, note, until in document["accounts"]
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # it only saves time
    return {one.name: one for one in found}
