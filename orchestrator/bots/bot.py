"""The bot: which function handles what."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args, overload

from orchestrator.bots import filters
from orchestrator.bots.events import Delivery, Edit, Event, Kind, Message, Reaction, Revocation, Status
from orchestrator.bots.filters import Filter, Names, Pattern
from orchestrator.bots.sender import Sender

_M = TypeVar("_M", bound=Callable[[Message], object])
_E = TypeVar("_E", bound=Callable[[Edit], object])
_R = TypeVar("_R", bound=Callable[[Reaction], object])
_V = TypeVar("_V", bound=Callable[[Revocation], object])
_S = TypeVar("_S", bound=Callable[[Status], object])
_A = TypeVar("_A", bound=Callable[[Event], object])
_F = TypeVar("_F", bound=Callable[[Any], object])

ChatType: TypeAlias = Literal["direct", "group"]
_KINDS: Final = frozenset(get_args(Kind))
_STATUSES: Final = frozenset(get_args(Delivery))


@dataclass(frozen=True, slots=True)
class Handler:
    """A function with what it is for.

    Attributes:
        function: The function.
        filter: What it is for.
        is_async: Whether it is a coroutine function. Others run in threads.
    """

    function: Callable[[Any], object]
    filter: Filter
    is_async: bool

    @property
    def name(self) -> str:
        """What it is called."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return str(getattr(function, "__qualname__", type(function).__qualname__))


class Bot(Sender):
    """Handlers for what happens in chats.

    An event goes to the first handler that matches, in the order in which they were registered, and to no
    other. So what is brought again runs one handler again, and not those that have done their part. A handler
    that raises `Skip` leaves the event to the next one.

    A handler that returns has handled the event. After any exception, the event is brought again, by a
    schedule that ends after about three days. Events of one chat come one after the other, those of different
    chats at the same time.

    Coroutine functions run in one event loop. Plain functions run in threads, several at a time.
    """

    def __init__(self) -> None:
        self._handlers: list[Handler] = []

    def __repr__(self) -> str:
        return f"<Bot with {len(self._handlers)} handlers>"

    # To register handlers

    @overload
    def on_message(self, handler: _M, /) -> _M: ...

    @overload
    def on_message(
        self,
        /,
        *,
        kind: Kind | Iterable[Kind] | None = None,
        chat: Names = None,
        text: Pattern = None,
        account: Names = None,
        from_me: bool | None = False,
    ) -> Callable[[_M], _M]: ...

    def on_message(
        self,
        handler: Callable[[Any], object] | None = None,
        /,
        *,
        kind: Kind | Iterable[Kind] | None = None,
        chat: Names = None,
        text: Pattern = None,
        account: Names = None,
        from_me: bool | None = False,
    ) -> Any:
        """Register a handler for messages, as a decorator with or without parentheses.

        Args:
            handler: The handler.
            kind: Only messages of this kind, or of one of these.
            chat: Only in this chat: its address, a number with +, "direct" or "group"; or one of these.
            text: Only if `re.search` finds this in the text or caption. `Message.match` has what it found.
            account: Only of this account, or of one of these.
            from_me: False: only what others write. True: only what the account's own phone sends, which is
                stored with `messages.from_me`. None: both.

        Raises:
            ValueError: Nothing can ever match.
        """
        found = self._messages("message.received", kind, chat, text, account, from_me)
        return self._register(found) if handler is None else self._register(found)(handler)

    @overload
    def on_edit(self, handler: _E, /) -> _E: ...

    @overload
    def on_edit(
        self,
        /,
        *,
        kind: Kind | Iterable[Kind] | None = None,
        chat: Names = None,
        text: Pattern = None,
        account: Names = None,
        from_me: bool | None = False,
    ) -> Callable[[_E], _E]: ...

    def on_edit(
        self,
        handler: Callable[[Any], object] | None = None,
        /,
        *,
        kind: Kind | Iterable[Kind] | None = None,
        chat: Names = None,
        text: Pattern = None,
        account: Names = None,
        from_me: bool | None = False,
    ) -> Any:
        """Register a handler for messages that were edited; the arguments are those of `on_message`."""
        found = self._messages("message.edited", kind, chat, text, account, from_me)
        return self._register(found) if handler is None else self._register(found)(handler)

    @overload
    def on_reaction(self, handler: _R, /) -> _R: ...

    @overload
    def on_reaction(
        self,
        /,
        *,
        emoji: Names = None,
        chat: Names = None,
        account: Names = None,
        from_me: bool | None = False,
    ) -> Callable[[_R], _R]: ...

    def on_reaction(
        self,
        handler: Callable[[Any], object] | None = None,
        /,
        *,
        emoji: Names = None,
        chat: Names = None,
        account: Names = None,
        from_me: bool | None = False,
    ) -> Any:
        """Register a handler for reactions.

        Args:
            handler: The handler.
            emoji: Only this emoji, or one of these; an empty one is a reaction that was taken back.
            chat: As for `on_message`.
            account: As for `on_message`.
            from_me: As for `on_message`.

        Raises:
            ValueError: Nothing can ever match.
        """
        found = Filter(
            frozenset({"message.reaction"}),
            filters.names(account, "account"),
            filters.names(chat, "chat"),
            emojis=filters.names(emoji, "emoji", lambda _: True),
            from_me=from_me,
        )
        return self._register(found) if handler is None else self._register(found)(handler)

    @overload
    def on_revoke(self, handler: _V, /) -> _V: ...

    @overload
    def on_revoke(self, /, *, chat: Names = None, account: Names = None) -> Callable[[_V], _V]: ...

    def on_revoke(
        self, handler: Callable[[Any], object] | None = None, /, *, chat: Names = None, account: Names = None
    ) -> Any:
        """Register a handler for messages that were taken back; the arguments are those of `on_message`."""
        found = Filter(
            frozenset({"message.revoked"}), filters.names(account, "account"), filters.names(chat, "chat")
        )
        return self._register(found) if handler is None else self._register(found)(handler)

    @overload
    def on_status(self, handler: _S, /) -> _S: ...

    @overload
    def on_status(
        self,
        /,
        *,
        status: Delivery | Iterable[Delivery] | None = None,
        chat: Names = None,
        account: Names = None,
    ) -> Callable[[_S], _S]: ...

    def on_status(
        self,
        handler: Callable[[Any], object] | None = None,
        /,
        *,
        status: Delivery | Iterable[Delivery] | None = None,
        chat: Names = None,
        account: Names = None,
    ) -> Any:
        """Register a handler for what becomes of messages that the account sent.

        Args:
            handler: The handler.
            status: Only this status, or one of these.
            chat: As for `on_message`.
            account: As for `on_message`.

        Raises:
            ValueError: Nothing can ever match.
        """
        found = Filter(
            frozenset({"message.status"}),
            filters.names(account, "account"),
            filters.names(chat, "chat"),
            statuses=filters.names(status, "status", _STATUSES.__contains__),
        )
        return self._register(found) if handler is None else self._register(found)(handler)

    def on_event(self, types: Names = "*", /, *, account: Names = None) -> Callable[[_A], _A]:
        """Register a handler for events by their type.

        The handler gets a `Message` for ``message.received``, and so on; for types without a class of their
        own it gets an `Event`.

        Args:
            types: A type such as ``account.logged_out``, a pattern such as ``account.*``, or several.
            account: As for `on_message`.

        Raises:
            ValueError: Nothing can ever match.
        """
        chosen = filters.names(types, "a type") or frozenset({"*"})
        return self._register(Filter(chosen, filters.names(account, "account")))

    def _messages(
        self,
        event_type: str,
        kind: Names,
        chat: Names,
        text: Pattern,
        account: Names,
        from_me: bool | None,
    ) -> Filter:
        return Filter(
            frozenset({event_type}),
            filters.names(account, "account"),
            filters.names(chat, "chat"),
            filters.names(kind, "kind", _KINDS.__contains__),
            filters.pattern(text),
            from_me,
        )

    def _register(self, found: Filter) -> Callable[[_F], _F]:
        def register(function: _F) -> _F:
            if not callable(function):
                raise TypeError("a handler must be a function")
            called = getattr(function, "__call__", None)  # noqa: B004 - an object may be called, too
            is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
            self._handlers.append(Handler(function, found, is_async))
            return function

        return register

    # For what runs the bot

    @property
    def types(self) -> tuple[str, ...]:
        """Patterns of the types of events that there are handlers for."""
        return tuple(sorted({one for handler in self._handlers for one in handler.filter.types}))

    def handlers_for(self, event: Event) -> Iterator[Handler]:
        """Yield the handlers that match, in the order in which they were registered."""
        return (one for one in self._handlers if one.filter.matches(event))
