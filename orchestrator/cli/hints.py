"""Adds hints to usage errors: about texts that begin with a dash, and about characters that look like one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from orchestrator.accounts import characters

# In some versions of typer, the library below typer has a private name, in others a public one.
UsageError: Any = typer.BadParameter.__base__
_GIVEN = "orchestrator.arguments"
"""The key of the command line in a context."""


class HintingGroup(TyperGroup):
    """The commands, with better usage errors."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see UsageError
        """Read the global options, and keep the command line for errors."""
        ctx.meta.setdefault(
            _GIVEN, tuple(args)
        )  # this is called again for a command that looks like an option
        with _hinting(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command."""
        with _hinting(ctx):
            return super().invoke(ctx)


@contextmanager
def _hinting(ctx: Any) -> Iterator[None]:  # noqa: ANN401
    try:
        yield
    except UsageError as error:
        error.message += hint(error, ctx.meta[_GIVEN])
        raise


def hint(error: Any, arguments: Sequence[str]) -> str:  # noqa: ANN401
    """Return the hint for a usage error; empty if there is nothing to add.

    Args:
        error: The error.
        arguments: The command line after the program's name.
    """
    for number, argument in enumerate(arguments, 1):
        if argument and characters.is_dash(argument[0]):
            named = characters.describe(argument[0])
            return f" (Argument {number} begins with {named}; options begin with the keyboard's plain -.)"
        word = argument.partition("=")[0]
        strange = characters.find_strange(word)
        is_told = word in error.message or repr(word)[1:-1] in error.message
        if strange is not None and is_told and "U+" not in error.message:
            return f" (Argument {number} contains {characters.at(word, strange)}.)"
    text = _text_of(error.ctx.command) if error.ctx is not None else None
    if text and (hasattr(error, "option_name") or "option" in error.message.lower()):
        return (
            f" (Put -- before a {text} that begins with a dash, at the end:"
            f" `{error.ctx.command_path} … -- '-5 degrees'`.)"
        )
    return ""


def _text_of(command: Any) -> str | None:  # noqa: ANN401
    """Return the help's name of a command's argument that may be any text; None if there is none."""
    arguments = (one for one in command.params if one.param_type_name == "argument")
    names = (one.metavar.strip("[]") for one in arguments if one.metavar)
    return next((name for name in names if name == "TEXT"), None)
