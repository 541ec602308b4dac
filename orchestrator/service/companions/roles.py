"""What the gateway may ask for, and for whom. Pure.

The gateway is the first that strangers would break into. So the service checks again what the gateway says a
client may do: whether there is such a client, what it may do, and of which accounts it may know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator.access import scopes
from orchestrator.access.scopes import GATEWAY, Principal, Scope
from orchestrator.accounts.names import is_name, no_such_account
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.service.control.arguments import BadRequest


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may ask for a command.

    Attributes:
        scope: What a client needs for it; None: no client may.
        for_gateway: Whether the gateway may ask for it by itself.
        one: Whether it is about one account, which `name` names; otherwise about those in `names`.
        everything: Whether it concerns all accounts, so that a client who sees only some may not give it.
    """

    scope: Scope | None
    for_gateway: bool = False
    one: bool = True
    everything: bool = False


RULES: Final[Mapping[str, Rule]] = {
    "ping": Rule(None, for_gateway=True, one=False),
    "companions": Rule(None, for_gateway=True, one=False),
    "list": Rule("read", for_gateway=True, one=False),
    "watch": Rule("read", for_gateway=True, one=False),
    "explain": Rule("read"),
    "media": Rule("read"),
    "look": Rule("read"),
    "settings": Rule("read"),
    "strips": Rule("read", one=False),
    "facts": Rule(None, for_gateway=True, one=False),
    "send": Rule("send"),
    "take_back": Rule("send"),
    "act": Rule("send"),
    "start": Rule("operate"),
    "stop": Rule("operate"),
    "restart": Rule("operate"),
    "repair": Rule("operate"),
    "code": Rule("operate"),
    "maintenance": Rule("operate", one=False, everything=True),
    "watching": Rule("operate", one=False),
    "add": Rule("operate"),
    "remove": Rule("operate"),
    "history": Rule(None, for_gateway=True),
    "taken": Rule(None, for_gateway=True, one=False),
    "read_messages": Rule(None, for_gateway=True, one=False),
    "consumer_terms": Rule(None, for_gateway=True, one=False),
    "consumer_take_up": Rule(None, for_gateway=True, one=False),
    "consumer_taken_up": Rule(None, for_gateway=True, one=False),
    "consumer_follow": Rule(None, for_gateway=True, one=False),
    "consumer_stand": Rule(None, for_gateway=True, one=False),
    "consumer_pull": Rule(None, for_gateway=True, one=False),
}
"""All commands that go over the port. No other one exists there."""

Asker: TypeAlias = Mapping[str, object]
"""For whom the gateway asks, as it says: an object of one key, which is ``token`` with an identifier, ``bot``
with a name, or ``local`` or ``gateway`` with true."""
FindToken: TypeAlias = Callable[[str], Principal | None]
"""Returns who holds the token of an identifier, None if there is none, or it has expired."""


def who(
    asker: object, find_token: FindToken, bots: Mapping[str, frozenset[str] | None], *, local: bool
) -> Principal:
    """Return who asks.

    Args:
        asker: What the gateway says: an `Asker`, if it is honest.
        find_token: Finds tokens.
        bots: The accounts of each bot, None for all.
        local: Whether there is a UNIX socket on which no token is needed.

    Raises:
        BadRequest: The gateway says nothing of the kind.
        OrchestratorError: There is no such client any more.
    """
    if not isinstance(asker, dict) or len(asker) != 1:
        raise BadRequest("as must say for whom this is asked")
    ((kind, value),) = asker.items()
    if kind == "gateway" and value is True:
        return GATEWAY
    if kind == "local" and value is True and local:
        return scopes.LOCAL
    if kind == "bot" and isinstance(value, str) and value in bots:
        return scopes.bot(value, bots[value])
    if kind == "token" and isinstance(value, str):
        found = find_token(value)
        if found is not None:
            return found
    raise OrchestratorError(
        "whoever asked may not ask any more: the token was removed or has expired, or the configuration has"
        " changed",
        key="permission_denied",
    )


def rule_of(command: str) -> Rule:
    """Return the rule of a command.

    Raises:
        OrchestratorError: There is no such command on the port.
    """
    rule = RULES.get(command)
    if rule is None:
        raise OrchestratorError(f"{command} cannot be asked for here", key="unknown_command")
    return rule


def check(command: str, arguments: Json, principal: Principal) -> None:
    """See that somebody may give a command.

    Args:
        command: It.
        arguments: With what; nothing about them is checked yet but the names of accounts.
        principal: Who asks.

    Raises:
        BadRequest: An account is not named as it must be.
        NoSuchAccount: The command names an account of which this one may not know.
        OrchestratorError: This one may not give the command.
    """
    rule = rule_of(command)
    if principal.kind == "gateway":
        allowed = rule.for_gateway
    else:
        allowed = rule.scope is not None and principal.may(rule.scope)
    if not allowed:
        raise OrchestratorError(
            f"{command} is not allowed here: the scope is missing", key="permission_denied"
        )
    if rule.everything and principal.accounts is not None and principal.kind != "gateway":
        raise OrchestratorError(
            f"{command} concerns all accounts: it is not allowed to who sees only some",
            key="permission_denied",
        )
    names = named(arguments)
    if rule.one and len(names) != 1:
        raise BadRequest("name must be an account name")
    hidden = [name for name in names if not principal.sees(name)]
    if hidden:
        raise no_such_account(*hidden)


def named(arguments: Json) -> list[str]:
    """Return the accounts that a request names, by ``name`` or ``names``.

    Raises:
        BadRequest: They are named otherwise, or by what cannot be a name.
    """
    if "name" in arguments and "names" in arguments:
        raise BadRequest("name and names cannot be combined")
    names = arguments.get("names") or []
    if "name" in arguments:
        names = [arguments["name"]]
    if not isinstance(names, list) or not all(isinstance(name, str) and is_name(name) for name in names):
        raise BadRequest("names must be a list of account names")
    return list(dict.fromkeys(names))
