"""Finds the configuration, the state folder and the running service for a command, as its options say."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator import paths
from orchestrator.control.client import Client
from orchestrator.errors import ConfigError, NotRunning
from orchestrator.installed import start_command
from orchestrator.lock import read_holder

if TYPE_CHECKING:
    from orchestrator.paths import StatePaths
    from orchestrator.settings import Settings

_STATE_DIR = re.compile(rb"^state_dir[ \t]*:.*$", re.MULTILINE)


@dataclass(frozen=True)
class Places:
    """Where things are.

    Args:
        config: What ``--config`` says.
        state_dir: What ``--state-dir`` says.
    """

    config: str | None = None
    state_dir: str | None = None

    def config_file(self, *, create: bool = False) -> Path:
        """Return where the configuration is, or would be made.

        Raises:
            ConfigError: There is none.
        """
        return paths.find_config(self.config, create=create)

    def settings(self) -> Settings:
        """Read the configuration.

        Raises:
            ConfigError: There is none, or it is not valid.
        """
        from orchestrator import config

        return config.load(self.config_file(), state_dir=self.state_dir)

    def state(self) -> StatePaths:
        """Return the state folder.

        Raises:
            ConfigError: What names it makes no sense.
            StateError: Its path is too long.
        """
        if self.state_dir:
            return paths.StatePaths.of(paths.find_state_dir(self.state_dir))
        try:
            file = self.config_file()
        except ConfigError:
            if self.config:
                raise
            return paths.StatePaths.of(paths.find_state_dir())
        return paths.StatePaths.of(_state_dir(file))

    def service(self) -> Client:
        """Return a client for the service, whether it runs or not.

        Raises:
            ConfigError: What names the state folder makes no sense.
            StateError: Its path is too long.
        """
        state = self.state()
        try:
            # Under systemd it listens in $RUNTIME_DIRECTORY, of which an operator's shell knows nothing.
            holder = read_holder(state.lock)
        except PermissionError:
            holder = None
        socket = holder.socket if holder and holder.socket else state.control_socket
        return Client(socket, lambda: start_command(state.root))

    def start_command(self, file: Path) -> str:
        """Return the command that starts the service with a configuration.

        Args:
            file: The configuration.

        Raises:
            ConfigError: What names the state folder makes no sense.
            StateError: Its path is too long.
        """
        return start_command(self.state().root, file)

    def running_service(self) -> Client | None:
        """Return a client for the service if it answers, else None.

        Raises:
            OrchestratorError: A service may be running, but cannot be talked to.
        """
        client = self.service()
        try:
            client.call("ping")
        except NotRunning:
            return None
        return client


def of(context: typer.Context) -> Places:
    """Return the places a command was told about by the global options."""
    places = context.find_object(Places)
    return places or Places()


def _state_dir(file: Path) -> Path:
    """Return the state folder that a configuration names, or the usual one, without reading the whole file.

    Commands that talk to the service must work, and be fast, whatever else is in the configuration, such as
    what somebody is just editing.
    """
    try:
        data = file.read_bytes() if file.is_file() else b""
    except OSError:
        data = b""  # perhaps only the service may read it
    lines = _STATE_DIR.findall(data)
    if not lines and not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return paths.find_state_dir()
    from orchestrator import config

    if len(lines) == 1:
        # The line alone is a configuration, too, unless its value goes on in the next or stands elsewhere.
        with contextlib.suppress(ConfigError):
            return config.parse(lines[0].decode(errors="replace") + "\naccounts: {}\n", file).state_dir
    return config.load(file).state_dir
