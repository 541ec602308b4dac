"""What the service tells its gateway of the configuration, as JSON: every field, both ways. Pure.

Only the service writes this, so nothing in it is checked beyond its form.
"""

from __future__ import annotations

import base64
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from orchestrator.accounts.settings import Sending
from orchestrator.consumers.settings import BotSettings, Http, Systemd, Tcp, Unix, Webhook

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long an account's messages are kept, in seconds, and how it sends.

    Attributes:
        keep: After all consumers have had them.
        at_most: At all.
        sending: How it sends.
    """

    keep: float
    at_most: float
    sending: Sending = field(default_factory=Sending)

    @property
    def largest(self) -> int:
        """Bytes of the largest file that it sends."""
        return self.sending.media_limit


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the gateway knows of the configuration.

    Attributes:
        http: The HTTP server, None for none.
        webhooks: The webhooks by name.
        bots: The bots by name.
        accounts: The accounts by name.
        read_at: When the service read the configuration, in Unix seconds.
        parallel: How many accounts start at the same time, at most.
    """

    http: Http | None = None
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
    bots: Mapping[str, BotSettings] = field(default_factory=dict)
    accounts: Mapping[str, Keep] = field(default_factory=dict)
    read_at: float = 0.0
    parallel: int = 2


_TAGS: Final = {"tcp": Tcp, "unix": Unix, "systemd": Systemd}
_NAMES: Final = {kind: tag for tag, kind in _TAGS.items()}


def dump(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return a value of the settings as JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {one.name: dump(getattr(value, one.name)) for one in fields(value)}
        tag = _NAMES.get(type(value))
        return found if tag is None else {"is": tag, **found}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: dump(one) for name, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(dump(one) for one in value)
    if isinstance(value, tuple):
        return [dump(one) for one in value]
    return value


def load(kind: type[T], value: Any) -> T:  # noqa: ANN401
    """Return what `dump` was given.

    Args:
        kind: Its type.
        value: What `dump` returned.
    """
    found: T = _load(kind, value)
    return found


def _load(kind: Any, value: Any) -> Any:  # noqa: ANN401
    origin, inner = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        if value is None:
            return None
        if isinstance(value, dict) and "is" in value:
            return _load(_TAGS[value["is"]], value)
        (one,) = (part for part in inner if part is not types.NoneType)
        return _load(one, value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        make: Any = kind
        return make(**{one.name: _load(hints[one.name], value[one.name]) for one in fields(kind)})
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if kind is Path:
        return Path(value)
    if origin is Mapping:
        return {name: _load(inner[1], one) for name, one in value.items()}
    if origin is frozenset:
        return frozenset(_load(inner[0], one) for one in value)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return tuple(_load(inner[0], one) for one in value)
        return tuple(_load(part, one) for part, one in zip(inner, value, strict=True))
    return value
