"""Whether the configuration is valid, and keeps its secrets."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from orchestrator.errors import ConfigError, StateError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store.codes.folder import group_id


def find(context: Context) -> Iterator[Finding]:
    """Read the configuration, and look who else can and whether its group exists."""
    try:
        settings = context.settings.get()
    except ConfigError as error:
        yield fail(str(error), "correct the file, or name another one with --config")
        return
    accounts = settings.accounts.values()
    enabled = sum(account.enabled for account in accounts)
    yield ok(f"{settings.config_file}: {len(accounts)} accounts, {enabled} of them enabled")
    secret = any(account.proxy and "@" in account.proxy for account in accounts)
    mode = stat.S_IMODE(settings.config_file.stat().st_mode)
    if secret and mode & 0o007:
        yield warn(
            f"{settings.config_file} has proxy passwords, and every user can access it (mode {mode:04o})",
            f"chmod o= {settings.config_file}",
        )
    if settings.qr_group is not None:
        try:
            group_id(settings.qr_group)
        except StateError:
            yield fail(
                f"there is no group {settings.qr_group}",
                "correct `qr_group:`, or add the group to this system",
            )


CHECK = Check("configuration", "configuration", "Whether the configuration is valid and private.", find)
