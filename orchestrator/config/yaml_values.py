"""The text of a configuration with a key of an account set, changed or taken out, and all else as it was."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from orchestrator.config import yaml_tree
from orchestrator.config.yaml_edit import AccountsText, CannotEditError, written
from orchestrator.config.yaml_tree import Mapping, Node, Pair, Scalar, Sequence

_COLON = re.compile(r"[ \t]*:")
_JSON = re.compile(r"true|false|null|-?\d+(?:\.\d+)?|\"(?:[^\"\\]|\\[\"\\])*\"")


class _Step(NamedTuple):
    """A pair on the way to a value, with where it stands."""

    mapping: Mapping
    place: int

    @property
    def pair(self) -> Pair:
        return self.mapping.pairs[self.place]


class ValuesText(AccountsText):
    """A configuration's text with its tree, and edits to the keys of one account. One edit each."""

    def place(self, name: str) -> int:
        """Return where an account begins in the text.

        Raises:
            CannotEditError: The account does not stand in the text itself.
        """
        return self._account(name).pair.key.start

    def with_value(self, name: str, keys: tuple[str, ...], value: str) -> str:
        """Return the text with a value of an account.

        Args:
            name: The account.
            keys: The key, with the sections that it stands in before.
            value: The value as YAML that fits on one line, also within braces.

        Raises:
            CannotEditError: The account shares its keys with others, or stands there in an unusual form.
        """
        step = self._account(name)
        for depth, key in enumerate(keys):
            holder = step.pair
            mapping = self._own(holder)
            if mapping is None:
                return self._filled(step, keys[depth:], value)
            index = _find(mapping, key)
            if index is None:
                return self._with_key(mapping, keys[depth:], value)
            step = _Step(mapping, index)
        if step.pair.is_alias or isinstance(step.pair.value, Mapping):
            raise CannotEditError
        return self._replaced(step.pair, value)

    def without_value(self, name: str, keys: tuple[str, ...]) -> str:
        """Return the text without a value of an account; the same text if the account has none of its own.

        Args:
            name: The account.
            keys: The key, with the sections that it stands in before.

        Raises:
            CannotEditError: As with `with_value`.
        """
        account = self._account(name)
        steps = [account]
        for key in keys:
            mapping = self._own(steps[-1].pair)
            index = None if mapping is None else _find(mapping, key)
            if mapping is None or index is None:
                return self._text
            steps.append(_Step(mapping, index))
        while len(steps) > 2 and len(steps[-1].mapping.pairs) == 1:
            steps.pop()  # a section that is left without a key goes, too
        mapping, index = steps[-1]
        if mapping.flow:
            return self._without_in_braces(mapping.pairs, index)
        if len(mapping.pairs) == 1:
            above = account.pair.key
            line = self._lines[above.line]
            at = above.column + self._after_colon(above) - above.start
            self._lines[above.line] = line[:at] + " {}" + line[at:]
        return self._without_lines(mapping.pairs, index, steps[-2].pair.key.line + 1)

    def _account(self, name: str) -> _Step:
        pair = self._accounts
        accounts = pair.value if pair and not pair.is_alias else None
        if not isinstance(accounts, Mapping):
            raise CannotEditError
        index = _find(accounts, name)
        if index is None:  # it comes out of a merge
            raise CannotEditError
        return _Step(accounts, index)

    def _own(self, holder: Pair) -> Mapping | None:
        """Return the keys that a pair holds; None if it holds none yet."""
        value = holder.value
        if holder.is_alias:
            raise CannotEditError
        if isinstance(value, Scalar) and value.type == "nothing":
            return None
        if not isinstance(value, Mapping) or self._text[value.start] in "!*":
            raise CannotEditError
        return value if value.pairs else None

    def _replaced(self, pair: Pair, value: str) -> str:
        """Put a value in the place of the one that a key has."""
        old, text = pair.value, self._text
        at = self._after_colon(pair.key)
        value = self._in_style_of(pair.key, value)
        if old.start >= old.end:  # nothing
            return f"{text[:at]} {value}{text[at:]}"
        if text[old.start] in "&!":
            raise CannotEditError
        if isinstance(old, Sequence) and text[old.start] == "-":
            first, last = self._lines[pair.key.line], self._lines[pair.last_line]
            start = sum(map(len, self._lines[: pair.key.line]))
            end = sum(map(len, self._lines[: pair.last_line])) + len(last.rstrip("\r\n\x85\u2028\u2029"))
            beside = text[at : start + len(first)].rstrip()  # such as a comment
            return f"{text[:at]} {value}{beside}{text[end:]}"
        end = old.start + len(text[old.start : old.end].rstrip())  # a block of text ends on a further line
        return text[: old.start] + value + text[end:]

    def _with_key(self, mapping: Mapping, keys: tuple[str, ...], value: str) -> str:
        """Put a key behind the others of a mapping."""
        last = mapping.pairs[-1]
        if not mapping.flow:
            column = self._column(last.key)
            return self._insert(self._end(last.last_line), self._block(keys, value, column))
        entry = self._in_flow(keys, value, last.key)
        before = self._lines[last.key.line][: last.key.column]
        more = ", " + entry if before.strip() else "," + self._newline + before + entry
        return self._text[: last.end] + more + self._text[last.end :]

    def _filled(self, step: _Step, keys: tuple[str, ...], value: str) -> str:
        """Put the first key into an account or a section that has none: ``{}``, ``null`` or nothing."""
        pair, text = step.pair, self._text
        at = self._after_colon(pair.key)
        end = max(at, pair.value.end) if pair.value.end > pair.value.start else at
        if step.mapping.flow:
            return f"{text[:at]} {{{self._in_flow(keys, value, pair.key)}}}{text[end:]}"
        column = self._column(pair.key)
        line = self._after_comments(pair.key.line + 1, column + 1)
        text = text[:at] + text[end:]
        if len(yaml_tree.split_lines(text)) != len(self._lines):
            raise CannotEditError  # braces over several lines
        self._lines = yaml_tree.split_lines(text)
        return self._insert(line, self._block(keys, value, column + self._indent(step.mapping)))

    def _block(self, keys: tuple[str, ...], value: str, column: int) -> list[str]:
        """Return the lines of a key, with the sections that it stands in."""
        lines = []
        for key in keys[:-1]:
            lines.append(" " * column + f"{key}:")
            column += self._indent()
        return [*lines, " " * column + f"{keys[-1]}: {value}"]

    def _in_flow(self, keys: tuple[str, ...], value: str, like: Scalar) -> str:
        """Return a key as it stands in braces, with the sections that it stands in."""
        quoted = self._text[like.start] == '"'
        text = self._in_style_of(like, value)
        for key in reversed(keys):
            name = f'"{key}"' if quoted else written(key)
            text = f"{name}: {text}" if key is keys[-1] else f"{name}: {{{text}}}"
        return text

    def _in_style_of(self, key: Scalar, value: str) -> str:
        """Return a value that is JSON if its key is."""
        if self._text[key.start] != '"' or _JSON.fullmatch(value):
            return value
        root = yaml_tree.parse(value).root
        if isinstance(root, Sequence):
            return json.dumps([_text(item) for item in root.items], ensure_ascii=False)
        return json.dumps(_text(root), ensure_ascii=False)

    def _after_colon(self, key: Scalar) -> int:
        """Return the place behind the colon of a key."""
        match = _COLON.match(self._text, key.end)
        if match is None:
            raise CannotEditError
        return match.end()


def _find(mapping: Mapping, key: str) -> int | None:
    """Return where a key stands among those of a mapping itself, None if it does not."""
    found = [at for at, pair in enumerate(mapping.pairs) if pair.key.text == key and not pair.is_merge]
    if len(found) > 1:
        raise CannotEditError
    return found[0] if found else None


def _text(node: Node | None) -> str:
    if not isinstance(node, Scalar):
        raise CannotEditError
    return node.text
