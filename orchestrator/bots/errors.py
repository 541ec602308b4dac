"""What a handler may raise, and what may be raised in it.

BotError           the bot cannot be loaded or run: for whoever starts it
ActionError        what a handler asked for was not done

Skip               leave the event to the next handler that matches
Retry              bring the event again, at a time of the handler's choice
Reject             do not bring the event again

Any other exception that a handler raises means that the event is brought again by the schedule.
"""

from __future__ import annotations

from orchestrator.errors import OrchestratorError


class BotError(OrchestratorError):
    """A bot cannot be loaded. The message says what is wrong and what to do.

    Args:
        message: The same, for people.
        trace: The traceback of the bot's own code, with the exceptions' texts; empty if none was raised. It
            is for the terminal of whoever writes the bot, and for no log.
        places: The traceback's files, lines and functions, without any text.
    """

    key = "bot_unusable"

    def __init__(self, message: str, *, trace: str = "", places: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.trace = trace
        self.places = places


class ActionError(Exception):
    """What a handler asked for was not done, or nobody knows whether it was done.

    If the handler lets it through, the event is brought again.

    Attributes:
        key: What is wrong, for programs, such as `not_connected`. docs/protocol.md has the list.
            `delivery_unknown` means that the message may have been sent: it is not sent again by itself.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class Skip(Exception):  # noqa: N818 - a handler says so; nothing is wrong
    """Raised by a handler: the event is left to the next handler that matches. Without one, it is done."""


class Retry(Exception):  # noqa: N818
    """Raised by a handler: the event is to be brought again later.

    Args:
        after: In how many seconds, at least; None for when the schedule says. The service allows a day.
    """

    def __init__(self, after: float | None = None) -> None:
        super().__init__("the handler asks for another attempt")
        self.after = after


class Reject(Exception):  # noqa: N818
    """Raised by a handler: the event is not to be brought again.

    It is done, and the log says that it was rejected. Use it for what no further attempt can cure.
    """
