"""Whether others can see the code of an account that any phone may be linked to."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from orchestrator.config.settings import Settings
from orchestrator.service.doctor.check import Check, Finding, ok, warn
from orchestrator.service.doctor.context import Context

SHOWN = 5
"""How many accounts are named."""


def find(context: Context) -> Iterator[Finding]:
    """Compare the accounts without a number with who can read the codes."""
    settings = context.settings.or_none()
    if settings is None or not settings.accounts:
        return
    free = [name for name, one in settings.accounts.items() if one.enabled and one.phone is None]
    who = readers(settings)
    if not free:
        yield ok("the configuration names the phone of every account")
    elif who is None:
        yield ok("only this user can read the codes")
    else:
        more = f" and {len(free) - SHOWN} more" if len(free) > SHOWN else ""
        yield warn(
            f"{who} can read the codes, and the configuration does not name the phones of these accounts:"
            f" {', '.join(free[:SHOWN])}{more}",
            "name each number as `phone:`: whoever scans the first code of an account links their own phone",
        )


def readers(settings: Settings) -> str | None:
    """Return who else can read the codes, None if nobody can."""
    if settings.qr_group is not None:
        return f"the group {settings.qr_group}"
    try:
        mode = settings.qr_dir.stat().st_mode
    except OSError:
        return None  # the service makes the folder for this user alone
    others = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
    return f"everybody who may enter {settings.qr_dir}" if mode & others else None


CHECK = Check("phones", "phones", "Whether others can scan the code of an account without `phone:`.", find)
