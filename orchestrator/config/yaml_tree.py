"""YAML text as a tree in which everything knows its place, with limits on what reading it may cost."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from orchestrator.accounts import characters

# The one on top of libyaml is ten times as fast; PyYAML has it only where it was built with libyaml.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_NODES = 100_000
"""Values and keys in a file; 5,000 accounts with every key of their own have about as many."""
MAX_DEPTH = 16
"""Mappings and lists inside each other; the configuration has 4."""
MAX_VISITS = 4 * MAX_NODES
"""Keys looked at while aliases and merges are followed: without it, a small file could unfold to billions."""

_TYPES = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:bool": "true/false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
}
_LINES_BEFORE = 5
"""Lines above an error in which to look for what has caused it."""
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 takes for the end of a line


class YamlError(ValueError):
    """The text is no YAML, or more than may be read.

    Attributes:
        line: The line, from 1 on, or None if there is none to name.
    """

    def __init__(self, line: int | None, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(slots=True, eq=False)
class Place:
    """Where in the text something is: lines and columns from 0 on, `start` and `end` in characters.

    Attributes:
        line: Its first line.
        column: Where on that line it begins.
        start: Its first character.
        end: The one after its last.
        last_line: The line of its last character; comments and blank lines after it do not count.
    """

    line: int
    column: int
    start: int
    end: int
    last_line: int


@dataclass(slots=True, eq=False, kw_only=True)
class Scalar(Place):
    """A single value.

    Attributes:
        text: What it says.
        type: What YAML takes it for: ``text``, ``nothing``, ``true/false``, ``a number``, ``a date``,
            or ``a value with a tag``.
        plain: Whether it stands there without quotes.
    """

    text: str
    type: str
    plain: bool

    @property
    def switch(self) -> str:
        """``on`` or ``off`` in the place of whatever YAML takes for true or false, else the text."""
        if self.type != "true/false":
            return self.text
        return "on" if self.text.lower() in ("true", "yes", "on") else "off"


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence(Place):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Pair:
    """A key with its value.

    Attributes:
        key: The key.
        value: The value; for an alias, what it stands for.
        end: The character after the value, where it stands (for an alias: the alias).
        last_line: The line of the value's last character, likewise.
        is_alias: Whether the value is an alias.
    """

    key: Scalar
    value: Node
    end: int
    last_line: int
    is_alias: bool

    @property
    def is_merge(self) -> bool:
        """Whether this is YAML's ``<<``."""
        return self.key.plain and self.key.text == "<<"


@dataclass(slots=True, eq=False, kw_only=True)
class Mapping(Place):
    """Keys with values.

    Attributes:
        pairs: As they stand there, equal keys and all.
        flow: Whether it is written in braces.
    """

    pairs: list[Pair] = field(default_factory=list)
    flow: bool


Node: TypeAlias = Scalar | Sequence | Mapping


@dataclass(slots=True, eq=False)
class Duplicate:
    """A key that stands twice in a mapping, under the keys of `path`."""

    path: tuple[str, ...]
    line: int
    first_line: int


@dataclass(slots=True, eq=False)
class Document:
    """A whole file.

    Attributes:
        root: Its value, or None if there is nothing but comments.
        duplicates: Keys that stand twice.
        is_ended: Whether an explicit ``...`` ends it.
    """

    root: Node | None = None
    duplicates: list[Duplicate] = field(default_factory=list)
    is_ended: bool = False
    _visits: int = 0

    def pairs(self, mapping: Mapping) -> Iterator[Pair]:
        """Give the keys of a mapping, and then those merged in by ``<<`` that it does not have itself.

        Raises:
            YamlError: ``<<`` stands before something else than mappings, or there is too much to follow.
        """
        seen: set[str] = set()
        waiting: deque[Node] = deque([mapping])
        while waiting:
            node = waiting.popleft()
            if not isinstance(node, Mapping):
                raise YamlError(node.line + 1, "<<: expected a mapping or a list of mappings")
            self._spend(len(node.pairs), node)
            merged: list[Node] = []
            for pair in node.pairs:
                if pair.is_merge:
                    merged = pair.value.items if isinstance(pair.value, Sequence) else [pair.value]
                elif node is mapping or pair.key.text not in seen:
                    seen.add(pair.key.text)
                    yield pair
            self._spend(len(merged), node)
            waiting.extendleft(reversed(merged))

    def _spend(self, visits: int, node: Node) -> None:
        self._visits += visits
        if self._visits > MAX_VISITS:
            raise YamlError(node.line + 1, "unfolds to too much through its aliases")


def split_lines(text: str) -> list[str]:
    """Split text into lines as YAML counts them, each with what ends it."""
    starts = [0, *(match.end() for match in _BREAK.finditer(text))]
    lines = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return lines if lines[-1] else lines[:-1]


def reads_as_text(text: str) -> bool:
    """Tell whether YAML takes this for text if it stands there without quotes."""
    loader: Any = yaml.SafeLoader("")
    return bool(loader.resolve(yaml.ScalarNode, text, (True, False)) == "tag:yaml.org,2002:str")


def place(text: str, index: int) -> str:
    """Say where a character stands in a text, as an editor shows it: lines and columns from 1 on."""
    breaks = list(_BREAK.finditer(text, 0, index))
    column = index - (breaks[-1].end() if breaks else 0)
    return f"line {len(breaks) + 1}, column {column + 1}"


def parse(text: str) -> Document:
    """Read YAML text.

    Raises:
        YamlError: It is no YAML, has more than one document, or is larger or deeper than allowed.
    """
    document, broken = read(text)
    if broken is not None:
        raise broken
    return document


def parse_for(text: str, key: str) -> tuple[Document, YamlError | None]:
    """Read YAML text for the sake of one key of its top level, and no further than its value.

    This takes a third of the time of `parse` where the key stands at the end.

    Returns:
        A document with the same value for that key as in that of `parse`, though perhaps not for others; and
        why the text is no YAML, if it is none: the document ends there.
    """
    document, broken = read(text, only=key)
    root = document.root
    if not isinstance(root, Mapping):
        return document, broken
    own = [pair for pair in root.pairs if pair.key.text == key]
    if own and isinstance(own[0].value, Scalar):
        return document, None
    if not own and broken is None and not any(pair.is_merge for pair in root.pairs):
        return document, None
    return read(text)  # it is merged in or an alias, perhaps of something that was left out


def read(text: str, only: str | None = None) -> tuple[Document, YamlError | None]:
    """Read YAML text as far as it is YAML.

    Args:
        text: The text.
        only: The one key of the top level whose value is wanted; None for all.

    Returns:
        The document, and why the text is no YAML, if it is none.
    """
    builder = None
    try:
        loader = Loader(text)
        try:
            builder = _Builder(loader, only)
            return builder.build(), None
        finally:
            loader.dispose()
    except YamlError as error:
        broken = error
    except yaml.MarkedYAMLError as error:
        broken = _not_yaml(error, text)
    except yaml.reader.ReaderError as error:
        # Its position counts bytes or characters, depending on the loader.
        index = text.find(chr(error.character))
        named = f"U+{error.character:04X}" if index < 0 else characters.describe(text[index])
        where = "" if index < 0 else f" at {place(text, index)}"
        line = len(_BREAK.findall(text, 0, max(index, 0))) + 1
        broken = YamlError(line, f"not valid YAML: the character {named}{where} is not allowed in it")
    return (Document() if builder is None else builder.so_far()), broken


def _not_yaml(error: Any, text: str) -> YamlError:  # noqa: ANN401 - PyYAML's, which has no types for its marks
    mark = error.problem_mark or error.context_mark
    # The fallback loader quotes the text in its messages, which may be a password.
    problem = re.sub(r"(?<= )'[^' ]{2,}'", "'…'", error.problem or "unreadable")
    context = f" {error.context}" if error.context else ""
    hint = ""
    if mark and _has_tab(text, mark.line):
        hint = "; indent with spaces, not with tabs"
    elif mark:
        first = min(mark.line, error.context_mark.line) if error.context_mark else mark.line
        hint = _deceptive(text, first, mark.line) or _closed_above(text, mark.line)
    return YamlError(mark.line + 1 if mark else None, f"not valid YAML: {problem}{context}{hint}")


def _has_tab(text: str, line: int) -> bool:
    lines = split_lines(text)
    return line < len(lines) and re.match(r" *\t", lines[line]) is not None


def _closed_above(text: str, line: int) -> str:
    """Name an empty ``{}`` above a line that belongs into it: `orchestrator add` writes ``support: {}``."""
    lines = split_lines(text)[: line + 1]
    above = [
        number for number, one in enumerate(lines[:-1]) if one.strip() and not one.strip().startswith("#")
    ]
    if len(lines) <= line or not above:
        return ""
    closed = re.match(r"( *)[^#]*: *\{ *\} *(#.*)?$", lines[above[-1]].rstrip("\r\n"))
    indent = len(lines[-1]) - len(lines[-1].lstrip(" "))
    if closed is None or indent <= len(closed[1]):
        return ""
    return f"; remove the {{}} at the end of line {above[-1] + 1}, because line {line + 1} belongs into it"


def _deceptive(text: str, first: int, last: int) -> str:
    """Name a character that looks like one of YAML's own, or like nothing, near where the text is no YAML.

    A line that begins with a no-break space, for instance, continues the line above it, and the parser
    stumbles only at the line below.
    """
    lines = split_lines(text)[: last + 1]
    for number in range(len(lines) - 1, max(first - _LINES_BEFORE, 0) - 1, -1):
        code = re.split(r"(?:^|\s)#", lines[number], maxsplit=1)[0].rstrip("\r\n\x85\u2028\u2029")
        if (at := characters.find_deceptive(code)) is not None:
            return f"; there is {characters.describe(code[at])} at line {number + 1}, column {at + 1}"
    return ""


@dataclass(slots=True, eq=False)
class _Frame:
    """A mapping or list that is being read; `key` is the key whose value comes next."""

    node: Mapping | Sequence
    anchor: str | None
    key: Scalar | None = None
    lines: dict[str, int] = field(default_factory=dict)
    twice: int = 0


class _Builder:
    """Puts the tree together from the parser's events.

    PyYAML's own composer would do, but it has no limits: its recursion ends in RecursionError, and it reads
    a file whole before its size is known.
    """

    def __init__(self, loader: Any, only: str | None) -> None:  # noqa: ANN401 - two classes without a common base
        self._loader = loader
        self._only = only
        self._is_found = False
        self._document = Document()
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def build(self) -> Document:
        documents = 0
        while self._loader.check_event() and not self._is_found:
            event: Any = self._loader.get_event()
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlError(line, "expected a single document, found a second")
            elif isinstance(event, yaml.DocumentEndEvent):
                self._document.is_ended = bool(event.explicit)
            elif isinstance(event, yaml.NodeEvent):
                self._count(event)
                self._take(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
        if self._is_found:
            return self.so_far()
        root = self._document.root
        if isinstance(root, Scalar) and root.plain and not root.text:
            self._document.root = None  # what the parser makes of comments alone
        return self._document

    def so_far(self) -> Document:
        """Return the document after an error: it ends before what was being read."""
        if self._frames:
            self._document.root = self._frames[0].node
        return self._document

    def _count(self, event: Any, deeper: int = 0) -> None:  # noqa: ANN401 - PyYAML's events
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlError(event.start_mark.line + 1, f"more than {MAX_NODES:,} keys and values")
        if len(self._frames) + deeper > MAX_DEPTH:
            raise YamlError(event.start_mark.line + 1, f"nested more than {MAX_DEPTH} levels deep")

    def _pass_over(self) -> Any:  # noqa: ANN401
        """Read to the end of the mapping or list that has just begun, and return the event that ends it.

        A command that looks for the service may come by here with thousands of events, so it is kept short.
        """
        depth, deepest = 1, MAX_DEPTH - len(self._frames) + 1
        for event in iter(self._loader.get_event, None):
            kind = type(event)
            if kind in (yaml.ScalarEvent, yaml.AliasEvent):
                self._nodes += 1
            elif kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent):
                self._count(event, depth - 1)
                depth += 1
            else:
                depth -= 1
                if not depth:
                    break
            if depth > deepest:
                self._count(event, depth - 1)
        return event

    def _is_wanted(self) -> bool:
        if self._only is None or len(self._frames) != 1:
            return True
        key = self._frames[0].key
        return key is None or key.text == self._only

    def _take(self, event: Any) -> None:  # noqa: ANN401
        start, end, anchor = event.start_mark, event.end_mark, event.anchor
        if isinstance(event, yaml.AliasEvent):
            node = self._anchors.get(anchor)
            if node is None:
                raise YamlError(start.line + 1, "an alias without an anchor of that name before it")
            self._add(node, end.index, end.line, alias_line=start.line)
        elif isinstance(event, yaml.ScalarEvent):
            # Blocks (| and >) end where the next line begins.
            last = end.line - 1 if end.column == 0 and end.line > start.line else end.line
            scalar = Scalar(
                *(start.line, start.column, start.index, end.index, last),
                text=event.value,
                type=self._type(event),
                plain=not event.style,
            )
            self._anchor(anchor, scalar)
            self._add(scalar, end.index, last)
        else:
            where = (start.line, start.column, start.index, end.index, start.line)
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            opened = Mapping(*where, flow=bool(event.flow_style)) if is_mapping else Sequence(*where)
            wanted = self._is_wanted()
            self._frames.append(_Frame(opened, anchor))
            if not wanted:
                self._close(self._pass_over())

    def _close(self, event: Any) -> None:  # noqa: ANN401
        frame = self._frames.pop()
        node = frame.node
        if event.end_mark.index > event.start_mark.index:  # a bracket; the end of a block has no text
            node.end, node.last_line = event.end_mark.index, event.end_mark.line
        self._anchor(frame.anchor, node)
        self._add(node, node.end, node.last_line)

    def _anchor(self, name: str | None, node: Node) -> None:
        # Known only once it is complete: nothing can contain itself.
        if name is not None:
            self._anchors[name] = node

    def _add(self, node: Node, end: int, last_line: int, *, alias_line: int | None = None) -> None:
        if not self._frames:
            self._document.root = node
            return
        frame = self._frames[-1]
        frame.node.end = max(frame.node.end, end)
        frame.node.last_line = max(frame.node.last_line, last_line)
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar) or alias_line is not None:
                line = node.line if alias_line is None else alias_line
                raise YamlError(line + 1, "expected a simple key, found a list, a mapping or an alias")
            frame.key = node
        else:
            pair, frame.key = Pair(frame.key, node, end, last_line, alias_line is not None), None
            frame.node.pairs.append(pair)
            self._is_found = (
                pair.key.text == self._only and len(self._frames) == 1 and isinstance(node, Scalar)
            )
            first = frame.lines.setdefault(pair.key.text, pair.key.line)
            if len(frame.lines) + frame.twice < len(frame.node.pairs):
                frame.twice += 1
                path = tuple(frame.key.text for frame in self._frames if frame.key is not None)
                self._document.duplicates.append(
                    Duplicate((*path, pair.key.text), pair.key.line + 1, first + 1)
                )

    def _type(self, event: Any) -> str:  # noqa: ANN401
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == "tag:yaml.org,2002:merge":
            return "text"
        return _TYPES.get(tag, "a value with a tag")
