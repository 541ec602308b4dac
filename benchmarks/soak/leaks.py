"""Whether a secret is in anything that the service says."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.soak.observation import Finding

SHORTEST = 8
"""Characters; what is shorter is in many texts by chance."""


@dataclass(slots=True)
class Secrets:
    """What must not be said, each with a name by which it can be spoken of.

    Attributes:
        texts: The secrets, as they could be written, and their names.
    """

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, what: str) -> None:
        """Take in a secret text."""
        if len(text) >= SHORTEST:
            self.texts[text] = what

    def add_code(self, text: str, account: str) -> None:
        """Take in the text of a QR code, and the keys in it."""
        self.add(text, f"a code of {account}")
        for number, part in enumerate(text.rpartition("#")[2].split(",")):
            self.add(part, f"part {number} of a code of {account}")

    def add_key(self, key: bytes, what: str) -> None:
        """Take in a key, in the ways it could be written."""
        self.add(key.hex(), what)
        self.add(base64.b64encode(key).decode().rstrip("="), what)
        self.add(base64.urlsafe_b64encode(key).decode().rstrip("="), what)
        self.add(" ".join(map(str, key)), what)
        self.add(", ".join(map(str, key)), what)

    @property
    def longest(self) -> int:
        """How many characters the longest has: what overlap two pieces of a text need."""
        return max(map(len, self.texts), default=0)

    def found(self, text: str, where: str) -> Iterator[Finding]:
        """Yield the secrets that a text has in it, without saying them."""
        for secret, what in self.texts.items():
            if secret in text:
                yield Finding("secret", None, f"{what} is in {where}")
