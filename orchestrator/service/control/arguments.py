"""The arguments of a request, which come from outside, checked as a command takes them."""

from __future__ import annotations

from orchestrator.accounts.pipe import Pairing
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError


class BadRequest(OrchestratorError):  # noqa: N818 - what it is
    """A request has wrong arguments: the other side is another version, or no command of ours."""


class Arguments:
    """The arguments of a request, checked as they are taken.

    Args:
        request: The request.
        known: The names of those the command takes.

    Raises:
        BadRequest: It has others.
    """

    def __init__(self, request: Json, *known: str) -> None:
        self._values = {key: value for key, value in request.items() if key != "command"}
        unknown = self._values.keys() - set(known)
        if unknown:
            raise BadRequest(f"{request.get('command')} takes no {', '.join(sorted(unknown))}")

    def name(self) -> str:
        """Return the one account it is about."""
        value = self._values.get("name")
        if not isinstance(value, str):
            raise BadRequest("name must be the name of an account")
        return value

    def text(self, key: str) -> str:
        """Return a text, which may be empty."""
        value = self._values.get(key)
        if not isinstance(value, str):
            raise BadRequest(f"{key} must be a text")
        return value

    def names(self) -> list[str]:
        """Return the accounts it is about, each once, none if it names none."""
        value = self._values.get("names") or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise BadRequest("names must be a list of names of accounts")
        return list(dict.fromkeys(value))

    def flag(self, key: str) -> bool:
        """Return whether something is wanted; it is not if it is left out."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise BadRequest(f"{key} must be true or false")
        return value

    def number(self, key: str, default: int, most: int) -> int:
        """Return a count."""
        value = self._values.get(key, default)
        if type(value) is not int or not 0 <= value <= most:
            raise BadRequest(f"{key} must be a whole number from 0 to {most}")
        return value

    def pairing(self) -> Pairing:
        """Return how to pair."""
        value = self._values.get("pairing", "qr")
        if value == "qr":
            return "qr"
        if value == "code":
            return "code"
        raise BadRequest('pairing must be "qr" or "code"')
