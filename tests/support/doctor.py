"""What doctor's checks look at, in a folder of the test's."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from orchestrator.config.settings import Settings
from orchestrator.control.client import Client
from orchestrator.service.doctor.context import Context
from orchestrator.store.layout import StatePaths


def context_of(
    folder: Path,
    settings: Settings | None = None,
    *,
    settings_error: Exception | None = None,
    state_error: Exception | None = None,
) -> Context:
    """Return what a check looks at: by default an empty configuration and a state folder."""
    paths = StatePaths.of(folder / "state", environ={})
    file = folder / "accounts.yaml"
    file.touch()
    found = settings or Settings(file, paths.root, paths.qr)

    def fail(error: Exception) -> NoReturn:
        raise error

    return Context(
        lambda: fail(settings_error) if settings_error else found,
        lambda: fail(state_error) if state_error else paths,
        lambda: Client(paths.control_socket),
    )
