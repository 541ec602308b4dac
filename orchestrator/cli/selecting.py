"""Finds the accounts that a command is for: by names, by patterns such as ``'shop-1*'``, by tags. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol, TypeVar

import typer

from orchestrator.accounts.names import no_such_account, shorten
from orchestrator.accounts.states import State
from orchestrator.cli import completion
from orchestrator.cli.formatting import printable
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.control.view import AccountView

_WILD: Final = frozenset("*?[")
"""Characters that make a pattern of a text. No name of an account has any of them."""

Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="TAG",
        show_default=False,
        help="Only accounts with this tag. With several --tag: only accounts with all of them.",
        autocompletion=completion.tags,
    ),
]
"""The option ``--tag`` of a command that is for many accounts."""


class Named(Protocol):
    """What is known of an account here: a view, settings or a summary."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def tags(self) -> Collection[str]:
        """The tags."""


T = TypeVar("T", bound=Named)


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern for names, and no name."""
    return not _WILD.isdisjoint(text)


def fits(account: Named, names: Collection[str], tags: Collection[str]) -> bool:
    """Tell whether an account is among those that a command is for.

    Args:
        account: The account.
        names: Names and patterns, of which one has to fit; none means all accounts.
        tags: Tags that the account has to have, all of them.
    """
    named = not names or any(
        fnmatchcase(account.name, one) if is_pattern(one) else one == account.name for one in names
    )
    return named and all(tag in account.tags for tag in tags)


def select(
    accounts: Iterable[T],
    names: Sequence[str] | None = None,
    tags: Collection[str] | None = None,
    *,
    file: Path | None = None,
    or_none: bool = False,
) -> list[T]:
    """Return the accounts that a command is for, each once.

    The accounts come in the order in which they were named; those of one pattern, and all accounts, in the
    order in which they are given.

    Args:
        accounts: All accounts.
        names: Names and patterns of the shell, such as ``shop-1*``; none means all accounts.
        tags: Tags that an account has to have, all of them.
        file: The configuration that the accounts come from, for errors, if a command read it.
        or_none: It is no error if no account has all the tags, as long as each tag is some account's.

    Raises:
        NoSuchAccount: There is no account of a name, or no name fits a pattern.
        typer.BadParameter: No account has one of the tags, or none that was named has all of them: whoever
            makes a typing error must not believe that all is well, or that something was done.
    """
    known = {one.name: one for one in accounts}
    found: dict[str, T] = {}
    missing: list[str] = []
    for wanted in dict.fromkeys(names or ()):
        here = [wanted] if wanted in known else [one for one in known if fits(known[one], (wanted,), ())]
        if not here:
            missing.append(wanted)
        found.update((name, known[name]) for name in here)
    if missing:
        # A name that is like a pattern is nothing that somebody may have meant.
        raise no_such_account(*missing, known=() if is_pattern(missing[0]) else known, file=file)
    among = found.values() if names else known.values()
    if not tags:
        return [*among]
    _check_tags(known.values(), tags)
    left = [one for one in among if fits(one, (), tags)]
    if not left and not or_none:
        which = "account that you named" if names else "account"
        raise typer.BadParameter(printable(f"no {which} has {_all(tags)}"), param_hint="--tag")
    return left


def without_disabled(accounts: Sequence[AccountView], names: Collection[str], to_do: str) -> list[str]:
    """Return the names of the accounts that run, and of those that were named one by one.

    Args:
        accounts: The accounts that names, patterns or tags have chosen.
        names: These names and patterns.
        to_do: What the command does, such as ``start``, for errors.

    Raises:
        OrchestratorError: All accounts are disabled.
    """
    if chosen := [one.name for one in accounts if one.state != State.DISABLED or one.name in names]:
        return chosen
    first = accounts[0].name
    raise OrchestratorError(
        f"nothing to {to_do}: {', '.join(one.name for one in accounts)} "
        f"{'is' if len(accounts) == 1 else 'are'} disabled; `orchestrator enable {first}` enables an account",
        key="account_disabled",
    )


def without_stopped(accounts: Sequence[AccountView], names: Collection[str], to_do: str) -> list[AccountView]:
    """Return the accounts that no operator stopped, and those that were named one by one.

    Args:
        accounts: The accounts that names, patterns or tags have chosen.
        names: These names and patterns.
        to_do: What the command does, such as ``restart``, for errors.

    Raises:
        OrchestratorError: All accounts are stopped.
    """
    if chosen := [one for one in accounts if one.state != State.STOPPED or one.name in names]:
        return chosen
    first = accounts[0].name
    raise OrchestratorError(
        f"nothing to {to_do}: {', '.join(one.name for one in accounts)} "
        f"{'is' if len(accounts) == 1 else 'are'} stopped; `orchestrator start {first}` starts an account",
        key="account_stopped",
    )


def _check_tags(accounts: Iterable[Named], wanted: Collection[str]) -> None:
    """See that each tag is some account's.

    Raises:
        typer.BadParameter: One is nobody's.
    """
    known = {tag for one in accounts for tag in one.tags}
    if unknown := sorted({*wanted} - known):
        known_tags = f"the tags are {', '.join(sorted(known))}" if known else "no account has a tag"
        raise typer.BadParameter(
            printable(f"no account has the tag {shorten(unknown[0])}; {known_tags}"), param_hint="--tag"
        )


def _all(tags: Collection[str]) -> str:
    words = [shorten(tag) for tag in dict.fromkeys(tags)]
    return f"the tag {words[0]}" if len(words) == 1 else f"all of the tags {', '.join(words)}"
