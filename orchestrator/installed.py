"""By which command the service of a state folder is started: its systemd unit's, if `install-unit` wrote one.

This is looked up when a command has found no service, and never before. Fast to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.files import read_file

UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Is there where systemd runs; sd_booted(3) looks for it."""
MARK = "# Written by orchestrator install-unit"
"""What the first line of a file that is written begins with."""
RUN = "orchestrator run"
"""What starts a service that has no unit."""
MAX_SIZE = 64 * 1024
"""Bytes of a unit that are read; those that are shipped have five thousand."""

_FILE = re.compile(r"(orchestrator(?:@[a-z0-9][a-z0-9._-]*)?)\.service")
_CONFIG = re.compile(r"^ExecStart=\S+ --config (\S+) run\b", re.MULTILINE)
_STATE = re.compile(r"^StateDirectory=(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installed:
    """A unit that was found.

    Attributes:
        name: What systemctl calls it.
        state: Its state folder.
        config: Its configuration, if that can be told.
    """

    name: str
    state: Path
    config: Path | None


def start_command(state: Path, config: Path | None = None) -> str:
    """Return the command that starts the service of a state folder; it never fails.

    Args:
        state: The folder.
        config: The configuration the service is to have, if that matters.
    """
    unit = find_unit(state, config)
    return RUN if unit is None else f"systemctl start {unit}"


def find_unit(state: Path, config: Path | None = None) -> str | None:
    """Return what systemctl calls the unit of this machine that works on a state folder; None if none does.

    Args:
        state: The folder.
        config: The configuration it is to have, if that matters.
    """
    try:
        found = [
            Installed(one.name, _real(one.state), one.config and _real(one.config)) for one in _installed()
        ]
        return unit_for(found, _real(state), config and _real(config))
    except (OSError, ValueError):
        return None


def unit_for(units: Iterable[Installed], state: Path, config: Path | None) -> str | None:
    """Return the name of the unit that works on a state folder, and with a configuration if one is given."""
    for one in units:
        if one.state == state and config in (None, one.config):
            return one.name
    return None


def parse(name: str, text: str) -> Installed | None:
    """Return the unit that a file holds, if `install-unit` wrote it; somebody may have edited it since.

    Args:
        name: What systemctl calls it.
        text: What is in the file.
    """
    states, configs = (
        [value.replace("%i", name.partition("@")[2]) for value in pattern.findall(text)]
        for pattern in (_STATE, _CONFIG)
    )
    if not text.startswith(MARK) or not states:
        return None
    return Installed(name, Path("/var/lib", states[-1]), Path(configs[-1]) if configs else None)


def _installed() -> Iterator[Installed]:
    if not BOOTED.is_dir():
        return
    for file in os.listdir(UNITS):  # noqa: PTH208 - names are all that is needed
        if (match := _FILE.fullmatch(file)) and (one := parse(match[1], _read(UNITS / file))):
            yield one


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _read(path: Path) -> str:
    try:
        return read_file(path, MAX_SIZE).decode(errors="replace")
    except OSError:
        return ""
