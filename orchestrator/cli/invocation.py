"""Finds the configuration, the state folder and the running service that a command's options name."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.config import file as config_file
from orchestrator.config import locate
from orchestrator.control import peer
from orchestrator.control.client import Client
from orchestrator.errors import ConfigError, NoConfiguration, NotRunning
from orchestrator.store import layout
from orchestrator.store.lock import read_holder
from orchestrator.system import trust
from orchestrator.system.units import start_command

if TYPE_CHECKING:
    from orchestrator.config.settings import Settings
    from orchestrator.store.layout import StatePaths


def keep_out_of_cores() -> None:
    """Have no core file written of this command; the first step of those that handle codes and sessions."""
    from orchestrator.system import cores

    cores.keep_out_of_cores()


@dataclass(frozen=True)
class Places:
    """Where things are.

    Args:
        config: What ``--config`` says.
        state_dir: What ``--state-dir`` says.
        create: Whether the command makes the configuration if there is none.
    """

    config: str | None = None
    state_dir: str | None = None
    create: bool = False

    def config_file(self) -> Path:
        """Return where the configuration is, or will be made.

        Raises:
            Untrusted: Nobody named the configuration, and others may change it.
            ConfigError: There is no configuration, or this user may not look for it.
        """
        return locate.find_config(self.config, create=self.create)

    def settings(self) -> Settings:
        """Read the configuration.

        Raises:
            ConfigError: There is no configuration, or it is not valid.
        """
        from orchestrator.config import reader

        return reader.load(self.config_file(), state_dir=self.state_dir)

    def state(self) -> StatePaths:
        """Return the state folder.

        Raises:
            ConfigError: The configuration that names it cannot be read, or what names it makes no sense.
            StateError: The path of the state folder is too long.
        """
        return layout.StatePaths.of(self._find_state())

    def _find_state(self, *, whole: bool = False) -> Path:
        """Return the state folder that ``--state-dir``, the configuration or the environment names.

        Args:
            whole: Read the whole configuration, even if a part of it would be enough.
        """
        if self.state_dir:
            return locate.find_state_dir(self.state_dir)
        try:
            file = self.config_file()
        except NoConfiguration:
            return locate.find_state_dir()
        if self.create and not os.path.lexists(os.path.realpath(file)):
            return locate.find_state_dir()
        try:
            text = config_file.decode(config_file.read(file), file)
            if not whole and not config_file.may_have("state_dir", text):
                return locate.find_state_dir()
            from orchestrator.config.state_dir import find_state

            return find_state(text, file, whole=whole)
        except ConfigError as error:
            raise ConfigError(
                f"{error}\nso the state folder of the service is unknown: correct the configuration, or name"
                " the state folder with --state-dir"
            ) from None

    def may_have_store(self) -> bool:
        """Tell whether the configuration may name a database as the store; to be sure, read all of it.

        A configuration that cannot be read counts for one that names none: what needs it says so.
        """
        try:
            file = self.config_file()
            return config_file.may_have("store", config_file.decode(config_file.read(file), file))
        except ConfigError:
            return False

    def service(self) -> Client:
        """Return a client for the service, whether it runs or not.

        Raises:
            ConfigError: What names the state folder makes no sense.
            StateError: The path of the state folder is too long.
        """
        state = self.state()
        try:
            # Under systemd the service listens in $RUNTIME_DIRECTORY, which an operator's shell lacks.
            holder = read_holder(state.lock)
        except PermissionError:
            holder = None
        socket = holder.socket if holder and holder.socket else state.control_socket

        def start() -> str:
            # Only the needed part of the file was read. No service is at the place that the file names, so a
            # file that is empty or broken, or that names two folders, must not pass for a valid one.
            self._find_state(whole=True)
            return start_command(state.root)

        return Client(socket, start, lambda user: self._trusts(user, state.root))

    def _trusts(self, user: int, state: Path) -> bool:
        """Tell whether the service of a state folder may be a user's: root's, this user's, or its owner's.

        A folder in the usual place below $HOME was not named, and there it is this user's own.
        """
        if peer.is_ours(user):
            return True
        if not self.state_dir and not os.environ.get("STATE_DIRECTORY"):
            with contextlib.suppress(ConfigError):  # there is no usual place
                if state == locate.find_state_dir():
                    return False
        return user == trust.owner_of(state)

    def start_command(self, file: Path) -> str:
        """Return the command that starts the service with a configuration.

        Args:
            file: The configuration.

        Raises:
            ConfigError: What names the state folder makes no sense.
            StateError: The path of the state folder is too long.
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
