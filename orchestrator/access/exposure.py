"""Whether somebody on another machine can reach the gateway, and who would be let in. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.consumers.settings import Listen, Tcp
from orchestrator.errors import ConfigError


def exposed(listen: Iterable[Listen]) -> tuple[Tcp, ...]:
    """Return the addresses that other machines may reach.

    Args:
        listen: Where the gateway listens. In place of `Systemd`, the addresses of the sockets, once known.
    """
    return tuple(one for one in listen if isinstance(one, Tcp) and not one.is_loopback)


def check(listen: Iterable[Listen], tokens: int) -> None:
    """See that no address is open to other machines while nobody can be let in.

    A token that has expired counts: that a token has run out overnight must not close the server.

    Args:
        listen: Where the gateway listens.
        tokens: How many tokens there are.

    Raises:
        ConfigError: There is such an address, and no token.
    """
    open_ones = exposed(listen)
    if open_ones and not tokens:
        raise ConfigError(
            f"http.listen: {', '.join(map(str, open_ones))} can be reached from other machines, and there"
            " is no token: make one with `orchestrator token add NAME --scope read,send`, or listen on"
            " 127.0.0.1",
            key="token_needed",
        )
