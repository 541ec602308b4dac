"""Errors that an operator can cause. Each message says what is wrong and what to do; anything else is a bug.

OrchestratorError          exit code 1
├── ConfigError            the configuration is not valid: every problem at once
│   └── NoConfiguration    there is none in any of the usual places
├── StateError             a folder or file of the service cannot be used
├── AlreadyRunning         another service holds the state folder
├── NotRunning             the command needs a running service         exit code 4
└── NoSuchAccount          there is no account of that name            exit code 5
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the commands end."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_CONNECTED = 3
    """``list --check``: an enabled account is not connected."""
    NOT_RUNNING = 4
    NO_SUCH_ACCOUNT = 5


class OrchestratorError(Exception):
    """What a command could not do; the message is shown as it is, without a traceback."""

    exit_code = ExitCode.FAILED


class ConfigError(OrchestratorError):
    """The configuration is not valid; the message has a line for every problem."""


class NoConfiguration(ConfigError):  # noqa: N818 - named for what it says
    """There is no configuration in any of the usual places, and none is named."""


class StateError(OrchestratorError):
    """A folder or file of the service cannot be used."""


class AlreadyRunning(OrchestratorError):  # noqa: N818 - named for what it says
    """Another service holds the state folder."""


class NotRunning(OrchestratorError):  # noqa: N818
    """The command needs a running service."""

    exit_code = ExitCode.NOT_RUNNING


class NoSuchAccount(OrchestratorError):  # noqa: N818
    """There is no account of that name."""

    exit_code = ExitCode.NO_SUCH_ACCOUNT
