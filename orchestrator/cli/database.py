"""The database that the configuration names, for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.config.settings import Settings
    from orchestrator.postgres.dsn import Dsn


def dsn_of(settings: Settings) -> Dsn:
    """Return where the database is that the configuration names.

    Raises:
        ConfigError: It names none.
        StoreUnusable: The file cannot be used, or the driver is not installed.
    """
    if settings.store is None:
        raise ConfigError(
            f"{settings.config_file} has no `store:`, so there is no database: docs/postgres.md says how to"
            " begin"
        )
    from orchestrator.postgres import driver, dsn

    driver.need()
    return dsn.read(settings.store)
