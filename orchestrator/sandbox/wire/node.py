"""Stanzas: the XML elements that WhatsApp's clients and servers exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.sandbox.wire.jid import JID


class NodeError(ValueError):
    """A stanza lacks what its kind must have; the message names the element and the part."""


@dataclass(slots=True)
class Node:
    """One element.

    Attributes:
        tag: Its name.
        attrs: Attributes; addresses are JID values and every other value is text.
        content: Child elements, raw bytes, or nothing. Text content is bytes: clients
            ignore any other form of it.
    """

    tag: str
    attrs: Mapping[str, str | JID] = field(default_factory=dict)
    content: Sequence[Node] | bytes | None = None

    @property
    def children(self) -> Sequence[Node]:
        """The child elements; empty where the content is bytes or nothing."""
        return () if self.content is None or isinstance(self.content, bytes) else self.content

    @property
    def data(self) -> bytes:
        """The raw content; empty where the content is elements or nothing."""
        return self.content if isinstance(self.content, bytes) else b""

    def find(self, *path: str) -> Node | None:
        """Return the first descendant along these tags, or None."""
        node = self
        for tag in path:
            for child in node.children:
                if child.tag == tag:
                    node = child
                    break
            else:
                return None
        return node

    def need(self, *path: str) -> Node:
        """Return the first descendant along these tags.

        Raises:
            NodeError: There is none.
        """
        found = self.find(*path)
        if found is None:
            raise NodeError(f"<{self.tag}> has no <{'/'.join(path)}>")
        return found

    def all(self, tag: str) -> Iterator[Node]:
        """Yield the children of that tag."""
        return (child for child in self.children if child.tag == tag)

    def text(self, name: str, default: str = "") -> str:
        """Return an attribute as text, an address in its written form."""
        return str(self.attrs.get(name, default))

    def jid(self, name: str) -> JID:
        """Return an attribute that must be an address.

        Raises:
            NodeError: It is missing, or neither a JID value nor text that reads as one.
        """
        value = self.attrs.get(name)
        if isinstance(value, JID):
            return value
        if value is None:
            raise NodeError(f"<{self.tag}> has no address {name!r}")
        try:
            return JID.parse(value)
        except ValueError as error:
            raise NodeError(f"<{self.tag} {name}>: {error}") from None

    def need_data(self, *path: str, size: int | None = None) -> bytes:
        """Return the raw content of a descendant, of this many bytes where a size is given.

        Raises:
            NodeError: It is missing or has another size.
        """
        data = self.need(*path).data
        if not data or (size is not None and len(data) != size):
            wanted = f"{size} bytes" if size is not None else "bytes"
            raise NodeError(f"<{'/'.join((self.tag, *path))}> holds {len(data)} bytes, not {wanted}")
        return data
