"""What the gateway asks about pulls that are one for all machines: see `gateway.dispatch.pull_store`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from orchestrator.accounts.names import is_name
from orchestrator.consumers import pulling
from orchestrator.consumers.followed import checked_text, checked_time
from orchestrator.consumers.pulling import Batch
from orchestrator.control.protocol import Json
from orchestrator.service.aside import Aside
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.store.protocols import PullRows

_CURSOR: Final = re.compile("[0-9a-f]{32}")
_SCOPE: Final = re.compile(r"[!-~]{1,255}")
_MOST_ACCOUNTS: Final = 10_000
_ARGUMENTS: Final = (
    "what",
    "pull",
    "accounts",
    "maker",
    "since",
    "places",
    "scope",
    "cursor",
    "reach",
    "instead",
)
_Step: TypeAlias = Callable[[Json], Callable[[], Json]]


class Pulling:
    """Answers the gateway.

    Args:
        store: Where it is kept how far pulls are.
        aside: Does what takes time beside the event loop.
    """

    def __init__(self, store: PullRows, aside: Aside) -> None:
        self._store = store
        self._aside = aside
        self._steps: Mapping[str, _Step] = {
            "known": self._known,
            "use": self._use,
            "begin": self._begin,
            "outstanding": self._outstanding,
            "hand_out": self._hand_out,
            "acknowledge": self._acknowledge,
            "reset": self._reset,
            "remove": self._remove,
        }

    async def answer(self, request: Json) -> Json:
        """Do one step.

        Raises:
            BadRequest: The gateway asks for something else.
            StateError: The store cannot do that now.
        """
        Arguments(request, *_ARGUMENTS)
        what = request.get("what")
        step = self._steps.get(what) if isinstance(what, str) else None
        if step is None:
            raise BadRequest("what must be a step of a pull")
        try:
            do = step(request)
        except ValueError:
            raise BadRequest("what is told of a pull has not the form that it must have") from None
        return await self._aside.run(do)

    def _known(self, request: Json) -> Callable[[], Json]:
        accounts = request.get("accounts")
        if accounts is not None and not (
            isinstance(accounts, list) and len(accounts) <= _MOST_ACCOUNTS and all(map(_is_name, accounts))
        ):
            raise ValueError("no accounts")

        def do() -> Json:
            found = self._store.known(accounts)
            return {"pulls": {name: pulling.dump_known(one) for name, one in found.items()}}

        return do

    def _use(self, request: Json) -> Callable[[], Json]:
        name, maker = _pull(request), checked_text(request.get("maker"))
        since = checked_time(request.get("since"))
        return lambda: {"known": pulling.dump_known(self._store.use(name, maker, since))}

    def _begin(self, request: Json) -> Callable[[], Json]:
        name, places = _pull(request), pulling.load_places(request.get("places"))

        def do() -> Json:
            self._store.begin(name, places)
            return {}

        return do

    def _outstanding(self, request: Json) -> Callable[[], Json]:
        name, scope = _pull(request), _matching(_SCOPE, request.get("scope"))

        def do() -> Json:
            batch = self._store.outstanding(name, scope)
            if batch is None:
                return {"cursor": None, "reach": []}
            return {"cursor": batch.cursor, "reach": pulling.dump_reach(batch.reach)}

        return do

    def _hand_out(self, request: Json) -> Callable[[], Json]:
        name, scope = _pull(request), _matching(_SCOPE, request.get("scope"))
        batch = Batch(_matching(_CURSOR, request.get("cursor")), pulling.load_reach(request.get("reach")))
        instead = request.get("instead")
        if instead is not None:
            instead = _matching(_CURSOR, instead)
        return lambda: {"done": self._store.hand_out(name, scope, batch, instead)}

    def _acknowledge(self, request: Json) -> Callable[[], Json]:
        name, cursor = _pull(request), _matching(_CURSOR, request.get("cursor"))

        def do() -> Json:
            reach = self._store.acknowledge(name, cursor)
            return {"reach": None if reach is None else pulling.dump_reach(reach)}

        return do

    def _reset(self, request: Json) -> Callable[[], Json]:
        name, places = _pull(request), pulling.load_places(request.get("places"))

        def do() -> Json:
            self._store.reset(name, places)
            return {}

        return do

    def _remove(self, request: Json) -> Callable[[], Json]:
        name = _pull(request)

        def do() -> Json:
            self._store.remove(name)
            return {}

        return do


def _pull(request: Json) -> str:
    name = request.get("pull")
    if not isinstance(name, str) or not is_name(name):
        raise ValueError("no pull")
    return name


def _is_name(value: object) -> bool:
    return isinstance(value, str) and is_name(value)


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ValueError("no such word")
    return value
