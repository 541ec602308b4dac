"""The recordings in the documentation are of the commands that the recorder gives: nothing is typed."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.recordings import NUMBERS, PAGE, SCENES, SHOWN_FOLDER, MissingCommandError, Recorder, Scene
from orchestrator.cli import app

TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```console\n\$ ([^\n]*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
MISSING = re.findall(r"^- (orchestrator .*)$", TEXT.partition("## Not recorded yet")[2], re.MULTILINE)


def test_the_page_has_every_scene_or_says_that_it_is_missing() -> None:
    recorded = [command for command, _ in BLOCKS]
    assert recorded == [scene.command for scene in SCENES if scene.command not in MISSING]
    assert {*recorded, *MISSING} == {scene.command for scene in SCENES}


@pytest.mark.parametrize(
    "scene", [one for one in SCENES if one.command not in MISSING], ids=lambda one: one.command
)
def test_a_recorded_command_and_its_options_are_there(scene: Scene) -> None:
    name, *arguments = scene.arguments
    commands: Any = typer.main.get_command(app)  # typer has it from one library or another
    command = commands.get_command(typer.Context(commands), name)
    assert command is not None, name
    # Raises, if the program does not know an option or misses an argument.
    context = command.make_context(name, [*arguments], resilient_parsing=False)
    context.close()


def test_what_is_recorded_is_of_a_run_and_names_no_folder_of_it() -> None:
    assert "/tmp" not in TEXT
    assert SHOWN_FOLDER in TEXT
    for _, printed in BLOCKS:
        assert printed.strip()
    every = "\n".join(printed for _, printed in BLOCKS)
    for name, number in NUMBERS.items():
        assert name in every
        assert number not in every


class _Refusing:
    """A service whose commands all fail: there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "missing.yaml"
        self.environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}


def test_a_command_that_fails_ends_the_recording(tmp_path: Path) -> None:
    scene = Scene("", "", "orchestrator fly")
    service = _Refusing(tmp_path)
    with pytest.raises(MissingCommandError, match="`orchestrator fly` ended with exit code 2"):
        Recorder(service, partial=False).record(scene)  # type: ignore[arg-type]
    partial = Recorder(service, partial=True)  # type: ignore[arg-type]
    partial.record(scene)
    assert not partial.printed
    assert [*partial.failed] == [scene]
