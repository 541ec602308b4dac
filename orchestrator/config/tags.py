"""The type of an account's tags in the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.accounts import characters
from orchestrator.accounts.names import NAME_PATTERN, NAME_RULE, is_name, shorten
from orchestrator.accounts.settings import MOST_TAGS
from orchestrator.config.types import Type, Unfit, Where, quote, single
from orchestrator.config.yaml_tree import Node, Scalar, Sequence, reads_as_text
from orchestrator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Tags(Type[tuple[str, ...]]):
    """A tag, or a list of tags. A tag has the form of a name; the same tag twice counts once."""

    @property
    def expected(self) -> str:
        return f"a tag, or a list of at most {MOST_TAGS}; a tag has {NAME_RULE}"

    def check(self, node: Node | Mapping[str, Any], where: Where) -> tuple[str, ...]:
        """See `Type.check`; here, the value may be a list."""
        if not isinstance(node, Sequence):
            return self.read(single(node), where)
        if len(node.items) > MOST_TAGS:
            raise Unfit(f"at most {MOST_TAGS} tags", f"{len(node.items):,}")
        return tuple(dict.fromkeys(self._one(single(item)) for item in node.items))

    def read(self, value: Scalar, where: Where) -> tuple[str, ...]:
        del where
        return (self._one(value),)

    def write(self, value: tuple[str, ...]) -> str:
        return f"[{', '.join(map(_written, value))}]"

    def schema(self) -> dict[str, Any]:
        one = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
        return {"anyOf": [one, {"type": "array", "items": one, "maxItems": MOST_TAGS}]}

    def _one(self, value: Scalar) -> str:
        if value.type != "text":
            found = f"one that YAML takes for {value.type}" if value.text else value.type
            raise Unfit("a tag in quotes", found)
        if not is_name(value.text):
            raise Unfit(f"a tag of {NAME_RULE}", quote(value.text))
        return value.text


def _written(tag: str) -> str:
    return tag if reads_as_text(tag) else f'"{tag}"'


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags of a new account, each once, before they are written to the file.

    Raises:
        ConfigError: One of them is none, or there are too many.
    """
    found = tuple(dict.fromkeys(tags))
    if len(found) > MOST_TAGS:
        raise ConfigError(f"tags: expected at most {MOST_TAGS}, found {len(found):,}")
    for tag in found:
        if not is_name(tag):
            raise ConfigError(
                f"tags: expected a tag of {NAME_RULE}, found {shorten(tag)}{characters.remark(tag)}"
            )
    return found
