"""One module a check. A new check is a new module, and its place in `CHECKS`."""

from __future__ import annotations

from orchestrator.service.doctor.check import Check
from orchestrator.service.doctor.checks import (
    clock,
    configuration,
    disk_space,
    isolation,
    library,
    local_users,
    machine,
    phones,
    python,
    qr_folder,
    service,
    sessions,
    starting,
    state_folder,
    versions,
    whatsapp,
)

CHECKS: tuple[Check, ...] = (
    versions.CHECK,
    python.CHECK,
    library.CHECK,
    configuration.CHECK,
    state_folder.CHECK,
    qr_folder.CHECK,
    local_users.CHECK,
    phones.CHECK,
    sessions.CHECK,
    service.CHECK,
    starting.CHECK,
    disk_space.CHECK,
    clock.CHECK,
    machine.CHECK,
    isolation.CHECK,
    whatsapp.CHECK,
)
"""All checks, in the order in which they run."""
