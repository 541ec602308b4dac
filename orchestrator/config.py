"""The configuration file: read, checked as a whole, and made into `Settings`.

Every problem is reported at once, as ``FILE:LINE: key.path: what was expected, what was found``. No message
holds a password or a phone number: what may be one is described instead of quoted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from orchestrator import config_values as values
from orchestrator import yaml_tree
from orchestrator.config_values import (
    Check,
    Unfit,
    Where,
    explain,
    kind,
    quote,
    say_duration,
    segment,
    single,
)
from orchestrator.errors import ConfigError
from orchestrator.memory_limit import LEAST
from orchestrator.paths import NAME_RULE, QR_FOLDER, check_name, find_state_dir
from orchestrator.settings import AccountSettings, Backoff, Settings
from orchestrator.yaml_tree import Node, Scalar, YamlError

MAX_SIZE = 1024 * 1024
"""Bytes of the file. 5,000 accounts with a phone and a proxy have about 500,000."""
MAX_PROBLEMS = 200
"""Problems that are shown; somebody who gave the wrong file need not read more."""

_Table: TypeAlias = "Mapping[str, Check | _Table | None]"  # None: read elsewhere


def load(
    path: str | Path, *, state_dir: str | Path | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read a configuration file.

    Relative paths in it start from its folder; ``~`` and ``$VARS`` in them are expanded.

    Args:
        path: The file.
        state_dir: What ``--state-dir`` says; it outdoes the file.
        environ: The environment.

    Raises:
        ConfigError: It cannot be read or is not valid: a line for every problem.
    """
    return parse(decode(read(path), path), path, state_dir=state_dir, environ=environ)


def read(path: str | Path) -> bytes:
    """Return the bytes of a configuration file.

    Raises:
        ConfigError: It cannot be read, or has too many.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a pipe in its place would hold the service up for ever

    try:
        with open(path, "rb", opener=opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.ENXIO, "")
            data = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_shown(path)}: {_reason(error)}") from None
    if len(data) > MAX_SIZE:
        raise ConfigError(f"{_shown(path)}: expected at most {MAX_SIZE:,} bytes; is this the right file?")
    return data


def decode(data: bytes, path: str | Path) -> str:
    """Return the bytes of a configuration file as text, without a byte-order mark.

    Raises:
        ConfigError: They are no text in UTF-8.
    """
    if b"\0" in data:
        raise ConfigError(f"{_shown(path)}: expected text, found binary data; is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{_shown(path)}:{line}: expected text in UTF-8, found the byte 0x{data[error.start]:02X};"
            " save the file as UTF-8"
        ) from None


def parse(
    text: str,
    path: str | Path,
    *,
    state_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Make settings out of a configuration's text.

    Args:
        text: The text.
        path: The file it belongs to, for messages and for relative paths.
        state_dir: What ``--state-dir`` says.
        environ: The environment.

    Raises:
        ConfigError: It is not valid: a line for every problem.
    """
    file = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the operator's links
    reader: _Reader | None = None
    try:
        document = yaml_tree.parse(text)
        reader = _Reader(document, Where(file.parent, environ))
        settings = reader.settings(file, state_dir)
        problems = reader.problems
    except YamlError as error:
        problems = [*(reader.problems if reader else ()), _Problem(error.line, (), str(error))]
        settings = None
    if problems or settings is None:
        raise ConfigError(_report(path, problems))
    return settings


def check_value(key: str, text: str) -> object:
    """Return what a text says as the value of an account's key, before it is written to the file.

    Raises:
        ConfigError: It is not fit for that key; the message names the key.
    """
    check = cast("Check", _ACCOUNT[key])
    scalar = Scalar(0, 0, 0, len(text), 0, text=text, type="text", plain=False)
    try:
        return check(scalar, Where(Path("/"), {}))
    except Unfit as unfit:
        raise ConfigError(f"{key}: {explain(unfit, scalar)}") from None


# What stands where. Everything that is left out has the default of `Settings`.

_BACKOFF: _Table = {
    "base": values.duration(0.01, values.DAY),
    "factor": values.number(1, 100),
    "max": values.duration(0.01, 7 * values.DAY),
    "jitter": values.number(0, 1),
    "reset_after": values.duration(0, values.DAY),
}
_DEFAULTS: _Table = {
    "backoff": _BACKOFF,
    "max_retries": values.integer(0, 1_000_000),
    "pairing_rounds": values.integer(1, 1_000_000),
    "proxy": values.optional(values.proxy),
    "device_name": values.text(50),
    "memory_limit": values.optional(values.size(LEAST, 1 << 40)),
}
_ACCOUNT: _Table = {"phone": values.optional(values.phone), "enabled": values.boolean, **_DEFAULTS}
_START: _Table = {"parallel": values.integer(1, 10_000), "spread": values.duration(0, 3600)}
_TOP: _Table = {
    "state_dir": values.optional(values.state_folder),
    "qr_dir": values.optional(values.folder),
    "qr_group": values.optional(values.text(32, "the name of a group")),
    "quarantine_days": values.number(0, 36_500),
    "start": _START,
    "defaults": _DEFAULTS,
    "accounts": None,
}
_HOMES: Mapping[str, _Table] = {
    "at the top level": _TOP,
    "under start": _START,
    "under backoff": _BACKOFF,
    "under defaults or an account": _DEFAULTS,
    "under an account": _ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is wrong, and where; `line` counts from 1 on."""

    line: int | None
    path: tuple[str, ...]
    text: str


@dataclass(slots=True)
class _Reader:
    """Goes through the tree along the tables and collects values and problems."""

    document: yaml_tree.Document
    where: Where
    problems: list[_Problem] = field(default_factory=list)
    places: dict[tuple[str, ...], Node] = field(default_factory=dict)

    def settings(self, file: Path, state_dir: str | Path | None) -> Settings | None:
        """Return the settings, or None if there are problems."""
        for twice in self.document.duplicates:
            text = f"expected every key once, found this one on line {twice.first_line}, too"
            self.problems.append(_Problem(twice.line, twice.path, text))
        if self.document.root is None:
            # Not the same as no accounts: a full disk that emptied the file must not end them at a reload.
            self._add((), "expected settings, found an empty file; for no accounts, write `accounts: {}`")
            return None
        top = self._table(self.document.root, (), _TOP)
        defaults = top.pop("defaults", {})
        self._check_backoff(defaults.get("backoff", {}), {}, ("defaults", "backoff"))
        accounts = self._accounts(top.pop("accounts", None), defaults)
        start = top.pop("start", {})
        try:
            state = find_state_dir(state_dir, top.pop("state_dir", None), environ=self.where.environ)
        except ConfigError as error:
            self._add((), str(error))
            return None
        qr_dir = top.pop("qr_dir", None) or state / QR_FOLDER
        if qr_dir == state or (
            qr_dir.parent == state and qr_dir.name in ("sessions", "quarantine", "timeline", "tracebacks")
        ):
            self._add(("qr_dir",), "expected a folder for the codes alone, found one of the service's own")
        if top.get("qr_group") is not None and qr_dir.is_relative_to(state):
            # Its mode is 0700, whatever that of the folders in it.
            self._add(
                ("qr_group",),
                "expected a qr_dir along with it that the group can get to, found one in the state folder,"
                " which nobody else may enter",
            )
        if self.problems:
            return None
        return Settings(
            config_file=file,
            state_dir=state,
            qr_dir=qr_dir,
            accounts=accounts,
            **{f"start_{key}": value for key, value in start.items()},
            **top,
        )

    def _accounts(self, node: Node | None, defaults: dict[str, Any]) -> dict[str, AccountSettings]:
        accounts: dict[str, AccountSettings] = {}
        phones: dict[str, str] = {}
        for name, value in self._entries(node, ("accounts",), "a mapping of names to accounts"):
            path = ("accounts", name.text)
            if not self._check_name(name, path):
                continue
            own = self._table(value, path, _ACCOUNT)
            self._check_backoff(own.get("backoff", {}), defaults.get("backoff", {}), (*path, "backoff"))
            if self._is_blank((*path, "proxy")) and defaults.get("proxy"):
                # Somebody who means to fill it in later must not go out without a proxy until then.
                self._add(
                    (*path, "proxy"),
                    "expected a proxy, or null for none in spite of the one in defaults, found nothing;"
                    " leave the key out to use that one",
                )
            phone = own.get("phone")
            if phone and (other := phones.setdefault(phone, name.text)) != name.text:
                line = self.places["accounts", other, "phone"].line + 1
                also = f"found that of {segment(other)} on line {line}"
                self._add((*path, "phone"), f"expected a number that no other account has, {also}")
            backoff = Backoff(**{**defaults.get("backoff", {}), **own.get("backoff", {})})
            accounts[name.text] = AccountSettings(name=name.text, **{**defaults, **own, "backoff": backoff})
        return accounts

    def _check_name(self, name: Scalar, path: tuple[str, ...]) -> bool:
        if name.type != "text":
            text = f"expected a name in quotes, found one that YAML takes for {name.type}"
            self.problems.append(_Problem(name.line + 1, path, text))
            return False
        try:
            check_name(name.text)
        except ConfigError:
            text = f"expected a name of {NAME_RULE}, found {quote(name.text)}"
            self.problems.append(_Problem(name.line + 1, ("accounts",), text))
            return False
        return True

    def _check_backoff(self, own: dict[str, Any], inherited: dict[str, Any], path: tuple[str, ...]) -> None:
        backoff = Backoff(**{**inherited, **own})
        if backoff.base > backoff.max and not own.keys().isdisjoint(("base", "max")):
            key = "base" if "base" in own else "max"
            text = (
                f"expected a base of at most max, found {say_duration(backoff.base)}"
                f" and a max of {say_duration(backoff.max)}"
            )
            self._add((*path, key), text)

    def _table(self, node: Node, path: tuple[str, ...], table: _Table) -> dict[str, Any]:
        """Return what stands in a mapping and is right."""
        taken: dict[str, Any] = {}
        for key, value in self._entries(node, path, "a mapping of keys to values"):
            here = (*path, key.text)
            if key.text not in table:
                self.problems.append(_Problem(key.line + 1, here, _unknown(key.text, table)))
                continue
            self.places[here] = value
            check = table[key.text]
            if check is None:
                taken[key.text] = value
            elif not callable(check):
                taken[key.text] = self._table(value, here, check)
            else:
                try:
                    taken[key.text] = check(single(value), self.where)
                except Unfit as unfit:
                    self._add(here, explain(unfit, value))
        return taken

    def _entries(
        self, node: Node | None, path: tuple[str, ...], expected: str
    ) -> Iterator[tuple[Scalar, Node]]:
        if node is None or (isinstance(node, Scalar) and node.type == "nothing" and path):
            return  # `accounts:` and then nothing: a fresh file, or everything in it commented out
        if not isinstance(node, yaml_tree.Mapping):
            self.problems.append(_Problem(node.line + 1, path, f"expected {expected}, found {kind(node)}"))
            return
        for pair in self.document.pairs(node):
            yield pair.key, pair.value

    def _is_blank(self, path: tuple[str, ...]) -> bool:
        node = self.places.get(path)
        return isinstance(node, Scalar) and node.type == "nothing" and not node.text

    def _add(self, path: tuple[str, ...], text: str) -> None:
        place = self.places.get(path)
        self.problems.append(_Problem(place.line + 1 if place else None, path, text))


# Words for messages


def _unknown(key: str, table: _Table) -> str:
    from difflib import get_close_matches  # only when something is wrong: it costs as much as the rest

    if close := get_close_matches(key, table, 1):
        return f"unknown key; did you mean {close[0]}?"
    for place, other in _HOMES.items():
        if key in other:
            return f"unknown key here; it belongs {place}"
    return f"unknown key; expected one of {', '.join(table)}"


def _report(path: str | Path, problems: list[_Problem]) -> str:
    ordered = list(dict.fromkeys(sorted(problems, key=lambda problem: problem.line or 0)))
    lines = [
        ": ".join(
            (
                _shown(path) + (f":{problem.line}" if problem.line else ""),
                *([".".join(segment(key) for key in problem.path)] if problem.path else ()),
                problem.text,
            )
        )
        for problem in ordered[:MAX_PROBLEMS]
    ]
    if len(ordered) > MAX_PROBLEMS:
        lines.append(f"{_shown(path)}: and {len(ordered) - MAX_PROBLEMS:,} more")
    return "\n".join(lines)


def _shown(path: str | Path) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(path))


def _reason(error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    match number:
        case errno.ENOENT:
            return (
                "there is no such file; make one with `orchestrator add NAME`, or name another with --config"
            )
        case errno.EACCES | errno.EPERM:
            return "this user may not read it; start as the user it belongs to, or let this one read it"
        case errno.EISDIR:
            return "expected a file, found a folder"
        case errno.ENXIO:
            return "expected a file, found a pipe, socket or device"
        case errno.ELOOP:
            return "its symbolic links lead in a circle"
        case None:
            return "this is not the path of a file"
        case _:
            return f"cannot be read: {os.strerror(number)}"
