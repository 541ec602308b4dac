"""A group of commands that imports a command's module only when that command is requested.

Importing every module and making every command takes longer than most commands themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

from typer import Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_command_name, get_group

if TYPE_CHECKING:
    from typer._click import HelpFormatter
    from typer.models import CommandInfo

Command: TypeAlias = TyperCommand | TyperGroup


class LazyGroup(TyperGroup):
    """The base class of such a group. A subclass is the ``cls`` of a `typer.Typer`.

    Attributes:
        modules: The commands in the order of the help, each with its module in `orchestrator.cli`. The
            module's ``app`` has the command, or is itself the group of that name.
    """

    modules: ClassVar[Mapping[str, str]]

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - what typer passes on
        super().__init__(**attributes)
        self.commands = cast("MutableMapping[str, Any]", _Commands(self.modules))

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(self.modules)

    def get_command(self, ctx: object, cmd_name: str) -> Command | None:  # noqa: ARG002
        """Return a command, or None if no command has that name."""
        return cast("Command", self.commands[cmd_name]) if cmd_name in self.modules else None

    def format_commands(self, ctx: object, formatter: HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands for the help, from their docstrings alone: no command is made."""
        limit = formatter.width - 6 - max(map(len, self.modules))
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name, of, limit)) for name, of in self.modules.items()])


class _Commands(Mapping[str, Command]):
    """The commands by name. Each is made at the first access."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._made:
            self._made[name] = _make(name, self._modules[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def _make(name: str, module: str) -> Command:
    app = _app(module)
    info = _find(app, name)
    if info is None:
        return get_group(app)
    command = get_command_from_info(
        info, pretty_exceptions_short=app.pretty_exceptions_short, rich_markup_mode=app.rich_markup_mode
    )
    return cast("TyperCommand", command)


def _summary(name: str, module: str, limit: int) -> str:
    app = _app(module)
    info = _find(app, name)
    text = app.info.help if info is None else info.help or inspect.getdoc(info.callback)
    return TyperCommand(name, help=text).get_short_help_str(limit)


def _app(module: str) -> Typer:
    app = import_module(f"orchestrator.cli.{module}").app
    assert isinstance(app, Typer)
    return app


def _find(app: Typer, name: str) -> CommandInfo | None:
    """Return a command of an app, or None if the app itself is the group of that name.

    Raises:
        LookupError: The app has no such command. The table of commands is wrong.
    """
    for info in app.registered_commands:
        assert info.callback is not None
        if name == (info.name or get_command_name(info.callback.__name__)):
            return info
    if app.info.name != name:
        raise LookupError(f"the table of commands names the wrong module for {name}")
    return None
