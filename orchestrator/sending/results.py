"""What an account's process answers to `sending.asks`, read as if an enemy had written it. Pure.

Who asked gets the answer as it is: programs of clients, and the gateway itself, count on its form. So a
process that says something else has not answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from orchestrator.accounts import bounds
from orchestrator.sending import asks

Json: TypeAlias = dict[str, Any]

_TEXT: Final = (str,)
_TEXT_OR_NONE: Final = (str, type(None))
_NUMBER: Final = (int,)
_NUMBER_OR_NONE: Final = (int, type(None))
_FLAG: Final = (bool,)
_MEMBER: Final[Json] = {"id": _TEXT, "phone": _TEXT_OR_NONE, "role": _TEXT}
_GROUP: Final[Json] = {
    "id": _TEXT,
    "subject": _TEXT,
    "description": _TEXT_OR_NONE,
    "created_at": _NUMBER_OR_NONE,
    "owner": _TEXT_OR_NONE,
    "only_admins_write": _FLAG,
    "only_admins_change": _FLAG,
    "disappearing_after": _NUMBER_OR_NONE,
    "member_count": _NUMBER,
}
_WHOLE_GROUP: Final[Json] = {"group": {**_GROUP, "members": [_MEMBER], "members_left_out": _NUMBER}}
_FORMS: Final[Mapping[type[object], Json]] = {
    asks.ListGroups: {"groups": [_GROUP], "groups_left_out": _NUMBER},
    asks.ShowGroup: _WHOLE_GROUP,
    asks.CreateGroup: _WHOLE_GROUP,
    asks.ChangeMembers: {"members": [{**_MEMBER, "done": _FLAG, "code": _NUMBER_OR_NONE}]},
    asks.Invite: {"link": _TEXT},
    asks.LookUp: {"numbers": [{"number": _TEXT, "exists": _FLAG, "id": _TEXT_OR_NONE}]},
}
"""The names in an answer and the types of what they hold: a list holds any number of what is in it here. What
is not named here is answered by an empty object."""


def read(ask: asks.Ask, text: str | None) -> Json:
    """Return the answer to something that an account was to do.

    Args:
        ask: What that was.
        text: What its process says, as `asks.result_text` writes it.

    Raises:
        ValueError: It is no answer to that. The words quote nothing of it.
    """
    try:
        found = _parse(text or "{}") if len(text or "") <= asks.MAX_RESULT else None
    except (ValueError, RecursionError):
        found = None
    if not _fits(found, _FORMS.get(type(ask), {})):
        raise ValueError("the answer has another form")
    assert isinstance(found, dict)
    return found


def _parse(text: str) -> object:
    found: object = json.loads(
        text,
        parse_int=bounds.whole_number,
        parse_float=bounds.fraction,
        parse_constant=bounds.no_constant,
    )
    json.dumps(found, ensure_ascii=False).encode()  # which no half of a surrogate pair allows
    return found


def _fits(value: object, form: object) -> bool:
    if isinstance(form, dict):
        return (
            isinstance(value, dict)
            and value.keys() == form.keys()
            and all(_fits(value[name], one) for name, one in form.items())
        )
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(one, form[0]) for one in value)
    assert isinstance(form, tuple)
    return type(value) in form
