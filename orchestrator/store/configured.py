"""What a store wants to know of the configuration, which is above it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Configured(Protocol):
    """The configuration as a store sees it: `orchestrator.config.settings.Settings` has these."""

    @property
    def config_file(self) -> Path:
        """The configuration's file, for messages."""

    @property
    def accounts(self) -> Mapping[str, object]:
        """The accounts by their names."""

    @property
    def qr_dir(self) -> Path:
        """The folder of the QR codes."""
