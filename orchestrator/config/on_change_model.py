"""The keys of the configuration under ``on_change``, their types, and the settings that come of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from orchestrator.accounts.on_change import DOWN, NEEDS_PERSON, RESOLVED, WORDS, OnChange, Rate
from orchestrator.config import gateway_types as gateway
from orchestrator.config import types
from orchestrator.config.locate import expand
from orchestrator.config.problems import KeyPath
from orchestrator.config.section import Section, default_of
from orchestrator.config.types import Type, Unfit, Where, segment
from orchestrator.config.yaml_tree import Node, Scalar, Sequence

Report = Callable[[KeyPath, str], None]
"""Takes a problem: where, and what was expected and found."""
PATH: KeyPath = ("on_change",)
"""Where the section stands."""

MOST_ARGUMENTS = 64
LONGEST_ARGUMENT = 4_096
"""Characters of an argument of the program."""
MOST_CALLS = 1_000
_RATE = re.compile(r"([1-9]\d{0,3})/([mhd])", re.ASCII)
_SECONDS = {"m": 60.0, "h": 3600.0, "d": types.DAY}


@dataclass(frozen=True, slots=True)
class Program(Type[tuple[str, ...]]):
    """A program and its arguments, as a list: no shell reads them."""

    @property
    def expected(self) -> str:
        return "the path of a program, or a list of that path and the arguments"

    def check(self, node: Node | Mapping[str, Any], where: Where) -> tuple[str, ...]:
        """See `Type.check`; here, the value may be a list."""
        if not isinstance(node, Sequence):
            return self.read(types.single(node), where)
        if not node.items:
            raise Unfit(self.expected, "an empty list")
        if len(node.items) > MOST_ARGUMENTS:
            raise Unfit(f"at most {MOST_ARGUMENTS} of them", f"{len(node.items):,}")
        first, *others = (types.single(item) for item in node.items)
        return (*self.read(first, where), *map(self._argument, others))

    def read(self, value: Scalar, where: Where) -> tuple[str, ...]:
        if value.type == "text" and value.text and "/" not in value.text:
            found = f"{types.quote(value.text)} without a folder"
            raise Unfit("a program by its path, such as /usr/local/bin/tell", found)
        if value.type != "text" or not value.text:
            raise Unfit(self.expected)
        try:
            return (str(expand(value.text, base=where.base, environ=where.environ)),)
        except ValueError as error:
            raise Unfit(self.expected, str(error), free=True) from None

    def write(self, value: tuple[str, ...]) -> str:
        return f"[{', '.join(value)}]"

    def schema(self) -> dict[str, Any]:
        text = {"type": "string"}
        many = {"type": "array", "items": text, "minItems": 1, "maxItems": MOST_ARGUMENTS}
        return {"anyOf": [text, many]}

    def _argument(self, value: Scalar) -> str:
        if value.type == "nothing" and not value.text:
            raise Unfit("arguments of the program", "an empty one without quotes")
        if len(value.text) > LONGEST_ARGUMENT or "\0" in value.text:
            raise Unfit(f"arguments of at most {LONGEST_ARGUMENT:,} characters", "a longer one")
        return value.text


@dataclass(frozen=True, slots=True)
class Words(gateway.Many[str]):
    """Some of the words for what can be told."""

    most: ClassVar[int] = len(WORDS)
    least: ClassVar[int] = 1

    @property
    def expected(self) -> str:
        return f"a list of {', '.join(WORDS[:-1])} or {WORDS[-1]}"

    def one(self, value: Scalar, where: Where) -> str:
        del where
        if value.text not in WORDS:
            raise Unfit(self.expected)
        return value.text

    def schema_of_one(self) -> dict[str, Any]:
        return {"enum": [*WORDS]}


@dataclass(frozen=True, slots=True)
class RateType(Type[Rate]):
    """How often something may happen, such as 10/h."""

    @property
    def expected(self) -> str:
        return f"a number a minute, an hour or a day, such as 2/m, 10/h or 50/d, at most {MOST_CALLS:,}"

    def read(self, value: Scalar, where: Where) -> Rate:
        del where
        found = _RATE.fullmatch(value.text)
        if found is None or int(found[1]) > MOST_CALLS:
            raise Unfit(self.expected)
        return Rate(int(found[1]), _SECONDS[found[2]])

    def write(self, value: Rate) -> str:
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == value.seconds)
        return f"{value.times}/{unit}"

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[1-9]\d{0,3}/[mhd]$"}


class OnChangeSection(Section):
    """Who is told of changes."""

    place = "under on_change"
    required = ("run",)

    run: Annotated[tuple[str, ...], Program()] = Field(
        default=(),
        description="The program, by its path, and its arguments, as a list: no shell reads the list. The"
        " program gets the changes as JSON on standard input; docs/notifications.md has the fields. Exit code"
        " 0 means that they were told. Nobody but root and the service's user may be able to change the"
        " program. The program runs as the service's user.",
        examples=["[/usr/local/bin/tell, --team, berlin]"],
    )
    when: Annotated[tuple[str, ...], Words()] = Field(
        default=default_of(OnChange, "when"),
        description="Which changes are told. needs_person: something about an account needs a person, as the"
        " page and `list --needs-person` say. down: an account is to run and is not connected. resolved: what"
        " was told by one of these two is over. Any state: the account has come into that state.",
        examples=["[needs_person, down, resolved, connected]"],
    )
    # A word of Python's, and so no name that a class may have: the file says `for` all the same.
    __annotations__["for"] = Annotated[float, types.Duration(0, 7 * types.DAY)]
    vars()["for"] = Field(
        default=default_of(OnChange, "lasts"),
        description="A change is told once it has lasted this long. What comes and goes faster is not told.",
        examples=["5m"],
    )
    at_most: Annotated[Rate, RateType()] = Field(
        default=default_of(OnChange, "at_most"),
        description="How often the program is called at most. Changes wait for the next call, and go with it"
        " in one list. What is over until then is only counted, as left_out.",
    )
    at_most_each: Annotated[Rate, RateType()] = Field(
        default=default_of(OnChange, "at_most_each"),
        description="How many changes of one account are told at most: one that comes and goes all day does"
        " not drown the others.",
    )
    timeout: Annotated[float, types.Duration(1, 600)] = Field(
        default=default_of(OnChange, "timeout"),
        description="After this long, the program and all that it has started are killed, and the changes are"
        " told again later.",
    )
    accounts: Annotated[frozenset[str] | None, types.OrNull(gateway.Accounts())] = Field(
        default=default_of(OnChange, "accounts"),
        description="The accounts whose changes are told. null: all accounts, also those that are added"
        " later.",
        examples=["[support]"],
    )
    env: Annotated[tuple[gateway.Variable, ...], gateway.Variables()] = Field(
        default=(),
        description="Variables of the service's environment that the program gets, too, such as HTTPS_PROXY."
        " Other than these, the program has PATH, HOME, LANG, TZ and the like.",
        examples=["[HTTPS_PROXY]"],
    )
    env_files: Annotated[tuple[tuple[str, str], ...], gateway.VariableFiles()] = Field(
        default=(),
        description="Variables of the program's environment whose values stand in files, one line each: for"
        " secrets, such as the URL of a chat's webhook. Owner and mode of a file are as for a webhook's"
        " `secret_file`.",
        examples=["{CHAT_URL: chat.url}"],
    )


def settings(
    section: OnChangeSection | None,
    accounts: Collection[str],
    wrong: Collection[KeyPath],
    report: Report,
    missing: list[tuple[str, str]],
) -> OnChange | None:
    """Return the settings that a section says, None without one.

    Args:
        section: The section.
        accounts: The names of the accounts.
        wrong: Where values stand that were reported and left out: nothing more is said of them.
        report: Where problems go.
        missing: Gets the keys whose variable is not set, and the variables' names.
    """
    if section is None:
        return None
    if not section.run and (*PATH, "run") not in wrong:
        report(PATH, "expected the key run, found none")
    for name in sorted((section.accounts or frozenset()) - set(accounts)):
        report((*PATH, "accounts"), f"expected names of accounts, found {segment(name)}, which is none")
    if section.when == (RESOLVED,):
        report((*PATH, "when"), f"expected {NEEDS_PERSON} or {DOWN}, too: nothing else can be resolved")
    env: dict[str, str] = {}
    for variable in section.env:
        if variable.value is None:
            missing.append((".".join((*PATH, "env")), variable.name))
        else:
            env[variable.name] = variable.value
    for name, value in section.env_files:
        if name in env:
            report((*PATH, "env_files"), f"expected every variable once, found {name} in env, too")
        env[name] = value
    given = section.given()
    keys = {"when": "when", "for": "lasts"} | {
        key: key for key in ("at_most", "at_most_each", "timeout", "accounts")
    }
    return OnChange(
        run=section.run,
        env=tuple(env.items()),
        **{field: given[key] for key, field in keys.items() if key in given},
    )
