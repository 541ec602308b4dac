"""The text of a configuration with an account more or less, and everything else left as it was written.

The text itself is edited, at the places that the YAML tree gives: whatever an operator did with comments,
blank lines, quotes, columns and line endings stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from orchestrator.config import yaml_tree
from orchestrator.config.yaml_tree import Document, Pair, Scalar

# What begins with a digit is a number to one YAML or another, unless it is a size.
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9._/:@%+-]*[A-Za-z0-9])?|[0-9]+[KMGT]")
_BREAKS = re.compile(r"(?:\r\n|[\n\r\x85\u2028\u2029])\Z")


def written(value: str, *, quoted: bool = False) -> str:
    """Return a text as YAML that reads as that very text."""
    if not quoted and _PLAIN.fullmatch(value) and yaml_tree.reads_as_text(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class CannotEditError(Exception):
    """The text has a form that is not edited here."""


class AccountsText:
    """A configuration's text with its tree, and the edits to it."""

    def __init__(self, text: str, document: Document) -> None:
        self._text = text
        self._lines = yaml_tree.split_lines(text)
        match = re.search(r"\r\n|\n|\r", text)
        self._newline = match[0] if match else "\n"
        if not isinstance(document.root, yaml_tree.Mapping):
            raise CannotEditError
        self._root = document.root
        self._is_ended = document.is_ended
        self._accounts = next((pair for pair in self._root.pairs if pair.key.text == "accounts"), None)

    def with_account(self, name: str, entry: Mapping[str, str]) -> str:
        """Return the text with an account more."""
        pair = self._accounts
        if pair is None:
            return self._with_accounts_and(name, entry)
        if pair.is_alias:
            raise CannotEditError
        value = pair.value
        if isinstance(value, yaml_tree.Mapping):
            if value.flow and (value.pairs or self._root.flow):
                return self._with_in_braces(value, name, entry)
            if not value.flow:
                return self._with_after_last(value, name, entry)
        if self._root.flow:
            raise CannotEditError
        return self._with_first(pair, name, entry)

    def without_account(self, name: str) -> str:
        """Return the text with an account less."""
        pair = self._accounts
        accounts = pair.value if pair and not pair.is_alias else None
        if pair is None or not isinstance(accounts, yaml_tree.Mapping):
            raise CannotEditError
        index = next((at for at, entry in enumerate(accounts.pairs) if entry.key.text == name), None)
        if index is None:  # it comes out of a merge
            raise CannotEditError
        if accounts.flow:
            return self._without_in_braces(accounts.pairs, index)
        return self._without_lines(accounts.pairs, index, pair.key.line + 1)

    def with_renamed(self, name: str, new: str) -> str:
        """Return the text with an account called otherwise, also where webhooks and bots name it."""
        pair = self._accounts
        accounts = pair.value if pair and not pair.is_alias else None
        if not isinstance(accounts, yaml_tree.Mapping):
            raise CannotEditError
        keys = [entry.key for entry in accounts.pairs if entry.key.text == name]
        if len(keys) != 1:  # it comes out of a merge
            raise CannotEditError
        places = {one.start: one for one in (keys[0], *self._mentions(name))}
        text = self._text
        for start in sorted(places, reverse=True):  # what is before a place stays where it is
            end = places[start].end
            before = text[start:end]
            if before == name:
                after = written(new)
            elif before in (f'"{name}"', f"'{name}'"):
                after = before[0] + new + before[0]
            else:
                raise CannotEditError  # an anchor, a tag, an escape
            text = text[:start] + after + text[end:]
        return text

    def _mentions(self, name: str) -> Iterator[Scalar]:
        """Yield where webhooks and bots name an account."""
        for section in self._root.pairs:
            consumers = section.value
            if section.key.text not in ("webhooks", "bots") or not isinstance(consumers, yaml_tree.Mapping):
                continue
            for consumer in consumers.pairs:
                about = consumer.value
                for pair in about.pairs if isinstance(about, yaml_tree.Mapping) else ():
                    if pair.key.text == "accounts":
                        value = pair.value
                        items = value.items if isinstance(value, yaml_tree.Sequence) else [value]
                        yield from (one for one in items if isinstance(one, Scalar) and one.text == name)

    # In blocks: whole lines come and go.

    def _with_accounts_and(self, name: str, entry: Mapping[str, str]) -> str:
        if self._root.flow:
            raise CannotEditError
        column = self._root.column
        at = self._end(self._root.last_line) if self._is_ended else len(self._lines)
        block = ["", " " * column + "accounts:", *self._entry(name, entry, column + self._indent(), None)]
        return self._insert(at, block)

    def _with_first(self, pair: Pair, name: str, entry: Mapping[str, str]) -> str:
        """Put the first account under ``accounts:``, ``accounts: null`` or ``accounts: {}``."""
        column = self._column(pair.key)
        at = self._after_comments(pair.last_line + 1, column + 1)
        text = self._text
        if pair.end > pair.value.start:
            text = text[: pair.value.start].rstrip(" \t") + text[pair.end :]
            if len(yaml_tree.split_lines(text)) != len(self._lines):
                raise CannotEditError  # braces over several lines
            self._lines = yaml_tree.split_lines(text)
        return self._insert(at, self._entry(name, entry, column + self._indent(), None))

    def _with_after_last(self, accounts: yaml_tree.Mapping, name: str, entry: Mapping[str, str]) -> str:
        last = accounts.pairs[-1]
        column = self._column(last.key)
        at = self._after_comments(self._end(last.last_line), column)
        block = self._entry(name, entry, column, accounts)
        first = last.key.line
        while self._comment_column(first - 1) == column:
            first -= 1
        if len(accounts.pairs) > 1 and self._is_blank(first - 1):
            block.insert(0, "")  # the others have a blank line between them, too
        return self._insert(at, block)

    def _without_lines(self, pairs: list[Pair], index: int, top: int) -> str:
        pair = pairs[index]
        column = self._column(pair.key)
        first = pair.key.line
        end = self._after_comments(self._end(pair.last_line), column + 1)
        is_last = index == len(pairs) - 1
        at_end = end == len(self._lines)
        if self._is_blank(first - 1) and (is_last or at_end or self._is_blank(end)):
            first -= 1
        elif first == top and not is_last and self._is_blank(end):
            end += 1
        kept = "".join(self._lines[:first])
        if at_end and not _BREAKS.search(self._lines[-1]):
            kept = _BREAKS.sub("", kept)  # the file had no line ending at its end, and has none now
        return kept + "".join(self._lines[end:])

    def _entry(
        self, name: str, entry: Mapping[str, str], column: int, accounts: yaml_tree.Mapping | None
    ) -> list[str]:
        key = " " * column + written(name) + ":"
        if not entry:
            return [key + " {}"]
        indent = self._indent(accounts)
        return [key, *(" " * (column + indent) + f"{name}: {value}" for name, value in entry.items())]

    def _indent(self, accounts: yaml_tree.Mapping | None = None) -> int:
        """Return by how many columns the file indents: as in the accounts, else anywhere."""
        for mapping in (accounts, self._root):
            for pair in reversed(mapping.pairs) if mapping else ():
                value = pair.value
                is_block = isinstance(value, yaml_tree.Mapping) and not value.flow and not pair.is_alias
                if is_block and value.column > pair.key.column:
                    return value.column - pair.key.column
        return 2

    def _insert(self, at: int, block: list[str]) -> str:
        before, after = "".join(self._lines[:at]), "".join(self._lines[at:])
        if before and not _BREAKS.search(before):
            return before + "".join(self._newline + line for line in block) + after
        return before + "".join(line + self._newline for line in block) + after

    def _column(self, key: Scalar) -> int:
        if self._lines[key.line][: key.column].strip(" "):
            raise CannotEditError  # something stands before the key: "? key", an anchor, a tag
        return key.column

    def _after_comments(self, at: int, column: int) -> int:
        """Return the line after the comments from a line on that begin at a column or behind it."""
        end = at
        while at < len(self._lines):
            if self._comment_column(at) >= column:
                end = at + 1
            elif not self._is_blank(at):
                break
            at += 1
        return end

    def _end(self, last_line: int) -> int:
        """Return the line after a value; a text block's own end is behind the blank lines that follow it."""
        while self._is_blank(last_line):
            last_line -= 1
        return last_line + 1

    def _comment_column(self, line: int) -> int:
        text = self._lines[line] if 0 <= line < len(self._lines) else ""
        return text.index("#") if text.lstrip(" ").startswith("#") else -1

    def _is_blank(self, line: int) -> bool:
        return 0 <= line < len(self._lines) and not self._lines[line].strip()

    # In braces: characters come and go.

    def _with_in_braces(self, accounts: yaml_tree.Mapping, name: str, entry: Mapping[str, str]) -> str:
        values = ", ".join(f'"{key}": {_in_braces(value)}' for key, value in entry.items())
        text = f'"{name}": {{{values}}}'
        if not accounts.pairs:
            at = accounts.start + 1
        else:
            last = accounts.pairs[-1]
            at = last.end
            before = self._lines[last.key.line][: last.key.column]
            # One a line, as in JSON for people, or all on one.
            text = ", " + text if before.strip() else "," + self._newline + before + text
        return self._text[:at] + text + self._text[at:]

    def _without_in_braces(self, pairs: list[Pair], index: int) -> str:
        start, end = pairs[index].key.start, pairs[index].end
        if index + 1 < len(pairs):
            end = pairs[index + 1].key.start
        elif index > 0:
            start = pairs[index - 1].end
        elif comma := re.match(r"\s*,", self._text[end:]):
            end += comma.end()
        return self._text[:start] + self._text[end:]


def _in_braces(value: str) -> str:
    return value if value.startswith('"') or value in ("true", "false") else f'"{value}"'
