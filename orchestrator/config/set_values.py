"""Setting keys of accounts in the configuration file, as `orchestrator set`, `enable` and `disable` do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from orchestrator.accounts import changes, characters
from orchestrator.accounts.names import no_such_account, shorten
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config import edit, reader, types, yaml_tree
from orchestrator.config.in_force import keys_of_account
from orchestrator.config.model import type_of
from orchestrator.config.section import section_of
from orchestrator.config.settings import Settings
from orchestrator.config.tags import Tags
from orchestrator.config.types import Type, Unfit, Where, explain, strange
from orchestrator.config.yaml_edit import CannotEditError, written
from orchestrator.config.yaml_tree import Document, Scalar, YamlError
from orchestrator.config.yaml_values import ValuesText
from orchestrator.errors import ConfigError

_LISTS: Final = (Tags, types.Allowed)
_TEXTS: Final = (types.Text, types.Phone, types.Proxy, types.ProxyFile, types.Time)
_QUOTED: Final = (types.Phone, types.Time)
_PLAIN: Final = re.compile(r"[A-Za-z0-9._+-]+")


class Wanted(NamedTuple):
    """What a key is to be.

    Attributes:
        keys: The key, with the sections that it stands in before.
        value: Its value as YAML; None to take the key out.
    """

    keys: tuple[str, ...]
    value: str | None

    @property
    def key(self) -> str:
        """The key as people write it, such as ``backoff.max``."""
        return ".".join(self.keys)


@dataclass(frozen=True, slots=True)
class Edited:
    """What a configuration said before an edit, and what it says now."""

    before: Settings
    after: Settings

    @property
    def changed(self) -> dict[str, tuple[str, ...]]:
        """The keys that have changed, by account."""
        return changes.of_accounts(self.before.accounts, self.after.accounts)


def read_assignment(text: str, environ: Mapping[str, str] = os.environ) -> Wanted:
    """Read ``key=value``, or ``key=`` to take a key out. The value is checked as the file's reader does.

    Args:
        text: The text. A list is ``a,b`` or as YAML has it in brackets. A path is absolute.
        environ: The environment, for the variables in a path.

    Raises:
        ConfigError: There is no such key, or the value is not fit for the key.
    """
    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"expected KEY=VALUE, or KEY= to remove a key, found {shorten(types.quote(text))}")
    keys = find_key(key)
    return Wanted(keys, yaml_of(keys, value, environ) if value else None)


def find_key(key: str) -> tuple[str, ...]:
    """Return a key of an account, with the sections that it stands in before.

    Args:
        key: The key as people write it, such as ``backoff.max``.

    Raises:
        ConfigError: There is no such key, or the key is a section.
    """
    keys = tuple(key.split("."))
    path: tuple[str, ...] = ("accounts", "_")
    for depth, one in enumerate(keys, 1):
        path = (*path, one)
        if (wrong := reader.unknown_key(path)) is not None:
            raise ConfigError(f"{types.segment('.'.join(keys[:depth]))}: {wrong}")
        section = section_of(reader.section_at(path[:-1]), one)
        if section is None and depth < len(keys):
            raise ConfigError(f"{'.'.join(keys[:depth])}: expected no key below, found one")
        if section is not None and depth == len(keys):
            below = ", ".join(f"{key}.{inner}" for inner in section.model_fields)
            raise ConfigError(f"{key}: expected one of the keys below, such as {below}")
    return keys


def yaml_of(keys: tuple[str, ...], text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return what somebody has typed as a key's value as YAML, checked.

    Args:
        keys: The key; there is one.
        text: What was typed.
        environ: The environment, for the variables in a path.

    Raises:
        ConfigError: The value is not fit for the key.
    """
    kind = _type(keys)
    value = _as_yaml(keys, kind, text)
    _check(keys, value, Where(Path("/"), environ), text)
    return value


def set_values(
    path: str | Path,
    wanted: Mapping[str, tuple[Wanted, ...]],
    *,
    state_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Edited:
    """Set keys of accounts, all or nothing; comments and layout stay as they are.

    Args:
        path: The configuration file; a symbolic link is followed.
        wanted: What is to be set, by account.
        state_dir: What ``--state-dir`` says.
        environ: The environment, for the variables in the file.

    Raises:
        NoSuchAccount: There is no account of one of the names.
        ConfigError: The file is not valid or would not be, or only a person can edit it.
        StateError: The file cannot be written; it is as it was.
    """
    found: list[Settings] = []

    def change(text: str, document: Document, before: Settings) -> str:
        found.append(before)
        if unknown := [name for name in wanted if name not in before.accounts]:
            raise no_such_account(*unknown, known=before.accounts, file=Path(path))
        # An edit moves nothing that stands before it. So from the last account upward, the tree stays right,
        # and hundreds of accounts do not need hundreds of trees.
        for name in sorted(wanted, key=ValuesText(text, document).place, reverse=True):
            known = text
            for one in wanted[name]:
                if text != known:
                    known, document = text, _parsed(text)
                edited = ValuesText(text, document)
                if one.value is None:
                    text = edited.without_value(name, one.keys)
                else:
                    text = edited.with_value(name, one.keys, one.value)
        _parsed(text)
        return text

    where = Where(Path(os.path.abspath(path)).parent, environ)  # noqa: PTH100 - as the reader does

    def is_right(before: Settings, after: Settings) -> bool:
        others = {
            name: before.accounts[name] if name in wanted else one for name, one in after.accounts.items()
        }
        return edit.same(replace(after, accounts=others), before) and all(
            _is_right(before.accounts[name], after.accounts[name], after.given[name], values, where)
            for name, values in wanted.items()
        )

    def read(text: str) -> Settings:
        return reader.parse(text, path, state_dir=state_dir, environ=environ)

    after = edit.edit_file(Path(path), change, is_right, read, invalid=lambda error: _invalid(error, path))
    return Edited(found[0], after)


def _is_right(
    before: AccountSettings,
    after: AccountSettings,
    given: frozenset[str],
    values: tuple[Wanted, ...],
    where: Where,
) -> bool:
    """Tell whether an account has changed as wanted, and not otherwise."""
    last = {one.keys: one.value for one in values}
    touched = {_counts_as(".".join(keys)) for keys in last}
    if "disabled_until" in touched:
        touched.add("enabled")  # which follows from it
    if not touched.issuperset(changes.keys(before, after)):
        return False
    for keys, value in last.items():
        key = _counts_as(".".join(keys))
        if value is not None and (key not in given or _read(keys, value, where) != _value(after, key)):
            return False
    return True


def _counts_as(key: str) -> str:
    return "proxy" if key == "proxy_file" else key


def _value(account: AccountSettings, key: str) -> Any:  # noqa: ANN401 - whatever the key holds
    value: Any = account
    for one in key.split("."):
        value = getattr(value, one)
    return value


def _parsed(text: str) -> Document:
    try:
        return yaml_tree.parse(text)
    except YamlError:
        raise CannotEditError from None


def _invalid(error: ConfigError, path: str | Path) -> Exception:
    """Return what to say of a file that would not be valid: it is not there, so its lines tell nothing."""
    lines = [re.sub(rf"^{re.escape(str(path))}(?::\d+)?: ", "", line) for line in str(error).split("\n")]
    return ConfigError("\n".join(["nothing was changed:", *lines]))


def _type(keys: tuple[str, ...]) -> Type[Any]:
    return type_of(reader.section_at(("accounts", "_", *keys[:-1])), keys[-1])


def _as_yaml(keys: tuple[str, ...], kind: Type[Any], text: str) -> str:
    key = ".".join(keys)
    if not text.isprintable():
        raise ConfigError(f"{key}: expected one line of text, found one with a control character")
    if isinstance(kind, types.OrNull):
        if text in ("null", "~"):
            return "null"
        kind = kind.of
    if isinstance(kind, _LISTS) and not text.startswith("["):
        plain = isinstance(kind, Tags)
        return f"[{', '.join(written(one.strip(), quoted=not plain) for one in text.split(','))}]"
    if isinstance(kind, _LISTS):
        return text
    if isinstance(kind, _TEXTS):
        return written(text, quoted=isinstance(kind, _QUOTED))
    return text if _PLAIN.fullmatch(text) else written(text, quoted=True)


def _check(keys: tuple[str, ...], value: str, where: Where, text: str) -> None:
    try:
        _read(keys, value, where)
    except (Unfit, YamlError) as error:
        shown = Scalar(0, 0, 0, len(text), 0, text=text, type="text", plain=True)
        if isinstance(error, YamlError):
            error = Unfit(_type(keys).expected, "what is no YAML")
        at = strange(error, shown)
        named = "" if at is None else f"; it has {characters.at(text, at)}"
        raise ConfigError(f"{'.'.join(keys)}: {explain(error, shown)}{named}") from None


def _read(keys: tuple[str, ...], value: str, where: Where) -> Any:  # noqa: ANN401 - whatever the key holds
    """Return what a value says, as the file's reader reads it."""
    node = yaml_tree.parse(value).root
    assert node is not None
    return _type(keys).check(node, where)


def all_keys() -> tuple[str, ...]:
    """Return the keys of an account that can be set, for completion."""
    return tuple(".".join(path) for path, _ in keys_of_account())
