"""What survives a restart; a store that is opened again stands for the restart."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.server.store import (
    SENT_KEPT,
    Device,
    DeviceKey,
    Group,
    Store,
    StoreError,
    lid_of,
)
from orchestrator.sandbox.wire.jid import GROUP, JID, LID, PN

ANN, BEA = "4915100001", "4915100002"
ONE: DeviceKey = (ANN, 1)
TWO: DeviceKey = (ANN, 2)
ADVICE = "check the folder's owner and free space, or move the file away to start afresh"


def device(key: DeviceKey = ONE) -> Device:
    number, place = key
    mark = bytes([place])
    return Device(
        number=number,
        device=place,
        noise=b"n" * 31 + mark,
        identity=b"i" * 31 + mark,
        registration=b"rrr" + mark,
        skey_id=b"kk" + mark,
        skey=b"s" * 31 + mark,
        skey_signature=b"x" * 63 + mark,
        os="Tests",
        linked_at=1_800_000_000,
        removed=False,
    )


def prekeys(*numbers: int) -> list[tuple[bytes, bytes]]:
    return [(number.to_bytes(3), number.to_bytes(32)) for number in numbers]


def save_prekeys(store: Store, key: DeviceKey, *numbers: int) -> None:
    known = store.device(key) or device(key)
    skey = (known.skey_id, known.skey, known.skey_signature)
    store.save_keys(
        key, registration=known.registration, identity=known.identity, skey=skey, prekeys=prekeys(*numbers)
    )


def waiting(store: Store, key: DeviceKey) -> list[tuple[str, str, bytes]]:
    return [(item.kind, item.stanza_id, item.stanza) for item in store.queued(key)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store with two people."""
    with closing(Store(path)) as opened:
        opened.add_person(ANN, "Ann", {"half": "Ann's"})
        opened.add_person(BEA, "Bea", {"half": "Bea's"})
        yield opened


@pytest.fixture
def reopened(store: Store, path: Path) -> Iterator[Callable[[], Store]]:
    """Close the store and open it again, as a restart does."""
    opened: list[Store] = []

    def again() -> Store:
        store.close()
        opened.append(Store(path))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


# Secrets and people


def test_a_secret_stays_what_it_became_first(store: Store, reopened: Callable[[], Store]) -> None:
    assert store.secret("root", b"first") == b"first"
    assert store.secret("root", b"second") == b"first"
    assert store.secret("other", b"second") == b"second"
    assert reopened().secret("root", b"third") == b"first"


def test_people_are_found_by_number_and_by_either_address(
    store: Store, reopened: Callable[[], Store]
) -> None:
    ann = store.person(ANN)
    assert ann is not None
    assert (ann.number, ann.name, ann.lid) == (ANN, "Ann", lid_of(ANN))
    assert 0 <= ann.raw_id < 2**32
    assert ann.pn_jid == JID(ANN, PN)
    assert ann.lid_jid == JID(ann.lid, LID)
    opened = reopened()
    for address in (ann.pn_jid, ann.lid_jid, ann.lid_jid.with_device(7), JID(ANN, "c.us")):
        assert opened.person_by_jid(address) == ann
    assert [person.number for person in opened.people()] == [ANN, BEA]


@pytest.mark.parametrize("address", [JID("1"), JID("1", LID), JID(ANN, LID), JID(ANN, GROUP), JID("")])
def test_nobody_is_found_by_another_address(store: Store, address: JID) -> None:
    assert store.person_by_jid(address) is None


def test_a_number_has_one_person(store: Store) -> None:
    assert store.person("4915100003") is None
    with pytest.raises(sqlite3.IntegrityError):
        store.add_person(ANN, "Anna", {})
    assert [person.name for person in store.people()] == ["Ann", "Bea"]


@given(st.lists(st.from_regex(r"[1-9][0-9]{5,14}", fullmatch=True), unique=True))
def test_hidden_addresses_have_15_digits_and_are_the_same_every_time(numbers: list[str]) -> None:
    lids = [lid_of(number) for number in numbers]
    assert all(len(lid) == 15 and lid.isdecimal() and not lid.startswith("0") for lid in lids)
    assert lids == [lid_of(number) for number in numbers]
    assert len(set(lids)) == len(lids)


def test_signal_states_are_kept_by_person(store: Store, reopened: Callable[[], Store]) -> None:
    assert store.signal_state(ANN) == {"half": "Ann's"}
    assert store.sender_keys(ANN) == {}
    store.save_signal(ANN, {"half": "new"}, {"own": {"group": [1]}})
    store.save_signal(ANN, {"half": "newer"})
    opened = reopened()
    assert opened.signal_state(ANN) == {"half": "newer"}
    assert opened.sender_keys(ANN) == {"own": {"group": [1]}}
    assert opened.signal_state(BEA) == {"half": "Bea's"}


# Devices


def test_a_device_number_is_never_used_twice(store: Store, reopened: Callable[[], Store]) -> None:
    assert [store.next_device(ANN) for _ in range(3)] == [1, 2, 3]
    assert store.next_device(BEA) == 1
    assert reopened().next_device(ANN) == 4


def test_linked_devices_are_kept_whole(store: Store, reopened: Callable[[], Store]) -> None:
    for key in (TWO, (BEA, 1), ONE):
        store.add_device(device(key))
    opened = reopened()
    assert opened.device(ONE) == device(ONE)
    assert opened.device((ANN, 3)) is None
    assert [one.key for one in opened.devices()] == [ONE, TWO, (BEA, 1)]
    assert [one.key for one in opened.devices(ANN)] == [ONE, TWO]


def test_a_removed_device_is_known_but_not_listed_and_nothing_waits_for_it(
    store: Store, reopened: Callable[[], Store]
) -> None:
    for key in (ONE, TWO):
        store.add_device(device(key))
        save_prekeys(store, key, 1, 2)
        store.queue(key, "message", "A", b"a")
        store.watch(BEA, key)
    assert store.remove_device(ONE)
    assert not store.remove_device(ONE)
    assert not store.remove_device((ANN, 9))
    opened = reopened()
    assert opened.device(ONE) == replace(device(ONE), removed=True)
    assert opened.devices(ANN) == [device(TWO)]
    assert (opened.prekey_count(ONE), opened.prekey_count(TWO)) == (0, 2)
    assert opened.queue_lengths() == {TWO: 1}
    assert opened.watchers(BEA) == [TWO]


def test_who_knows_a_device_list_is_noted_once(store: Store, reopened: Callable[[], Store]) -> None:
    for _ in range(2):
        store.watch(ANN, ONE)
        store.watch(ANN, (BEA, 1))
    assert sorted(reopened().watchers(ANN)) == [ONE, (BEA, 1)]


# Prekeys


def test_uploaded_keys_replace_the_signed_one_and_add_to_the_others(
    store: Store, reopened: Callable[[], Store]
) -> None:
    store.add_device(device())
    save_prekeys(store, ONE, 1, 2)
    store.save_keys(
        ONE,
        registration=b"new!",
        identity=b"I" * 32,
        skey=(b"new", b"S" * 32, b"X" * 64),
        prekeys=[(b"\0\0\2", b"changed" + bytes(25)), *prekeys(3)],
    )
    opened = reopened()
    changed = replace(
        device(), registration=b"new!", identity=b"I" * 32, skey_id=b"new", skey=b"S" * 32,
        skey_signature=b"X" * 64,
    )  # fmt: skip
    assert opened.device(ONE) == changed
    assert opened.prekey_count(ONE) == 3
    assert {opened.take_prekey(ONE) for _ in range(3)} == set(prekeys(1, 2, 3))


def test_a_prekey_is_given_out_once_even_if_it_is_uploaded_again(
    store: Store, reopened: Callable[[], Store]
) -> None:
    store.add_device(device())
    save_prekeys(store, ONE, 1, 2)
    first = store.take_prekey(ONE)
    save_prekeys(store, ONE, 1, 2)
    opened = reopened()
    assert opened.prekey_count(ONE) == 1
    assert {first, opened.take_prekey(ONE)} == set(prekeys(1, 2))
    assert opened.take_prekey(ONE) is None
    assert opened.prekey_count(ONE) == 0


# Stanzas that wait


def test_stanzas_wait_in_their_order_until_they_are_confirmed(
    store: Store, reopened: Callable[[], Store]
) -> None:
    places = [
        store.queue(ONE, "message", "A", b"a"),
        store.queue(TWO, "message", "A", b"for two"),
        store.queue(ONE, "notification", "A", b"n"),
        store.queue(ONE, "message", "B", b"b"),
    ]
    assert places == sorted(places)
    assert store.queue_lengths() == {ONE: 3, TWO: 1}
    opened = reopened()
    assert waiting(opened, ONE) == [
        ("message", "A", b"a"), ("notification", "A", b"n"), ("message", "B", b"b")
    ]  # fmt: skip
    assert opened.confirm(ONE, "message", ["A", "B", "never seen"]) == 2
    assert waiting(opened, ONE) == [("notification", "A", b"n")]
    assert waiting(opened, TWO) == [("message", "A", b"for two")]
    assert opened.confirm(ONE, "message", []) == 0


def test_a_message_sent_again_is_confirmed_with_the_first(store: Store) -> None:
    store.queue(ONE, "message", "A", b"first")
    store.queue(ONE, "message", "A", b"again")
    assert store.confirm(ONE, "message", ["A"]) == 2
    assert store.queued(ONE) == []


def test_each_receipt_for_a_message_is_confirmed_by_itself(store: Store) -> None:
    store.queue(ONE, "receipt", "A", b"delivered")
    store.queue(ONE, "receipt", "A", b"read")
    assert store.confirm(ONE, "receipt", ["A"]) == 1
    assert waiting(store, ONE) == [("receipt", "A", b"read")]


# Groups, media, messages


def test_a_group_is_saved_whole(store: Store, reopened: Callable[[], Store]) -> None:
    group = Group("120363", "Ducks", ANN, 1, BEA, 2, {ANN: "superadmin", BEA: ""})
    store.save_group(group)
    store.save_group(Group("120364", "Alone", BEA, 3, BEA, 3, {BEA: "superadmin"}))
    settings = {"announcement": "1", "description": "Ponds"}
    changed = replace(group, subject="Geese", members={ANN: "superadmin"}, settings=settings)
    store.save_group(changed)
    opened = reopened()
    assert opened.group("120363") == changed
    assert opened.group("120365") is None
    assert [one.subject for one in opened.groups()] == ["Geese", "Alone"]
    assert [one.subject for one in opened.groups(BEA)] == ["Alone"]
    assert opened.groups("4915100003") == []
    assert changed.jid == JID("120363", GROUP)
    opened.save_group(replace(changed, settings={}))
    assert opened.group("120363") == replace(changed, settings={})
    opened.delete_group("120363")
    assert [one.subject for one in opened.groups()] == ["Alone"]


def test_a_file_of_an_earlier_version_has_groups_without_settings(store: Store, path: Path) -> None:
    group = Group("120363", "Ducks", ANN, 1, BEA, 2, {ANN: "superadmin"})
    store.save_group(group)
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE crowd_setting")

    with closing(Store(path)) as opened:
        assert opened.group("120363") == group


def test_media_are_kept_by_name(store: Store, reopened: Callable[[], Store]) -> None:
    store.save_media("one", "image", b"\0old")
    store.save_media("one", "image", b"\0new")
    opened = reopened()
    assert opened.media("one") == b"\0new"
    assert opened.media("two") is None


def test_an_inbox_is_read_from_any_place_on(store: Store, reopened: Callable[[], Store]) -> None:
    places = [store.add_inbox(number, {"text": number}) for number in (ANN, BEA, ANN)]
    opened = reopened()
    assert opened.inbox(ANN) == [
        {"seq": places[0], "text": ANN},
        {"seq": places[2], "text": ANN},
    ]
    assert opened.inbox(ANN, places[0]) == [{"seq": places[2], "text": ANN}]
    assert opened.inbox(ANN, places[2]) == []


def test_a_message_of_an_inbox_is_found_by_its_id(store: Store) -> None:
    for text in ("first", "again"):
        store.add_inbox(ANN, {"id": "A", "text": text})
    store.add_inbox(BEA, {"id": "B", "text": "of Bea"})

    found = store.inbox_message(ANN, "A")

    assert found is not None
    assert found["text"] == "first"
    assert store.inbox_message(ANN, "B") is None


def test_the_sender_of_an_earlier_version_is_found(store: Store) -> None:
    store.add_inbox(ANN, {"id": "A", "address": "1@lid"})
    store.add_inbox(ANN, {"id": "B", "sender": "2@lid", "address": "A street"})
    assert [one["sender"] for one in store.inbox(ANN)] == ["1@lid", "2@lid"]
    assert store.inbox(ANN)[1]["address"] == "A street"


def test_a_place_of_an_earlier_version_that_is_no_number_does_no_harm(
    store: Store, reopened: Callable[[], Store]
) -> None:
    store._db.execute("DROP INDEX inbox_by_id")
    store.add_inbox(ANN, {"id": "A", "sender": "1@lid", "latitude": float("nan")})
    store.add_inbox(ANN, {"id": "B", "sender": "1@lid"})
    opened = reopened()
    assert opened.inbox_message(ANN, "A") is None
    assert [one["id"] for one in opened.inbox_messages(ANN, "B")] == ["B"]


def test_the_last_sent_messages_are_remembered(store: Store, reopened: Callable[[], Store]) -> None:
    store.remember_sent(BEA, "kept", "chat", "media", b"\0plain")
    with store.transaction():
        for number in range(SENT_KEPT + 1):
            store.remember_sent(ANN, str(number), "chat", "text", b"plain")
    opened = reopened()
    assert opened.sent(ANN, "0") is None
    assert opened.sent(ANN, "1") == opened.sent(ANN, str(SENT_KEPT)) == ("chat", "text", b"plain")
    assert opened.sent(BEA, "kept") == ("chat", "media", b"\0plain")
    assert opened.sent(ANN, "kept") is None


# Transactions


def test_a_transaction_happens_whole_or_not_at_all(store: Store) -> None:
    with store.transaction(), store.transaction():
        store.queue(ONE, "message", "A", b"a")
    with suppress(RuntimeError), store.transaction():
        store.queue(ONE, "message", "B", b"b")
        store.remove_device(ONE)
        raise RuntimeError
    assert [item.stanza_id for item in store.queued(ONE)] == ["A"]


WRITER = """
import sys
from pathlib import Path
from orchestrator.sandbox.server.store import Store

store = Store(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    with store.transaction():
        for place in range(20):
            store.queue(("4915100001", 1), "message", f"{number}-{place}", bytes(3000))
        store.add_inbox("4915100001", {"number": number})
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_transactions(store: Store, path: Path) -> None:
    store.close()
    written = 0
    for moment in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(3 + 2 * moment):
            process.stdout.readline()  # it goes on with the next transaction meanwhile
        process.send_signal(signal.SIGKILL)
        process.wait()
        told = process.stdout.read().split()
        process.stdout.close()
        with closing(Store(path)) as opened:
            messages, batches = len(opened.queued(ONE)), len(opened.inbox(ANN))
            assert messages == 20 * batches
            assert batches >= written + 3 + 2 * moment + len(told)  # what it said was done, is done
            written = batches


# The file


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o7777 for file in folder.iterdir()}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_only_the_owner_may_read_the_files(tmp_path: Path, mask: int) -> None:
    with umask(mask), closing(Store(tmp_path / "s")) as store:
        store.secret("root", b"key")
        assert modes(tmp_path) == {"s": 0o600, "s-wal": 0o600, "s-shm": 0o600}


def test_a_file_that_others_may_read_is_closed_to_them(store: Store, path: Path) -> None:
    store.close()
    path.chmod(0o644)
    with closing(Store(path)):
        assert set(modes(path.parent).values()) == {0o600}


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_not_followed(path: Path, target: str) -> None:
    (path.parent / "there").write_bytes(b"precious")
    path.symlink_to(path.parent / target)
    with pytest.raises(StoreError, match="Too many levels of symbolic links"):
        Store(path)
    assert (path.parent / "there").read_bytes() == b"precious"
    assert not (path.parent / "nowhere").exists()


def test_neither_is_a_link_in_the_place_of_another_file_of_the_database(store: Store, path: Path) -> None:
    store.close()
    victim = path.parent / "victim"
    victim.write_bytes(b"precious")
    path.with_name(f"{path.name}-wal").symlink_to(victim)
    with suppress(StoreError), closing(Store(path)) as opened:
        opened.queue(ONE, "message", "A", b"a")
    assert victim.read_bytes() == b"precious"


def damage_header(data: bytes) -> bytes:
    return b"no database at all" + data[18:]


def damage_pages(data: bytes) -> bytes:
    return data[:4096] + bytes(len(data) - 4096)


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [damage_header, damage_pages, cut_off, lambda _: b"x" * 100])
def test_a_damaged_file_is_refused_with_advice_and_left_as_it_is(
    store: Store, path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store.close()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(StoreError) as failure:
        Store(path)
    assert str(failure.value).startswith(f"{path}: cannot be used as the sandbox's state (")
    assert str(failure.value).endswith(ADVICE)
    assert path.read_bytes() == damaged


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_changed_anywhere_are_noticed_or_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "s"
    with closing(Store(path)) as store:
        store.add_person(ANN, "Ann", {})
        store.queue(ONE, "message", "A", bytes(5000))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(StoreError):
        Store(path).close()


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    with closing(Store(path)) as store:
        assert store.people() == []


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.parent.rmdir(), "No such file or directory"),
    ],
)
def test_a_place_that_cannot_be_used_is_named(
    tmp_path: Path, prepare: Callable[[Path], None], why: str
) -> None:
    path = tmp_path / "folder" / "s"
    path.parent.mkdir()
    prepare(path)
    with pytest.raises(StoreError, match=rf"{path}: cannot be used as the sandbox's state \(.*{why}"):
        Store(path)


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 2", "CREATE TABLE theirs (x)"])
def test_a_database_of_another_version_or_program_is_refused_untouched(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute(statement)
        other.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"another version.*use another state folder or move the file away"):
        Store(path)
    assert path.read_bytes() == before
