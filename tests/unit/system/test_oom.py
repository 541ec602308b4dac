from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.system import memory
from orchestrator.system.memory import OomKills


class Machine:
    """The files of a machine, made up."""

    def __init__(self, folder: Path) -> None:
        self.own = folder / "cgroup"
        self.groups = folder / "groups"
        self.whole = folder / "vmstat"

    def kills(self) -> OomKills:
        return OomKills(self.own, self.groups, self.whole)

    def belongs_to(self, *lines: str) -> None:
        self.own.write_text("".join(f"{line}\n" for line in lines))

    def counts(self, file: str, count: int) -> None:
        path = self.groups / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"low 0\noom 7\noom_kill {count}\noom_group_kill 9\n")

    def counts_for_all(self, count: int) -> None:
        self.whole.write_text(f"nr_free_pages 1\noom_kill {count}\noom_kills_of_others 8\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("lines", "file"),
    [
        (["0::/system.slice/orchestrator.service"], "system.slice/orchestrator.service/memory.events"),
        (["0::/"], "memory.events"),  # in a container
        (["8:pids:/a", "4:memory:/b/c", "1:cpu:/d", "0::/"], "memory/b/c/memory.oom_control"),
        (["4:hugetlb,memory:/b", "0::/"], "memory/b/memory.oom_control"),
        (["4:memory:/docker/b", "0::/"], "memory/memory.oom_control"),
        (["0::/a:b"], "a:b/memory.events"),
    ],
)
def test_those_of_the_own_group_count_and_no_others(machine: Machine, lines: list[str], file: str) -> None:
    machine.belongs_to(*lines)
    machine.counts(file, 3)
    machine.counts_for_all(3)
    kills = machine.kills()
    machine.counts_for_all(4)
    assert not kills.any_of_late()
    machine.counts(file, 4)
    assert kills.any_of_late()


def test_where_no_group_counts_those_of_the_machine_do(machine: Machine) -> None:
    machine.belongs_to("4:memory:/elsewhere", "0::/")
    machine.counts_for_all(0)
    kills = machine.kills()
    assert not kills.any_of_late()
    machine.counts_for_all(1)
    assert kills.any_of_late()


def test_it_is_of_late_until_the_second_look(machine: Machine) -> None:
    machine.counts_for_all(0)
    kills = machine.kills()
    machine.counts_for_all(1)
    kills.look()
    assert kills.any_of_late()
    assert kills.any_of_late()
    kills.look()
    assert not kills.any_of_late()


def test_where_nothing_counts_there_were_none(machine: Machine) -> None:
    kills = machine.kills()
    kills.look()
    assert not kills.any_of_late()
    # Nor is what was before the first count of late.
    machine.counts_for_all(5)
    assert not kills.any_of_late()
    kills.look()
    kills.look()
    assert not kills.any_of_late()


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill many\n", "oom_kill -\n", "\xff"])
def test_a_file_that_says_something_else_is_no_trouble(machine: Machine, text: str) -> None:
    machine.whole.write_text(text, encoding="latin-1")
    machine.own.write_text("no such line\n")
    kills = machine.kills()
    assert not kills.any_of_late()


def test_this_machine_counts() -> None:
    assert OomKills()._count() is not None


@pytest.mark.parametrize(("before", "after"), [("0\n", "20"), ("-900\n", "-880"), ("995\n", "1000")])
def test_a_child_is_to_be_chosen_before_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    score = tmp_path / "oom_score_adj"
    score.write_text(before)
    monkeypatch.setattr(memory, "SCORE", score)
    memory.stand_before_the_parent()
    assert score.read_text() == after


def test_where_that_cannot_be_said_it_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SCORE", tmp_path / "none")
    memory.stand_before_the_parent()
    assert not list(tmp_path.iterdir())
