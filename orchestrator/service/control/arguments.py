"""The arguments of a request. They come from outside, so each is checked when a command takes it."""

from __future__ import annotations

from orchestrator.accounts.pipe import Pairing
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError


class BadRequest(OrchestratorError):  # noqa: N818 - what it is
    """A request is wrong: the client has another version, or is another program."""

    key = "bad_request"


class Arguments:
    """The arguments of a request, checked one by one.

    Args:
        request: The request.
        known: The names of the arguments that the command takes.

    Raises:
        BadRequest: The request has other arguments.
    """

    def __init__(self, request: Json, *known: str) -> None:
        self._values = {key: value for key, value in request.items() if key != "command"}
        unknown = self._values.keys() - set(known)
        if unknown:
            raise BadRequest(
                f"the command {request.get('command')} does not take {', '.join(sorted(unknown))}"
            )

    def name(self) -> str:
        """Return the name of the one account that the command is for."""
        value = self._values.get("name")
        if not isinstance(value, str):
            raise BadRequest("name must be an account name")
        return value

    def text(self, key: str) -> str:
        """Return a text, which may be empty."""
        value = self._values.get(key)
        if not isinstance(value, str):
            raise BadRequest(f"{key} must be a text")
        return value

    def value(self, key: str) -> object:
        """Return an argument of any form; whoever takes it checks it."""
        return self._values.get(key)

    def names(self) -> list[str]:
        """Return the names of the accounts that the command is for, each once. The list may be empty."""
        value = self._values.get("names") or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise BadRequest("names must be a list of account names")
        return list(dict.fromkeys(value))

    def flag(self, key: str) -> bool:
        """Return whether a flag is set; a flag that is missing is not set."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise BadRequest(f"{key} must be true or false")
        return value

    def number(self, key: str, default: int, most: int) -> int:
        """Return a whole number, or the default if the argument is missing."""
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
