"""Whether codes can be written, and read by those who are to read them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.service.doctor.check import Check, Finding, fail, ok
from orchestrator.service.doctor.context import Context
from orchestrator.store.codes.folder import group_id
from orchestrator.store.layout import is_of_service
from orchestrator.system import trust
from orchestrator.system.files import first_closed


def find(context: Context) -> Iterator[Finding]:
    """Look at the folder of the QR codes. The service makes the folder if it is missing."""
    paths, settings = context.paths.or_none(), context.settings.or_none()
    if paths is None:
        return
    folder = paths.qr if settings is None else settings.qr_dir
    if not paths.root.exists() and folder.is_relative_to(paths.root):
        return  # the check of the state folder says so
    owner = paths.root.stat().st_uid if paths.root.exists() else os.geteuid()
    closed = None if settings is None else closed_to_group(settings)
    if is_of_service(folder, paths.root):
        yield fail(
            f"{folder} is one of the service's own folders", "choose a folder for the codes alone with qr_dir"
        )
    elif (weak := trust.weak_for_us(trust.read_way(folder), owner)) is not None:
        yield fail(
            f"{weak.text}, so others could put codes of their own there, and the service shows none",
            f"{weak.advice(owner)}, or choose another folder with qr_dir",
        )
    elif folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        yield fail(
            f"this user cannot write into {folder}", "give the folder to this user, or change `qr_dir:`"
        )
    elif closed is not None:
        yield closed
    elif not folder.exists():
        yield ok(f"the service makes {folder} when it starts")
    else:
        yield ok(str(folder))


def closed_to_group(settings: Settings) -> Finding | None:
    """Find a folder on the way to the codes that their group cannot enter."""
    if settings.qr_group is None:
        return None
    try:
        closed = first_closed(settings.qr_dir, -1, (group_id(settings.qr_group),))
    except StateError:
        return None  # the check of the configuration says so
    except PermissionError:
        raise
    except OSError:
        return None  # the service makes the folder, and lets the group in
    if closed is None:
        return None
    place, mode = closed
    return fail(
        f"the group {settings.qr_group} cannot enter {place} (mode {mode:04o})",
        f"chgrp {settings.qr_group} {place}; chmod g+{'rx' if place == settings.qr_dir else 'x'} {place}",
    )


CHECK = Check(
    "qr_folder", "QR folder", "Whether the service alone can write codes, and their group read them.", find
)
