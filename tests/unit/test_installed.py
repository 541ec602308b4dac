"""Which units `install-unit` has written, and whether one of them is the service of a state folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import installed
from orchestrator.installed import RUN, parse, start_command, unit_for
from orchestrator.unit import Unit

STATE = Path("/var/lib/orchestrator")
CONFIG = Path("/etc/orchestrator/accounts.yaml")
SALES = Path("/var/lib/orchestrator-sales")


def texts(*units: Unit) -> dict[str, str]:
    return {one.name: one.files()[one.path] for one in units}


def chosen(texts: dict[str, str], state: Path, config: Path | None = None) -> str | None:
    return unit_for([one for name, text in texts.items() if (one := parse(name, text))], state, config)


BOTH = texts(Unit(), Unit("sales"))


@pytest.mark.parametrize(
    ("state", "config", "unit"),
    [
        (STATE, None, "orchestrator"),
        (STATE, CONFIG, "orchestrator"),
        (STATE, Path("/etc/orchestrator-sales/accounts.yaml"), None),
        (STATE, Path("/home/ada/accounts.yaml"), None),
        (SALES, None, "orchestrator@sales"),
        (SALES, Path("/etc/orchestrator-sales/accounts.yaml"), "orchestrator@sales"),
        (SALES, CONFIG, None),
        (Path("/var/lib/orchestrator-other"), None, None),
        (Path("/var/lib/orchestrator/state"), None, None),
        (Path("/home/ada/.local/state/orchestrator"), None, None),
    ],
)
def test_a_unit_is_for_its_state_and_its_configuration(
    state: Path, config: Path | None, unit: str | None
) -> None:
    assert chosen(BOTH, state, config) == unit


def test_a_unit_of_ones_own_is_read_as_it_is() -> None:
    own = Unit(None, "ada", Path("/srv/wa.yaml"), Path("/opt/wa/bin/orchestrator"))
    assert chosen(texts(own), STATE, Path("/srv/wa.yaml")) == "orchestrator"
    assert chosen(texts(own), STATE, CONFIG) is None
    # An edit by hand does not make it another's, unless that changes where it works.
    (name, text), *_ = texts(Unit()).items()
    assert chosen({name: text.replace("WatchdogSec=30s", "WatchdogSec=90s")}, STATE, CONFIG) == name
    moved = text.replace("StateDirectory=orchestrator\n", "StateDirectory=elsewhere\n")
    assert chosen({name: moved}, STATE) is None
    assert chosen({name: moved}, Path("/var/lib/elsewhere")) == name
    other = text.replace("run\n", "run --config\n").replace("--config /etc", "-c /etc")
    assert chosen({name: other}, STATE, CONFIG) is None


def test_what_somebody_else_has_written_is_nobodys_unit() -> None:
    (name, text), *_ = texts(Unit()).items()
    assert chosen({name: text.partition("\n")[2]}, STATE) is None
    assert chosen({name: ""}, STATE) is None
    assert chosen({}, STATE) is None


# What is found on the machine


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of units of a machine on which systemd runs."""
    monkeypatch.setattr(installed, "UNITS", tmp_path)
    monkeypatch.setattr(installed, "BOOTED", tmp_path)
    return tmp_path


def test_the_command_is_that_of_the_unit(units: Path) -> None:
    assert start_command(STATE) == RUN
    for name, text in BOTH.items():
        (units / f"{name}.service").write_text(text)
    assert start_command(STATE) == start_command(STATE, CONFIG) == "systemctl start orchestrator"
    assert start_command(SALES) == "systemctl start orchestrator@sales"
    assert start_command(units, CONFIG) == start_command(STATE, units / "accounts.yaml") == RUN


def test_links_lead_to_the_same_folder_and_configuration(units: Path, tmp_path: Path) -> None:
    (units / "orchestrator.service").write_text(BOTH["orchestrator"])
    (tmp_path / "state").symlink_to(STATE)
    (tmp_path / "accounts.yaml").symlink_to(CONFIG)
    assert start_command(tmp_path / "state", tmp_path / "accounts.yaml") == "systemctl start orchestrator"
    own = Unit(None, None, tmp_path / "accounts.yaml")
    (units / "orchestrator.service").write_text(own.files()[own.path])
    assert start_command(STATE, CONFIG) == "systemctl start orchestrator"


def test_where_systemd_does_not_run_no_unit_is_started(units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (units / "orchestrator.service").write_text(BOTH["orchestrator"])
    monkeypatch.setattr(installed, "BOOTED", units / "none")
    assert start_command(STATE) == RUN


def a_link(path: Path) -> None:
    path.with_name("target").write_text(BOTH["orchestrator"])
    path.symlink_to("target")


def a_large_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD: dict[str, Callable[[Path], object]] = {
    "a link": a_link,
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a large file": a_large_file,
    "no text": lambda path: path.write_bytes(b"\xff\x00" * 100),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_files_are_no_units_and_do_no_harm(units: Path, what: str) -> None:
    ODD[what](units / "orchestrator.service")
    assert start_command(STATE) == RUN
    (units / "orchestrator@sales.service").write_text(BOTH["orchestrator@sales"])
    assert start_command(SALES) == "systemctl start orchestrator@sales"


def test_other_names_are_not_even_opened(units: Path) -> None:
    for name in (
        "orchestrator2.service",
        "orchestrator@.service",
        "orchestrator@a b.service",
        "orchestrator",
        "orchestrator.service.old",
    ):
        (units / name).write_text(BOTH["orchestrator"])
    assert start_command(STATE) == RUN


def test_a_machine_without_the_folder_has_no_units(units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "UNITS", units / "none")
    assert start_command(STATE) == RUN
    monkeypatch.setattr(installed, "UNITS", units / "a\0b")
    assert start_command(STATE) == RUN
