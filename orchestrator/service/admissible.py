"""What the service asks of a configuration beyond its being valid: who could reach it, and what it lacks.

Commands do not ask for this: they have another environment than the service, and change what is missing.
"""

from __future__ import annotations

import logging

from orchestrator.access import exposure, tokens
from orchestrator.config.consumers import variables
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, StateError
from orchestrator.store.layout import StatePaths

log = logging.getLogger(__name__)


def check_start(settings: Settings) -> None:
    """See that the service may start with a configuration.

    It may without any token, even if other machines are to reach the HTTP server: the gateway's sockets wait
    for the first token. In a container, nobody could run the command that makes one if no service ran.

    Args:
        settings: The configuration.

    Raises:
        ConfigError: A variable that the configuration names is not set.
    """
    if lines := list(variables(settings.missing_variables)):
        raise ConfigError("\n".join(f"{settings.config_file}: {line}" for line in lines))


def check_reload(before: Settings, after: Settings, paths: StatePaths) -> None:
    """See that a service that runs may take over a configuration; whoever asked for it hears the reason.

    Args:
        before: The configuration with which the service runs.
        after: The other one.
        paths: The state folder.

    Raises:
        ConfigError: A variable that the configuration names is not set, or the HTTP server would be opened to
            other machines and there is no token.
    """
    check_start(after)
    known = before.http.listen if before.http is not None else ()
    opened = [one for one in (after.http.listen if after.http is not None else ()) if one not in known]
    if exposure.exposed(opened):
        exposure.check(opened, count_tokens(paths))


def count_tokens(paths: StatePaths) -> int:
    """Return how many tokens there are; 1 if that is not known.

    Rows of the page do not count: they are gone tomorrow, and the server would be closed then. A damaged file
    lets nobody in, so that the server may as well be open.
    """
    try:
        return sum(not one.is_of_page for one in tokens.read(paths.tokens))
    except StateError as error:
        log.error("nobody is let in over TCP: %s", error)
        return 1
