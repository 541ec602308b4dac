"""What the configuration says, checked and complete, as the rest of the service uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.accounts.settings import AccountSettings, Confine


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration; paths are absolute.

    Attributes:
        config_file: Where it was read from.
        state_dir: The state folder.
        qr_dir: The watched folder of QR codes.
        qr_group: Name of the group that may read the codes, or None.
        quarantine_days: Days for which quarantined sessions are kept.
        start_parallel: How many accounts may be starting or connecting at once.
        start_spread: Seconds, the most that a start is put off at random.
        confine: Whether the accounts' processes are isolated; see `system.confinement`.
        accounts: The accounts by name, in the file's order.
        digest: By what the file's text is known; see `config.file.digest`.
    """

    config_file: Path
    state_dir: Path
    qr_dir: Path
    qr_group: str | None = None
    quarantine_days: float = 7
    start_parallel: int = 2
    start_spread: float = 1.0
    confine: Confine = "auto"
    accounts: Mapping[str, AccountSettings] = field(default_factory=dict)
    digest: str = field(default="", compare=False, repr=False)
