"""The configuration file: read, checked as a whole, and made into `Settings`.

Every problem is reported at once, as ``FILE:LINE: key.path: what was expected, what was found``. No message
holds a password or a phone number: what may be one is described instead of quoted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from orchestrator.accounts import characters, phones
from orchestrator.accounts.memory_limit import LEAST
from orchestrator.accounts.names import NAME_RULE, check_name
from orchestrator.accounts.settings import AccountSettings, Backoff
from orchestrator.config import values, yaml_tree
from orchestrator.config.file import MAX_SIZE as MAX_SIZE
from orchestrator.config.file import decode as decode
from orchestrator.config.file import read as read
from orchestrator.config.file import shown
from orchestrator.config.locate import find_state_dir
from orchestrator.config.settings import Settings
from orchestrator.config.values import (
    Check,
    Unfit,
    Where,
    explain,
    kind,
    quote,
    say_duration,
    segment,
    single,
    strange,
)
from orchestrator.config.yaml_tree import Node, Scalar, YamlError
from orchestrator.errors import ConfigError
from orchestrator.store.layout import QR_FOLDER

MAX_PROBLEMS = 200
"""Problems that are shown; somebody who gave the wrong file need not read more."""

EMPTY = "expected settings, found an empty file; for no accounts, write `accounts: {}`"
"""Not the same as no accounts: a full disk that emptied the file must not end them at a reload."""

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


def find_state(
    text: str, path: str | Path, *, whole: bool = False, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return the state folder that a configuration names, or the usual one if it names none.

    The folder is the one that `parse` finds in the same text. Nothing is said about other keys, and the text
    need be YAML only as far as this key: commands must reach the service while somebody edits the file, too.

    Args:
        text: The text.
        path: The file it belongs to, for messages and for a relative path.
        whole: Read on where the text has named a folder, to see that it does not name another.
        environ: The environment.

    Raises:
        ConfigError: The text does not tell: it is broken before it names a folder, names two, or is empty; or
            what it names is no path.
    """
    where = Where(Path(os.path.abspath(path)).parent, environ)  # noqa: PTH100 - as in `parse`
    document, broken = yaml_tree.read(text) if whole else yaml_tree.parse_for(text, "state_dir")
    reader = _Reader(document, where, text)
    try:
        state = reader.state_dir(broken)
        problems = reader.problems
    except YamlError as error:
        problems = [*reader.problems, _Problem(error.line, (), str(error))]
    if problems:
        raise ConfigError(_report(path, problems))
    return find_state_dir(None, state, environ=environ)


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
        reader = _Reader(document, Where(file.parent, environ), text)
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
    if key == "phone":  # which only YAML wants in quotes
        try:
            return phones.parse(text)
        except phones.NotANumber as error:
            raise ConfigError(f"{key}: {error}") from None
    check = cast("Check", _ACCOUNT[key])
    scalar = Scalar(0, 0, 0, len(text), 0, text=text, type="text", plain=False)
    try:
        return check(scalar, Where(Path("/"), {}))
    except Unfit as unfit:
        at = strange(unfit, scalar)
        named = "" if at is None else f"; it has {characters.at(text, at)}"
        raise ConfigError(f"{key}: {explain(unfit, scalar)}{named}") from None


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
    text: str
    problems: list[_Problem] = field(default_factory=list)
    places: dict[tuple[str, ...], Node] = field(default_factory=dict)

    def settings(self, file: Path, state_dir: str | Path | None) -> Settings | None:
        """Return the settings, or None if there are problems."""
        self.problems += [self._twice(one) for one in self.document.duplicates]
        if self.document.root is None:
            self._add((), EMPTY)
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

    def state_dir(self, broken: YamlError | None) -> Path | None:
        """Return what the file says of the state folder, without a look at anything else.

        Args:
            broken: Why the document is not whole, if it is not.

        Raises:
            YamlError: It is broken before the file says it.
        """
        root, key = self.document.root, "state_dir"
        if root is None and broken is None:
            self._add((), EMPTY)
        self.problems += [self._twice(one) for one in self.document.duplicates if one.path == (key,)]
        named: dict[str, Any] = {}
        for name, value in self._entries(root, (), "a mapping of keys to values"):
            if name.text == key:
                self._check((key,), value, cast("Check", _TOP[key]), named)
                break
        else:
            if broken is not None:
                raise broken
        return cast("Path | None", named.get(key))

    def _accounts(self, node: Node | None, defaults: dict[str, Any]) -> dict[str, AccountSettings]:
        accounts: dict[str, AccountSettings] = {}
        owners: dict[str, str] = {}
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
            if phone and (other := owners.setdefault(phones.canonical(phone), name.text)) != name.text:
                line = self.places["accounts", other, "phone"].line + 1
                also = f"found that of {segment(other)} on line {line}"
                if phone != accounts[other].phone:
                    also += ": the two spellings are one phone's"
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
            text = f"expected a name of {NAME_RULE}, found {quote(name.text)}{self._strange(name)}"
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
                text = _unknown(key.text, table) + self._strange(key)
                self.problems.append(_Problem(key.line + 1, here, text))
                continue
            self.places[here] = value
            check = table[key.text]
            if check is None:
                taken[key.text] = value
            elif not callable(check):
                taken[key.text] = self._table(value, here, check)
            else:
                self._check(here, value, check, taken)
        return taken

    def _check(self, path: tuple[str, ...], value: Node, check: Check, taken: dict[str, Any]) -> None:
        """Take a value if it is right."""
        self.places[path] = value
        try:
            taken[path[-1]] = check(single(value), self.where)
        except Unfit as unfit:
            at = strange(unfit, value)
            named = self._named(value, at) if isinstance(value, Scalar) and at is not None else ""
            self._add(path, explain(unfit, value) + named)

    def _entries(
        self, node: Node | None, path: tuple[str, ...], expected: str
    ) -> Iterator[tuple[Scalar, Node]]:
        if node is None or (isinstance(node, Scalar) and node.type == "nothing" and path):
            return  # `accounts:` and then nothing: a fresh file, or everything in it commented out
        if not isinstance(node, yaml_tree.Mapping):
            named = self._strange(node) if isinstance(node, Scalar) else ""
            text = f"expected {expected}, found {kind(node)}{named}"
            self.problems.append(_Problem(node.line + 1, path, text))
            return
        for pair in self.document.pairs(node):
            yield pair.key, pair.value

    def _strange(self, scalar: Scalar) -> str:
        """Return what to add about a key or name with a character that none has."""
        index = characters.find_strange(scalar.text)
        return "" if index is None else self._named(scalar, index)

    def _named(self, scalar: Scalar, index: int) -> str:
        """Return what to add about a character of a value: its name, and its place in the file."""
        character = scalar.text[index]
        at = self.text.find(character, scalar.start, scalar.end)
        if at >= 0:
            return f"; it has {characters.describe(character)} at {yaml_tree.place(self.text, at)}"
        # It is written as an escape, which for a line break, for instance, says it all.
        return "" if character.isascii() else f"; it has {characters.at(scalar.text, index)}"

    @staticmethod
    def _twice(duplicate: yaml_tree.Duplicate) -> _Problem:
        text = f"expected every key once, found this one on line {duplicate.first_line}, too"
        return _Problem(duplicate.line, duplicate.path, text)

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
                shown(path) + (f":{problem.line}" if problem.line else ""),
                *([".".join(segment(key) for key in problem.path)] if problem.path else ()),
                problem.text,
            )
        )
        for problem in ordered[:MAX_PROBLEMS]
    ]
    if len(ordered) > MAX_PROBLEMS:
        lines.append(f"{shown(path)}: and {len(ordered) - MAX_PROBLEMS:,} more")
    return "\n".join(lines)
