"""What commands show of the configuration while no service runs, so that they need not read all of it.

Reading and checking a configuration takes longer than everything else that such a command does. The service
writes down what it has read, with a digest of the file's text. The summary counts only for a file with the
very same text. It holds no secrets: phone numbers are masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator.system.files import read_file, replacing

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the file; 1,000 accounts need about 60,000."""
_VERSION = 1


class Summary(NamedTuple):
    """One account.

    Attributes:
        name: Its name.
        enabled: Whether it is to run.
        phone: Its configured number, masked; None if none is configured.
    """

    name: str
    enabled: bool
    phone: str | None


def save(path: Path, of: str, accounts: Mapping[str, Summary]) -> None:
    """Write the summary.

    Args:
        path: The file.
        of: The digest of the configuration's text; see `orchestrator.config.file.digest`.
        accounts: The accounts, in the configuration's order.

    Raises:
        OSError: The file cannot be written; it stays as it was.
    """
    rows = [[one.name, one.enabled, one.phone] for one in accounts.values()]
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
            Summary(str(name), enabled is True, phone if isinstance(phone, str) else None)
            for name, enabled, phone in document["accounts"]
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # it only saves time
    return {one.name: one for one in found}
