"""Adding and removing accounts for clients of the gateway: the configuration is edited, then read again.

Commands on this machine edit the file as the operator, who owns it. Here the service does it, which may not
be allowed to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from orchestrator.accounts.names import is_name
from orchestrator.config import edit, reader
from orchestrator.config.tags import check_tags
from orchestrator.control.protocol import Json
from orchestrator.errors import ConfigError, OrchestratorError, StateError
from orchestrator.service.control.arguments import Arguments, BadRequest

VALUES: Final = ("phone", "proxy", "device_name", "memory_limit")
"""What a client may set of a new account. A file with a secret is the operator's to name."""


def parse(request: Json) -> dict[str, Any]:
    """Return what a client wants of a new account, checked. The errors quote nothing: a proxy has a password.

    Raises:
        BadRequest: A value is not valid.
    """
    arguments = Arguments(request, "name", *VALUES, "enabled", "tags")
    if not is_name(arguments.name()):
        raise BadRequest("name is no name for an account")
    found: dict[str, Any] = {"enabled": bool(request.get("enabled", True)), "tags": _tags(arguments)}
    arguments.flag("enabled")
    for key in VALUES:
        if request.get(key) is None:
            continue
        value = arguments.text(key)
        try:
            reader.check_value(key, value, {})
        except ConfigError:
            raise BadRequest(f"{key} is not valid") from None
        found[key] = value
    return found


def _tags(arguments: Arguments) -> tuple[str, ...]:
    tags = arguments.value("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadRequest("tags must be a list of texts")
    try:
        return check_tags(tags)
    except ConfigError:
        raise BadRequest("tags is not valid") from None


def add(file: Path, state: Path, name: str, values: dict[str, Any]) -> None:
    """Add an account to the configuration; this waits for the file system.

    Args:
        file: The configuration.
        state: The state folder in use.
        name: The account's name.
        values: What `parse` has returned.

    Raises:
        ConfigError: There is such an account already, or the file cannot be edited.
        OrchestratorError: The service may not write the file.
    """
    try:
        edit.add_account(file, name, state_dir=state, **values)
    except StateError as error:
        raise _not_writable(error, f"orchestrator add {name}") from None


def remove(file: Path, state: Path, name: str) -> None:
    """Take an account out of the configuration; this waits for the file system.

    Args:
        file: The configuration.
        state: The state folder in use.
        name: The account's name.

    Raises:
        NoSuchAccount: There is no such account in it.
        ConfigError: The file cannot be edited.
        OrchestratorError: The service may not write the file.
    """
    try:
        edit.remove_account(file, name, state_dir=state)
    except StateError as error:
        raise _not_writable(error, f"orchestrator remove {name}") from None


def _not_writable(error: StateError, command: str) -> OrchestratorError:
    if error.key == "config_changed":
        return error
    return OrchestratorError(
        f"the service cannot change its configuration: {error}; run `{command}` on the machine, as a user who"
        " may write the file",
        key="config_not_writable",
    )
