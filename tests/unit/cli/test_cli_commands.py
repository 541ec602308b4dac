"""The table of commands against the modules that have them."""

import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group
from typer.testing import CliRunner

from orchestrator import cli
from orchestrator.cli import sandbox
from orchestrator.cli.lazy import LazyGroup


def registered(package: ModuleType) -> dict[str, str]:
    """Return what the modules of a package offer, each with its module; groups below it count as one."""
    found = {}
    groups: list[str] = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        app = getattr(import_module(module.name), "app", None)
        if not isinstance(app, typer.Typer) or module.name.startswith(tuple(groups)):
            continue
        names: Iterable[str] = get_group(app).commands
        if isinstance(app.info.name, str):
            groups.append(f"{module.name}.")
            names = [app.info.name]
        found.update(dict.fromkeys(names, module.name.removeprefix("orchestrator.cli.")))
    return found


@pytest.mark.parametrize("package", [cli, sandbox], ids=["orchestrator", "sandbox"])
def test_the_table_has_every_command_that_a_module_offers(package: ModuleType) -> None:
    assert registered(package) == package.COMMANDS


@pytest.mark.parametrize(
    ("root", "table", "groups"),
    [
        (
            get_command(cli.app),
            cli.COMMANDS,
            [
                "quarantine",
                "maintenance",
                "token",
                "webhook",
                "consumer",
                "bot",
                "on-change",
                "config",
                "cluster",
                "sandbox",
            ],
        ),
        (get_group(sandbox.app), sandbox.COMMANDS, []),
    ],
    ids=["orchestrator", "sandbox"],
)
def test_every_command_of_the_table_can_be_made(
    root: object, table: dict[str, str], groups: list[str]
) -> None:
    assert isinstance(root, LazyGroup)
    made = {name: root.get_command(None, name) for name in table}
    assert {name: one and one.name for name, one in made.items()} == {name: name for name in made}
    assert [name for name, one in made.items() if isinstance(one, TyperGroup)] == groups
    assert root.get_command(None, "nonsense") is None


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    root = get_command(cli.app)
    assert isinstance(root, LazyGroup)
    shown = CliRunner().invoke(cli.app, ["--help"]).stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split(None, 1)[0] for line in shown] == list(cli.COMMANDS)
    for line, name in zip(shown, cli.COMMANDS, strict=True):
        command = root.get_command(None, name)
        assert isinstance(command, TyperCommand | TyperGroup)
        text = line.split(None, 1)[1]
        assert text
        assert command.get_short_help_str(200).startswith(text.removesuffix("...").removesuffix(".")), name


def test_a_mistyped_command_is_answered_with_those_that_are_like_it() -> None:
    said = CliRunner().invoke(cli.app, ["lits"])
    assert said.exit_code == 2
    assert "Did you mean 'list'" in said.output


def test_a_command_in_the_wrong_module_is_a_bug() -> None:
    class Wrong(LazyGroup):
        modules = {"list": "service"}  # noqa: RUF012 - a ClassVar in the base class

    app = typer.Typer(cls=Wrong)
    app.callback()(lambda: None)
    with pytest.raises(LookupError, match="wrong module for list"):
        CliRunner().invoke(app, ["list"], catch_exceptions=False)


def test_the_collector_skips_the_modules_and_is_on_while_a_command_runs() -> None:
    code = (
        "import gc, orchestrator.cli as cli\n"
        "from orchestrator.__main__ import main\n"
        "cli.main = lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000)\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_ctrl_c_while_the_command_is_loaded_ends_it_without_a_traceback() -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'orchestrator.cli':\n"
        "            raise KeyboardInterrupt\n"
        "from orchestrator.__main__ import main\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
