"""The accounts, as those see them who follow them; alone here, so that a check needs no process for them."""

from __future__ import annotations

from typing import Protocol

from orchestrator.config.settings import Settings
from orchestrator.control.view import AccountView


class Accounts(Protocol):
    """The accounts that run here, for those who follow them: see `Supervisor`."""

    @property
    def settings(self) -> Settings:
        """The configuration in use."""

    @property
    def version(self) -> int:
        """Grows with every change of any account."""

    def names(self) -> list[str]:
        """Return the accounts' names."""

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        """Return what others see of an account."""

    def changed_since(self, version: int, *, numbers: bool = False) -> tuple[list[str], list[str]]:
        """Return the names of accounts that have changed after a version, and of those that are gone."""
