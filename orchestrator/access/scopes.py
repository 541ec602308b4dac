"""Who asks, and what that one may do. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast, get_args

from orchestrator.accounts import orderers

Scope: TypeAlias = Literal["read", "send", "operate", "metrics"]
"""What a token may be used for.

read: the accounts, their events and media, a place of its own in them, what is to be sent, and groups.
send: messages, reactions, read marks, typing, uploads, and changes of groups.
operate: add, remove, start, stop, restart and repair accounts, see codes, and look after consumers.
metrics: the metrics alone.
"""
Kind: TypeAlias = Literal["token", "bot", "local", "gateway"]
"""Who asks: the holder of a token, a bot, a program on a UNIX socket, or the gateway for itself."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
"""All scopes, in the order in which they are shown."""
BOT_SCOPES: frozenset[Scope] = frozenset({"read", "send"})
"""What a bot may do with its accounts."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        kind: What sort of asker that is.
        id: The id of the token or the name of the bot; the name of the kind for the others.
        scopes: What the asker may do.
        accounts: The accounts that the asker may know of, None for all.
        who: How the asker is named for people; empty for the gateway.
    """

    kind: Kind
    id: str
    scopes: frozenset[Scope]
    accounts: frozenset[str] | None = None
    who: str = field(default="", compare=False)

    def may(self, scope: Scope) -> bool:
        """Tell whether the asker may do something."""
        return scope in self.scopes

    def sees(self, account: str) -> bool:
        """Tell whether the asker may know of an account. Of any other, the answer is that there is none."""
        return self.accounts is None or account in self.accounts


LOCAL = Principal("local", "local", frozenset(SCOPES), who=orderers.LOCAL)
"""A program on a UNIX socket of mode 0600: it has the rights of the service's user already."""
GATEWAY = Principal("gateway", "gateway", frozenset())
"""The gateway for itself; `Rule.for_gateway` in `service.companions.roles` says what it may."""


def bot(name: str, accounts: Iterable[str] | None) -> Principal:
    """Return a bot as one who asks.

    Args:
        name: The bot's name.
        accounts: The accounts of its configuration, None for all.
    """
    only = None if accounts is None else frozenset(accounts)
    return Principal("bot", name, BOT_SCOPES, only, orderers.bot(name))


def in_order(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return scopes in the order in which they are shown, each once."""
    given = set(scopes)
    return tuple(one for one in SCOPES if one in given)


def is_scope(text: str) -> bool:
    """Tell whether a text is the name of a scope."""
    return text in SCOPES


def as_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes of these names.

    Raises:
        ValueError: A name is no scope's. The message is the name.
    """
    scopes = frozenset(names)
    for one in scopes:
        if not is_scope(one):
            raise ValueError(one)
    return cast("frozenset[Scope]", scopes)
