"""By which command the service of a state folder is started: its systemd unit's, if `install-unit` wrote one.

The unit is read as systemd reads it, with the drop-ins of `systemctl edit`. All of this is looked up when a
command has found no service, and never before. Fast to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.system.files import read_file

UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Is there where systemd runs; sd_booted(3) looks for it."""
CONTROL = tuple(map(Path, ("/etc/systemd/system.control", "/run/systemd/system.control")))
"""Where `systemctl set-property` puts drop-ins, which count more than those in `UNITS`."""
LESSER = tuple(map(Path, ("/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")))
"""Where drop-ins count less than those in `UNITS`: those of `systemctl edit --runtime`, and of packages."""
MARK = "# Written by orchestrator install-unit"
"""What the first line of a file that is written begins with."""
RUN = "orchestrator run"
"""What starts a service that has no unit."""
MAX_SIZE = 64 * 1024
"""Bytes of a unit that are read; those that are shipped have five thousand."""

_FILE = re.compile(r"(orchestrator(?:@[a-z0-9][a-z0-9._-]*)?)\.service")
_SECTION = re.compile(r"\[([^\]]*)\]")
_SPECIFIER = re.compile("%(.)")


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


def parse(name: str, text: str, *drop_ins: str) -> Installed | None:
    """Return the unit that a file holds, if `install-unit` wrote it; somebody may have edited it since.

    Args:
        name: What systemctl calls it.
        text: What is in the file.
        *drop_ins: What is in its drop-ins, in the order in which systemd applies them.
    """
    if not text.startswith(MARK):
        return None
    said: dict[str, list[str]] = {"StateDirectory": [], "ExecStart": [], "Environment": []}
    for part in (text, *drop_ins):
        for key, value in _assignments(part):
            if key not in said:
                continue
            if not value:
                said[key].clear()  # an empty value takes back all that was said before
            elif key == "StateDirectory":
                # A name may have a symbolic link's behind a colon.
                said[key] += [_expand(one, name).partition(":")[0] for one in _words(value)]
            else:
                said[key].append(_expand(value, name))
    # systemd starts no service (of this type) that has two commands.
    options = _options(_words(said["ExecStart"][0])) if len(said["ExecStart"]) == 1 else {}
    for line in said["Environment"]:
        for word in _words(line):
            variable, _, value = word.partition("=")
            if variable == "ORCHESTRATOR_CONFIG" and options:
                options.setdefault("--config", value)
    state = options.get("--state-dir")
    if state is None and said["StateDirectory"]:
        state = str(Path("/var/lib", min(said["StateDirectory"])))  # systemd sorts them; the first one counts
    config = options.get("--config")
    if state is None or not Path(state).is_absolute():
        return None
    return Installed(name, Path(state), Path(config) if config and Path(config).is_absolute() else None)


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield what the section of the service says, as systemd.syntax(7) has it."""
    section, begun = "", ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            continue  # also in the middle of a line that goes on
        if stripped.endswith("\\"):
            begun += stripped[:-1] + " "
            continue
        whole, begun = begun + stripped, ""
        if match := _SECTION.fullmatch(whole):
            section = match[1]
        elif section == "Service" and "=" in whole:
            key, _, value = whole.partition("=")
            yield key.rstrip(), value.strip()


def _words(line: str) -> list[str]:
    import shlex  # only once no service was found

    try:
        return shlex.split(line)
    except ValueError:
        return []


def _options(command: list[str]) -> dict[str, str]:
    """Return the options of a command that starts a service; none if it does not start one."""
    if "run" not in command[1:]:
        return {}
    found = {"run": ""}
    words = iter(command[1 : command.index("run", 1)])
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--config", "--state-dir"):
            found[option] = value if equals else next(words, "")
    return found


def _expand(value: str, name: str) -> str:
    """Put in what the commonest of systemd's specifiers stand for; others stay as they are."""
    prefix, _, instance = name.partition("@")
    known = {
        "i": instance,
        "I": instance.replace("-", "/"),
        "n": f"{name}.service",
        "N": name,
        "p": prefix,
        "S": "/var/lib",
        "E": "/etc",
        "%": "%",
    }
    return _SPECIFIER.sub(lambda match: known.get(match[1], match[0]), value)


def _drop_ins(name: str) -> Iterator[str]:
    """Yield what is in a unit's drop-ins, in the order in which systemd applies them.

    That is the order of their names, wherever they are. Of two with one name that one counts which is in the
    more important folder, and an empty one, or a link to /dev/null, hides the others.
    """
    names = [name, name.partition("@")[0] + "@"] if "@" in name else [name]
    places = (*CONTROL, UNITS, *LESSER)
    folders = [place / f"{unit}.service.d" for place in places for unit in names]
    folders += [place / "service.d" for place in places]
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            entries = os.listdir(folder)  # noqa: PTH208 - names are all that is needed
        except OSError:
            continue
        for entry in entries:
            if entry.endswith(".conf"):
                found.setdefault(entry, folder / entry)
    for _, path in sorted(found.items()):
        yield _read(_real(path))


def _installed() -> Iterator[Installed]:
    if not BOOTED.is_dir():
        return
    for file in os.listdir(UNITS):  # noqa: PTH208 - names are all that is needed
        if match := _FILE.fullmatch(file):
            text = _read(UNITS / file)
            if text.startswith(MARK) and (one := parse(match[1], text, *_drop_ins(match[1]))):
                yield one


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _read(path: Path) -> str:
    try:
        return read_file(path, MAX_SIZE).decode(errors="replace")
    except OSError:
        return ""
