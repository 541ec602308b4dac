"""What waits for the database: whatever fails, the last status counts, and each entry is there once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.postgres import pending
from orchestrator.postgres.pending import Batch, Code, Entry, Pending

V = TypeVar("V")

NAMES = ("a", "b", "c")


def replaced(have: Mapping[str, V], new: Mapping[str, V | None]) -> dict[str, V]:
    """Return values with others in their places, without those that are removed."""
    return {key: value for key, value in {**have, **new}.items() if value is not None}


@dataclass
class Database:
    """What a database has after batches that were written, perhaps twice."""

    status: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)

    def write(self, batch: Batch) -> None:
        if batch.alone:
            self.status = {name: text for name, text in self.status.items() if name in batch.status}
        self.status = replaced(self.status, batch.status)
        self.facts = replaced(self.facts, batch.facts)
        self.codes = replaced(self.codes, batch.codes)
        self.marks += [one.mark for one in batch.entries if one.mark not in self.marks]


def entry(mark: str, account: str = "a") -> Entry:
    return Entry(account, mark, 1.0, "{}")


def write_all(waiting: Pending, database: Database) -> None:
    while (batch := waiting.take()) is not None:
        database.write(batch)
        waiting.done()


Step = tuple[str, str, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "note", "show", "append", "take", "done", "failed", "lost"]),
        st.sampled_from(NAMES),
        st.sampled_from(["", "1", "2", "3"]),
    ),
    max_size=60,
)


@settings(max_examples=2000)
@given(STEPS, st.booleans())
def test_the_database_ends_with_the_last_of_everything(steps: list[Step], knows: bool) -> None:
    database, waiting = Database({"old": "0", "a": "0"}), Pending()
    if knows:
        waiting.loaded(database.status)
    kept: dict[str, str] | None = None
    facts: dict[str, str] = {}
    codes: dict[str, Code] = {}
    marks: list[str] = []
    batch: Batch | None = None
    for number, (step, name, value) in enumerate(steps):
        match step:
            case "keep":
                kept = {one: value + one for one in NAMES if one <= name}
                waiting.keep(kept)
            case "note":
                waiting.note(name, value or None)
                facts = {**facts, name: value} if value else {k: v for k, v in facts.items() if k != name}
            case "show":
                code = Code(value.encode(), 1.0) if value else None
                waiting.show(name, code)
                codes = {k: v for k, v in codes.items() if k != name} | ({name: code} if code else {})
            case "append":
                marks.append(str(number))
                assert waiting.append(entry(str(number), name))
            case "take" if batch is None:
                batch = waiting.take()
            case "done" if batch is not None:
                database.write(batch)
                waiting.done()
                batch = None
            case "lost" if batch is not None:  # written, and the answer was lost
                database.write(batch)
                waiting.failed()
                batch = None
            case "failed" if batch is not None:
                waiting.failed()
                batch = None
    if batch is not None:
        waiting.failed()
    write_all(waiting, database)
    assert waiting.is_empty
    assert database.marks == marks
    assert (database.facts, database.codes) == (facts, codes)
    assert database.status == ({"old": "0", "a": "0"} if kept is None else kept)


def test_what_has_not_changed_is_not_written_again() -> None:
    waiting, database = Pending(), Database()
    waiting.loaded({"a": "1", "b": "2"})
    waiting.keep({"a": "1", "b": "3"})
    batch = waiting.take()
    assert batch is not None
    assert (batch.status, batch.alone) == ({"b": "3"}, False)
    database.write(batch)
    waiting.done()
    waiting.keep({"a": "1", "b": "3"})
    assert waiting.take() is None


def test_one_batch_at_a_time_is_under_way() -> None:
    waiting = Pending()
    waiting.append(entry("1"))
    assert waiting.take() is not None
    waiting.append(entry("2"))
    assert waiting.take() is None
    assert [one.mark for one in waiting.entries_of("a")] == ["1", "2"]
    assert waiting.entries_of("b") == []
    assert not waiting.is_empty


def test_a_batch_has_no_more_entries_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "AT_ONCE", 2)
    waiting = Pending()
    for number in range(5):
        waiting.append(entry(str(number)))
    sizes = []
    while (batch := waiting.take()) is not None:
        sizes.append(len(batch.entries))
        waiting.done()
    assert sizes == [2, 2, 1]


def test_what_finds_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST_ENTRIES", 2)
    waiting = Pending()
    assert [waiting.append(entry(str(number))) for number in range(4)] == [True, True, False, False]
    assert waiting.lost == 2


@pytest.mark.parametrize("again", [Pending.done, Pending.failed])
def test_a_status_that_changes_while_it_is_written_is_written_again(again: Callable[[Pending], None]) -> None:
    waiting = Pending()
    waiting.loaded({})
    waiting.keep({"a": "1"})
    waiting.take()
    waiting.keep({"a": "2"})
    again(waiting)
    batch = waiting.take()
    assert batch is not None
    assert batch.status == {"a": "2"}


def test_no_code_is_shown_where_a_batch_is_printed() -> None:
    waiting = Pending()
    waiting.show("a", Code(b"secret picture", 1.0))
    assert "secret" not in repr(waiting.take())


def test_what_other_machines_write_down_stays() -> None:
    waiting = Pending(shared=True)
    waiting.loaded({"theirs": "0", "mine": "0"})
    waiting.keep({"mine": "1"})
    batch = waiting.take()
    assert batch is not None
    assert (batch.status, batch.alone) == ({"mine": "1"}, False)
    waiting.done()
    waiting.keep({})
    assert waiting.take() is None, "the account has gone to another machine, with its row"


def test_nothing_is_written_of_an_account_that_another_machine_has_taken() -> None:
    waiting = Pending(shared=True)
    waiting.keep({"lost": "1", "mine": "1"})
    waiting.show("lost", None)
    waiting.append(Entry("lost", "0" * 32, 1.0, "{}"))
    assert waiting.take() is not None
    waiting.disown("lost")
    waiting.failed()
    batch = waiting.take()
    assert batch is not None
    assert (dict(batch.status), dict(batch.codes)) == ({"mine": "1"}, {})


@pytest.mark.parametrize("under_way", [False, True])
def test_what_has_happened_to_an_account_before_it_was_taken_is_kept_and_waits_for_nobody_newer(
    *, under_way: bool
) -> None:
    waiting = Pending(shared=True)
    first, other = Entry("lost", "0" * 32, 1.0, "{}"), Entry("mine", "1" * 32, 2.0, "{}")
    waiting.append(first)
    waiting.append(other)
    if under_way:
        assert waiting.take() is not None
    waiting.disown("lost")
    if under_way:
        waiting.failed()
    later = Entry("lost", "2" * 32, 3.0, "{}")
    waiting.append(later)  # the account has come back
    batch = waiting.take()
    assert batch is not None
    assert batch.entries == (replace(first, late=True), other, later)
    waiting.failed()
    again = waiting.take()
    assert again is not None
    assert again.entries == batch.entries
