"""Asks before something that is not easily undone."""

from __future__ import annotations

import sys

import typer


def can_ask() -> bool:
    """Tell whether somebody is there who can be asked: input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask a question on a terminal, and go on only if the answer is yes.

    Args:
        question: What is asked.
        yes: The answer was given with ``--yes``.

    Raises:
        typer.BadParameter: Nobody can be asked, and ``--yes`` was not given.
        typer.Abort: The answer is no.
    """
    if yes:
        return
    if not can_ask():
        raise typer.BadParameter(
            f"{question} There is no terminal to ask on: add --yes if that is meant", param_hint="--yes"
        )
    typer.confirm(question, abort=True)
