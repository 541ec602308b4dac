"""Which units `install-unit` has written, and whether one of them is the service of a state folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.unit.plan import Unit
from orchestrator.system import units as installed
from orchestrator.system.units import RUN, parse, start_command, unit_for

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


# Drop-ins


@pytest.fixture
def places(units: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of units, with both units in it, and folders in it for drop-ins that count more or less."""
    for name, text in BOTH.items():
        (units / f"{name}.service").write_text(text)
    monkeypatch.setattr(installed, "CONTROL", (units / "control",))
    monkeypatch.setattr(installed, "LESSER", (units / "run", units / "lib"))
    return units


def drop_in(folder: Path, text: str, name: str = "override", unit: str = "orchestrator") -> Path:
    path = folder / f"{unit}.service.d" / f"{name}.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


PROGRAM = "/opt/orchestrator/bin/orchestrator"
SRV = Path("/srv/wa/accounts.yaml")
ELSEWHERE = Path("/var/lib/elsewhere")
RESET = f"[Service]\nExecStart=\nExecStart={PROGRAM}"


@pytest.mark.parametrize(
    ("text", "state", "config"),
    [
        # What `systemctl edit` is told to write, and what people write.
        (f"{RESET} --config {SRV} run\n", STATE, SRV),
        (f"[Service]\nExecStart =\nExecStart = {PROGRAM} --config={SRV} run --log-format json\n", STATE, SRV),
        (f'[Service]\nExecStart=\nExecStart=-"{PROGRAM}" --config "{SRV}" run\n', STATE, SRV),
        (f"{RESET} \\\n# here\n  --config {SRV} \\\n  run\n", STATE, SRV),
        (f"[Service]\nExecStart=\nExecStart=/usr/bin/nice -n 5 {PROGRAM} --config {SRV} run\n", STATE, SRV),
        (f"{RESET} run\nEnvironment=A=b ORCHESTRATOR_CONFIG={SRV}\n", STATE, SRV),
        ("[Service]\nStateDirectory=\nStateDirectory=elsewhere\n", ELSEWHERE, CONFIG),
        ("[Service]\nStateDirectory=\nStateDirectory=elsewhere:link\n", ELSEWHERE, CONFIG),
        ("[Service]\nStateDirectory=elsewhere\n", ELSEWHERE, CONFIG),
        (f"{RESET} --config {SRV} --state-dir /srv/wa run\n", Path("/srv/wa"), SRV),
        # What says nothing about either.
        ("[Service]\nWatchdogSec=90s\n", STATE, CONFIG),
        (f"[Unit]\nExecStart=\nExecStart={PROGRAM} --config {SRV} run\n", STATE, CONFIG),
        (f"[Service]\n#ExecStart=\n;ExecStart={PROGRAM} --config {SRV} run\n", STATE, CONFIG),
        ("no unit at all\n\xff", STATE, CONFIG),
        ("", STATE, CONFIG),
    ],
)  # fmt: skip
def test_a_drop_in_counts(places: Path, text: str, state: Path, config: Path) -> None:
    drop_in(places, text)
    assert start_command(state) == start_command(state, config) == "systemctl start orchestrator"
    if state != STATE:
        assert start_command(STATE) == RUN
    if config != CONFIG:
        assert start_command(state, CONFIG) == RUN
    assert start_command(SALES) == "systemctl start orchestrator@sales"


def test_a_second_command_without_a_reset_is_none_that_systemd_starts(places: Path) -> None:
    drop_in(places, f"[Service]\nExecStart={PROGRAM} --config {SRV} run\n")
    assert start_command(STATE) == "systemctl start orchestrator"  # which says what is wrong
    assert start_command(STATE, SRV) == start_command(STATE, CONFIG) == RUN


def says(state: str) -> str:
    return f"[Service]\nStateDirectory=\nStateDirectory={state}\n"


def found(state: str) -> bool:
    return start_command(Path("/var/lib", state)) == "systemctl start orchestrator"


def test_drop_ins_are_applied_by_their_names_wherever_they_are(places: Path) -> None:
    drop_in(places, says("first"), "10-a")
    drop_in(places / "lib", says("last"), "90-b")
    drop_in(places / "run", says("middle"), "50-c")
    assert found("last")
    drop_in(places, "", "90-b")
    assert found("middle")
    (places / "control/orchestrator.service.d").mkdir(parents=True)
    (places / "control/orchestrator.service.d/50-c.conf").symlink_to("/dev/null")
    assert found("first")


def test_of_one_name_the_more_important_folder_counts(places: Path) -> None:
    for number, folder in enumerate((places / "lib", places / "run", places, places / "control")):
        drop_in(folder, says(f"state{number}"))
        assert found(f"state{number}")


def test_drop_ins_of_all_instances_and_of_all_services(places: Path) -> None:
    drop_in(places, "[Service]\nStateDirectory=\nStateDirectory=wa-%i\n", unit="orchestrator@")
    assert start_command(Path("/var/lib/wa-sales")) == "systemctl start orchestrator@sales"
    assert start_command(STATE) == "systemctl start orchestrator"
    drop_in(places, says("one"), unit="orchestrator@sales")  # of the same name, and more to the point
    assert start_command(Path("/var/lib/one")) == "systemctl start orchestrator@sales"
    path = places / "service.d" / "all.conf"
    path.parent.mkdir()
    path.write_text("[Service]\nStateDirectory=\nStateDirectory=all\n")
    assert found("all")


def test_a_drop_in_may_be_a_link_and_odd_ones_do_no_harm(places: Path) -> None:
    target = places / "mine"
    target.write_text(says("linked"))
    link = drop_in(places, "", "20-link")
    link.unlink()
    link.symlink_to(target)
    assert found("linked")
    os.mkfifo(link.with_name("30-pipe.conf"))
    link.with_name("40-folder.conf").mkdir()
    link.with_name("50-dangling.conf").symlink_to("nowhere")
    with link.with_name("60-large.conf").open("wb") as file:
        file.truncate(1 << 40)
    link.with_name("70-other.txt").write_text(says("other"))
    assert found("linked")
