"""Adds to errors of usage what they do not say by themselves: about texts behind a dash, and odd dashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from orchestrator.accounts import characters

# Typer has the library beneath it under a private name in some versions, and under a public one in others.
UsageError: Any = typer.BadParameter.__base__
_GIVEN = "orchestrator.arguments"
"""What a context keeps the command line under."""


class HintingGroup(TyperGroup):
    """The commands, with better errors of usage."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see UsageError
        """Read the global options; what is given to the command is kept for its errors, too."""
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
    """Return what to add to an error of usage; it is empty if there is nothing to add.

    Args:
        error: The error.
        arguments: What the command line has behind the program's name.
    """
    for number, argument in enumerate(arguments, 1):
        if argument and characters.is_dash(argument[0]):
            named = characters.describe(argument[0])
            return f" (Argument {number} begins with {named}; an option begins with the - of the keyboard.)"
        word = argument.partition("=")[0]
        strange = characters.find_strange(word)
        is_told = word in error.message or repr(word)[1:-1] in error.message
        if strange is not None and is_told and "U+" not in error.message:
            return f" (Argument {number} has {characters.at(word, strange)}.)"
    text = _text_of(error.ctx.command) if error.ctx is not None else None
    if text and (hasattr(error, "option_name") or "option" in error.message.lower()):
        return (
            f" (A {text} that begins with a dash goes behind --, at the end:"
            f" `{error.ctx.command_path} … -- '-5 degrees'`.)"
        )
    return ""


def _text_of(command: Any) -> str | None:  # noqa: ANN401
    """Return what the help calls a command's argument that may be any text; None if it has none."""
    arguments = (one for one in command.params if one.param_type_name == "argument")
    return next((one.metavar for one in arguments if one.metavar == "TEXT"), None)
