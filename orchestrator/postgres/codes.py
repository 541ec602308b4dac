"""The QR codes in the folder of this machine, and as rows that others may mirror.

A row goes when its code does, by the clock of the database. A code never stands in a notification.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator.postgres import rows
from orchestrator.postgres.database import Database
from orchestrator.postgres.pending import Code
from orchestrator.postgres.writing import Writer
from orchestrator.store.codes.draw import until
from orchestrator.store.protocols import Codes

LONGEST: Final = 60.0
"""Seconds that a code of WhatsApp's is shown at the most, for a picture that does not say how long."""


class CodeRows:
    """The folder, and the rows beside it.

    Args:
        folder: The folder.
        database: Where the rows are.
        writer: Writes them.
        shared: Whether other machines show codes of other accounts there.
    """

    def __init__(self, folder: Codes, database: Database, writer: Writer, *, shared: bool = False) -> None:
        self._folder = folder
        self._database = database
        self._writer = writer
        self._shared = shared

    def path(self, name: str) -> Path:
        """See `Codes.path`."""
        return self._folder.path(name)

    def prepare(self, names: Iterable[str]) -> None:
        """See `Codes.prepare`."""
        self._folder.prepare(names)
        if not self._shared:
            self._database.run(rows.drop_codes)

    def show(self, name: str, png: bytes, issued_at: float) -> None:
        """See `Codes.show`; where the folder cannot show it, the service hides it here, too."""
        now = time.time()
        left = min((until(png) or issued_at + LONGEST) - now, LONGEST)
        code = Code(png, time.monotonic() + left)
        self._writer.put(lambda pending: pending.show(name, code))
        self._folder.show(name, png, issued_at)

    def hide(self, name: str) -> None:
        """See `Codes.hide`."""
        self._writer.put(lambda pending: pending.show(name, None))
        self._folder.hide(name)

    def guard(self, name: str) -> bool:
        """See `Codes.guard`."""
        return self._folder.guard(name)
