"""Repeats the options of a command in the commands that its sentences name.

Whoever names a configuration or a state folder on the command line needs the same options for the command
that a hint proposes, and whoever uses `orchestrator sandbox run` needs that before the command. All sentences
for people go through `formatting.printable`, which asks here, also those that the service sends. Texts that
people wrote, such as messages, go through `formatting.verbatim` instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

_HINT: Final = re.compile(
    r"(`(?:sudo (?:-u \S+ )?)?orchestrator )(?=[a-z…])(?!demo\b|sandbox\b|config (?:example|schema)\b)"
)
"""The beginning of a command in a sentence: what is before its options, if there are none."""
_ANY: Final = re.compile(
    r"(`(?:sudo (?:-u \S+ )?)?)(?=orchestrator (?!demo\b|sandbox\b|config (?:example|schema)\b))"
)
"""What is before a command in a sentence, with options or without."""
SANDBOX_RUN: Final = "ORCHESTRATOR_SANDBOX_RUN"
"""The variable by which a command knows that `orchestrator sandbox run` has started it.

It holds the address that was given as ``--control``, or nothing.
"""
_SAFE: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_given: list[str] = []
_before: list[str] = []


def remember(config: str | None, state_dir: str | None, environ: Mapping[str, str] = os.environ) -> None:
    """Note the options with which this command was called, and whether `orchestrator sandbox run` did that.

    Args:
        config: What ``--config`` says.
        state_dir: What ``--state-dir`` says.
        environ: The environment.
    """
    _given[:] = given(config, state_dir)
    _before[:] = before(environ)


def before(environ: Mapping[str, str]) -> list[str]:
    """Return the words before a command that has to run in the same sandbox as this one; none outside of one.

    Args:
        environ: The environment.
    """
    control = environ.get(SANDBOX_RUN)
    if control is None:
        return []
    return ["orchestrator", "sandbox", "run", *(["--control", control] if control else []), "--"]


def given(config: str | None, state_dir: str | None) -> list[str]:
    """Return the words that repeat the options."""
    named = (("--config", config), ("--state-dir", state_dir))
    return [word for option, value in named if value is not None for word in (option, value)]


def repeat(text: str) -> str:
    """Return a text in which each command of this program has the options that were given."""
    return behind(into(text, _given), _before)


def quoted(words: list[str]) -> str:
    """Return words as a shell reads them."""
    if all(map(_SAFE.fullmatch, words)):
        return " ".join(words)
    import shlex  # most words need no quotes

    return shlex.join(words)


def into(text: str, words: list[str]) -> str:
    """Return a text in which each command of this program that has no option has these.

    Args:
        text: The text, in which commands are between backticks.
        words: The options and their values.
    """
    if not words or "`" not in text:
        return text
    options = quoted(words)
    return _HINT.sub(lambda found: f"{found[1]}{options} ", text)


def behind(text: str, words: list[str]) -> str:
    """Return a text in which each command of this program stands behind these words.

    Args:
        text: The text, in which commands are between backticks.
        words: The words, such as those of `orchestrator sandbox run`.
    """
    if not words or "`" not in text:
        return text
    first = quoted(words)
    return _ANY.sub(lambda found: f"{found[1]}{first} ", text)
