"""What is wrong with a configuration file: collected, and told all at once, each problem with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.accounts import characters
from orchestrator.config import yaml_tree
from orchestrator.config.file import shown
from orchestrator.config.types import Unfit, explain, segment, strange
from orchestrator.config.yaml_tree import Duplicate, Node, Scalar, YamlError

MAX_PROBLEMS = 200
"""Problems that are shown; somebody who gave the wrong file need not read more."""
EMPTY = "expected settings, found an empty file; for no accounts, write `accounts: {}`"
"""Not the same as no accounts: a full disk that emptied the file must not end them at a reload."""

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is wrong, and where; `line` counts from 1 on."""

    line: int | None
    path: KeyPath
    text: str


class Problems:
    """The problems of one file.

    Args:
        text: The file's text, in which the places of characters are counted.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[_Problem] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, node: Node | None, path: KeyPath, text: str) -> None:
        """Note a problem of what stands at a node; of nothing in particular if there is none."""
        self._found.append(_Problem(node.line + 1 if node else None, path, text))

    def add_unfit(self, node: Node | None, path: KeyPath, unfit: Unfit) -> None:
        """Note that a value is not what its key needs."""
        at = strange(unfit, node)
        named = self._named(node, at) if isinstance(node, Scalar) and at is not None else ""
        self.add(node, path, explain(unfit, node) + named)

    def add_broken(self, error: YamlError) -> None:
        """Note that the text is no YAML, or more than may be read."""
        self._found.append(_Problem(error.line, (), str(error)))

    def add_duplicates(self, duplicates: Sequence[Duplicate]) -> None:
        """Note keys that stand in the same mapping twice."""
        for one in duplicates:
            text = f"expected every key once, found this one on line {one.first_line}, too"
            self._found.append(_Problem(one.line, one.path, text))

    def strange(self, node: Node) -> str:
        """Return what to add about a key or name with a character that none has."""
        index = characters.find_strange(node.text) if isinstance(node, Scalar) else None
        return "" if index is None or not isinstance(node, Scalar) else self._named(node, index)

    def _named(self, scalar: Scalar, index: int) -> str:
        """Return what to add about a character of a value: its name, and its place in the file."""
        character = scalar.text[index]
        at = self._text.find(character, scalar.start, scalar.end)
        if at >= 0:
            return f"; it has {characters.describe(character)} at {yaml_tree.place(self._text, at)}"
        # It is written as an escape, which for a line break, for instance, says it all.
        return "" if character.isascii() else f"; it has {characters.at(scalar.text, index)}"

    def report(self, path: str | Path) -> str:
        """Return all problems in the order of the file, a line each.

        Args:
            path: The file.
        """
        ordered = list(dict.fromkeys(sorted(self._found, key=lambda problem: problem.line or 0)))
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
