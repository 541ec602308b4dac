"""Which settings of an account are in force, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from orchestrator.accounts import proxy
from orchestrator.config import types
from orchestrator.config.model import AccountSection, DefaultsSection, OwnSection, type_of
from orchestrator.config.section import Section, section_of
from orchestrator.config.settings import Settings
from orchestrator.config.tags import Tags
from orchestrator.system.masking import mask_number

Origin: TypeAlias = Literal["account", "defaults", "built-in"]
"""Where a value comes from: the account's own section, the section `defaults`, or this program."""


class InForce(NamedTuple):
    """A setting.

    Attributes:
        key: Its key below the account's name, such as ``backoff.base``.
        value: Its value as the configuration has it. Numbers are masked, and a proxy has no password.
        origin: Where the value comes from.
    """

    key: str
    value: str
    origin: Origin


def of_account(settings: Settings, name: str) -> list[InForce]:
    """Return all settings of an account, in the order of the documentation.

    Args:
        settings: The configuration.
        name: The account, which the configuration has.
    """
    account = settings.accounts[name]
    own, common = settings.given.get(name, frozenset()), settings.given_to_all
    found = []
    for path, section in keys_of_account():
        value: Any = account
        for key in path:
            value = getattr(value, key)
        place = ".".join(path)
        origin: Origin = "account" if place in own else "defaults" if place in common else "built-in"
        found.append(InForce(place, _shown(type_of(section, path[-1]), value), origin))
    return found


def given_keys(section: Section) -> frozenset[str]:
    """Return the keys that stand in the file in a section, with those of the sections in it."""
    found = set()
    for key, value in section.given().items():
        if isinstance(value, Section):
            found |= {f"{key}.{inner}" for inner in given_keys(value)}
        else:
            found.add(key)
    return frozenset(found)


def keys_of_account() -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Yield the keys of an account, each with its section.

    The key of a file that has another key's value counts as that key.
    """
    for key in (*OwnSection.model_fields, *DefaultsSection.model_fields):
        nested = section_of(AccountSection, key)
        if nested is not None:
            for inner in nested.model_fields:
                yield (key, inner), nested
        elif not isinstance(_without_null(type_of(AccountSection, key)), types.ProxyFile):
            yield (key,), AccountSection


def _without_null(kind: types.Type[Any]) -> types.Type[Any]:
    return kind.of if isinstance(kind, types.OrNull) else kind


_OPEN: Final = (
    types.Boolean, types.Duration, types.Integer, types.Number, types.Size, types.Text, types.Time,
    types.Word, Tags,
)  # fmt: skip
"""Types whose values are no secrets."""
HIDDEN: Final = "…"
"""What is shown of a value of which nobody has said how it may be shown."""


def _shown(kind: types.Type[Any], value: Any) -> str:  # noqa: ANN401 - whatever the key holds
    """Return a value as anybody may see it."""
    if value is None:
        return "null"
    kind = _without_null(kind)
    if isinstance(kind, _OPEN):
        return kind.write(value)
    show = next((show for of, show in _SHOWN.items() if isinstance(kind, of)), None)
    return HIDDEN if show is None else show(value)


def _proxy(url: str) -> str:
    try:
        return str(proxy.parse(url))
    except proxy.ProxyError:
        return HIDDEN


def _allowed(values: tuple[str, ...]) -> str:
    """Return who may write: the addresses of old groups have a number in them, so they are only counted."""
    everybody = ['"*"'] if "*" in values else []
    addresses = sum("@" in one for one in values)
    numbers = [mask_number(one) for one in values if one != "*" and "@" not in one]
    counted = [f"{addresses} address{'es' if addresses != 1 else ''}"] if addresses else []
    more = [f"{len(numbers) - _MOST_NUMBERS} more"] if len(numbers) > _MOST_NUMBERS else []
    return f"[{', '.join([*everybody, *numbers[:_MOST_NUMBERS], *more, *counted])}]"


_MOST_NUMBERS: Final = 5
_SHOWN: Final[Mapping[type[types.Type[Any]], Callable[[Any], str]]] = {
    types.Allowed: _allowed,
    types.Phone: mask_number,
    types.Proxy: _proxy,
}
"""How values are shown of which all must not be seen."""
