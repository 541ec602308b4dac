"""A session is only used where it was paired, and none is lost by a start in the wrong environment."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import write_device, write_unlinked

from orchestrator.accounts.failure import Kind
from orchestrator.sandbox.environment import ROOT_KEY_VARIABLE
from orchestrator.store import leftovers, moving, quarantine, realm, trial
from orchestrator.store.files import SessionFiles
from orchestrator.store.layout import StatePaths

NOW = 1_795_354_074.0
ONE, TWO = (realm.current({realm.VARIABLE: f"{number:064x}"}) for number in (1, 2))
PLACES = [realm.WHATSAPP, ONE, TWO]


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    found = StatePaths.of(tmp_path / "state", environ={})
    found.prepare()
    return found


def paired(paths: StatePaths, where: str | None) -> bytes:
    """Give the account a session of a device; return it."""
    paths.home("a").mkdir(exist_ok=True)
    if where is not None:
        realm.note(paths.home("a"), where)
    return write_device(paths.session("a")).read_bytes()


def delete_device(paths: StatePaths) -> None:
    """Do what the library does with a session that was refused."""
    with closing(sqlite3.connect(paths.session("a"))) as connection, connection:
        connection.execute("DELETE FROM whatsmeow_device")


def files(paths: StatePaths) -> list[str]:
    return sorted(path.name for path in paths.sessions.iterdir())


def test_the_variable_is_the_sandboxs() -> None:
    assert realm.VARIABLE == ROOT_KEY_VARIABLE
    assert realm.current({}) == "whatsapp"
    assert not realm.is_sandbox({})
    assert realm.is_sandbox({realm.VARIABLE: ""})
    key = "ab" * 32
    assert realm.current({realm.VARIABLE: key}) == realm.current({realm.VARIABLE: f" {key.upper()}"})
    assert key not in realm.current({realm.VARIABLE: key})
    assert len({*PLACES}) == 3


@pytest.mark.parametrize("here", PLACES)
@pytest.mark.parametrize("where", PLACES)
def test_a_session_is_used_where_it_was_paired(paths: StatePaths, where: str, here: str) -> None:
    before = paired(paths, where)
    refusal = SessionFiles(paths, here).admit("a")
    assert paths.session("a").read_bytes() == before
    assert realm.read(paths.home("a")) == where
    if where == here:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.kind == "config"
    assert "was paired with" in refusal.text
    assert (realm.VARIABLE if where == realm.WHATSAPP else "sandbox") in refusal.text
    # Back where it belongs.
    assert SessionFiles(paths, where).admit("a") is None


@pytest.mark.parametrize("here", PLACES)
def test_what_is_not_linked_yet_is_paired_here(paths: StatePaths, here: str) -> None:
    store = SessionFiles(paths, here)
    assert store.admit("a") is None
    assert realm.read(paths.home("a")) == here
    write_unlinked(paths.session("a"))
    for other in PLACES:
        assert SessionFiles(paths, other).admit("a") is None
        assert realm.read(paths.home("a")) == other


# Sessions of version 0.1, which do not say where they were paired


def test_a_session_of_old_is_of_whatsapp_where_that_is_dialed(paths: StatePaths) -> None:
    paired(paths, None)
    assert SessionFiles(paths, realm.WHATSAPP).admit("a") is None
    assert realm.read(paths.home("a")) == realm.WHATSAPP
    assert files(paths) == ["a"]


def test_a_session_of_old_that_connects_is_of_the_sandbox(paths: StatePaths) -> None:
    before = paired(paths, None)
    store = SessionFiles(paths, ONE)
    assert store.admit("a") is None
    assert files(paths) == [".a.untried", "a"]
    store.settle("a")
    assert realm.read(paths.home("a")) == ONE
    assert files(paths) == ["a"]
    assert paths.session("a").read_bytes() == before
    # From now on a log-out is a log-out.
    assert store.admit("a") is None
    assert store.quarantine("a", "logged_out", NOW)
    assert files(paths) == []


@pytest.mark.parametrize("reason", ["logged_out", "locked", "wrong_phone"])
def test_a_session_of_old_that_is_refused_is_as_it_was(paths: StatePaths, reason: str) -> None:
    before = paired(paths, None)
    paths.session("a").with_name("session.sqlite3-journal").write_bytes(b"")
    store = SessionFiles(paths, ONE)
    assert store.admit("a") is None
    delete_device(paths)
    assert store.quarantine("a", reason, NOW) is None
    assert paths.session("a").read_bytes() == before
    assert files(paths) == ["a"]
    assert list(paths.quarantine.iterdir()) == []
    refusal = store.admit("a")
    assert refusal is not None
    assert refusal.kind == "config"
    assert f"unset {realm.VARIABLE}" in refusal.text
    assert paths.session("a").read_bytes() == before
    # Another sandbox may still be the one, and WhatsApp is.
    assert SessionFiles(paths, TWO).admit("a") is None
    assert SessionFiles(paths, realm.WHATSAPP).admit("a") is None
    assert realm.read(paths.home("a")) == realm.WHATSAPP


def test_what_an_operator_puts_away_is_put_away(paths: StatePaths) -> None:
    before = paired(paths, None)
    store = SessionFiles(paths, ONE)
    assert store.admit("a") is None
    place = store.quarantine("a", "repair", NOW)
    assert place is not None
    assert (Path(place) / "session.sqlite3").read_bytes() == before
    assert files(paths) == []


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("gone", [False, True])
def test_a_kill_while_it_is_tried_out(paths: StatePaths, refused: bool, gone: bool) -> None:
    before = paired(paths, None)
    assert SessionFiles(paths, ONE).admit("a") is None
    if refused:
        delete_device(paths)
    if gone:  # between the two renames of `give_back`
        paths.home("a").rename(paths.sessions / ".a.half")
    leftovers.clear(paths)
    assert paths.session("a").read_bytes() == before
    assert SessionFiles(paths, realm.WHATSAPP).admit("a") is None
    assert files(paths) == ["a"]


def test_a_rename_leaves_no_copy_behind(paths: StatePaths, tmp_path: Path) -> None:
    before = paired(paths, None)
    assert SessionFiles(paths, ONE).admit("a") is None
    moving.begin(paths, moving.Rename("a", "b", begun=True))
    moving.finish(paths, Configured({"b": None}, tmp_path / "accounts.yaml", tmp_path))
    leftovers.clear(paths)
    assert files(paths) == ["b"]
    assert paths.session("b").read_bytes() == before


class Configured:
    """What a store asks of a configuration."""

    def __init__(self, accounts: dict[str, object], config_file: Path, qr_dir: Path) -> None:
        self.accounts = accounts
        self.config_file = config_file
        self.qr_dir = qr_dir


def test_one_that_is_too_large_is_not_tried_out(paths: StatePaths) -> None:
    paired(paths, None)
    os.truncate(paths.session("a"), 1 << 40)
    refusal = SessionFiles(paths, ONE).admit("a")
    assert refusal is not None
    assert repr(ONE) in refusal.text
    realm.note(paths.home("a"), ONE)
    assert SessionFiles(paths, ONE).admit("a") is None


# It comes along


def test_it_goes_into_quarantine_and_back(paths: StatePaths) -> None:
    paired(paths, ONE)
    place = quarantine.put(paths.home("a"), paths.quarantine, "repair", NOW)
    assert place is not None
    moving.begin(paths, moving.Restore("a", place.name, "session.sqlite3"))
    moving.finish(paths, Configured({"a": None}, Path("/none"), Path("/none")))
    assert realm.read(paths.home("a")) == ONE
    assert SessionFiles(paths, TWO).admit("a") is not None


# What else may be in its place


@given(st.binary(max_size=300))
def test_what_is_no_realm_counts_as_none(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "realm").write_bytes(data)
        found = realm.read(Path(folder))
        assert found is None or found.encode() == data.strip()


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "huge", "linked folder"])
def test_a_hostile_place(paths: StatePaths, tmp_path: Path, what: str) -> None:
    """It costs nobody a session, is never followed, never waited for, and a new pairing replaces it."""
    before = paired(paths, None)
    file, target = paths.home("a") / "realm", tmp_path / "target"
    target.write_text(f"{ONE}\n")
    match what:
        case "link":
            file.symlink_to(target)
        case "pipe":
            os.mkfifo(file)
        case "folder":
            (file / "more").mkdir(parents=True)
        case "huge":
            file.touch()
            os.truncate(file, 1 << 40)
        case _:
            paths.home("a").rename(tmp_path / "elsewhere")
            (tmp_path / "elsewhere" / "realm").write_text(f"{ONE}\n")
            paths.home("a").symlink_to(tmp_path / "elsewhere")
    assert realm.read(paths.home("a")) is None
    refusal = SessionFiles(paths, realm.WHATSAPP).admit("a")
    assert (refusal is not None) == (what == "linked folder")
    assert target.read_text() == f"{ONE}\n"
    assert paths.session("a").read_bytes() == before
    if what in ("link", "pipe", "huge"):
        assert realm.read(paths.home("a")) == realm.WHATSAPP


def test_on_trial_only_files_are_copied(paths: StatePaths, tmp_path: Path) -> None:
    paired(paths, None)
    (tmp_path / "secret").write_bytes(b"of another")
    (paths.home("a") / "session.sqlite3-journal").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        trial.begin(paths.home("a"), ONE)
    refusal = SessionFiles(paths, ONE).admit("a")
    assert refusal is not None
    assert refusal.kind == "config"


def test_a_process_that_ends_on_trial_without_a_word_loses_no_session(paths: StatePaths) -> None:
    """It crashes, or breaks the rules of its pipe, after the library has deleted the device."""
    before = paired(paths, None)
    sessions = SessionFiles(paths, ONE)
    assert sessions.admit("a") is None
    delete_device(paths)
    refusal = sessions.admit("a")
    assert refusal is not None
    assert refusal.kind is Kind.CONFIG
    assert "was not paired with this sandbox" in refusal.text
    assert paths.session("a").read_bytes() == before
    assert files(paths) == ["a"]
    assert SessionFiles(paths, realm.WHATSAPP).admit("a") is None


def test_a_second_start_on_trial_keeps_the_first_copy(paths: StatePaths) -> None:
    """What the first process has made of the session is not worth a copy."""
    before = paired(paths, None)
    sessions = SessionFiles(paths, ONE)
    assert sessions.admit("a") is None
    paths.session("a").write_bytes(b"no database")
    assert sessions.admit("a") is None
    paths.session("a").unlink()
    assert sessions.admit("a") is not None
    assert paths.session("a").read_bytes() == before


def test_what_was_dug_on_trial_keeps_no_service_from_starting(paths: StatePaths) -> None:
    """The account's own process may make folders in its folder, as deep as it likes."""
    before = paired(paths, None)
    sessions = SessionFiles(paths, ONE)
    assert sessions.admit("a") is None
    top = os.open(paths.home("a"), os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=top)
        inner = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = inner
    os.close(top)
    delete_device(paths)
    assert trial.tidy(paths.sessions) == ["a: the session is as it was before it was tried out in a sandbox"]
    assert paths.session("a").read_bytes() == before
    assert files(paths) == ["a"]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have the kernel give this process no further descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("where", [None, *PLACES])
@pytest.mark.parametrize("leftover", [False, True])
def test_what_cannot_be_read_for_want_of_descriptors_is_read_later(
    paths: StatePaths, where: str | None, *, leftover: bool
) -> None:
    before = paired(paths, where)
    if leftover:
        paths.home("a").with_name(".a.half").mkdir()
    sessions = SessionFiles(paths, ONE)
    with no_descriptors():
        refusal = sessions.admit("a")
    assert refusal is not None
    assert refusal.kind is Kind.MACHINE
    assert "too many open files" in refusal.text
    assert paths.session("a").read_bytes() == before
    later = sessions.admit("a")
    assert (later is None) == (where in (None, ONE))


def test_a_session_of_an_earlier_version_waits_for_descriptors(paths: StatePaths) -> None:
    old = paths.sessions / "a.sqlite3"
    before = write_device(old).read_bytes()
    sessions = SessionFiles(paths, realm.WHATSAPP)
    with no_descriptors():
        refusal = sessions.admit("a")
    assert refusal is not None
    assert refusal.kind is Kind.MACHINE
    assert old.read_bytes() == before
    assert sessions.admit("a") is None
    assert paths.session("a").read_bytes() == before


WORLDS = {
    (False, None): None,
    (False, realm.WHATSAPP): None,
    (False, "sandbox 0123456789abcdef"): "started in a sandbox's environment",
    (True, None): realm.WARNING,
    (True, realm.WHATSAPP): "has accounts of WhatsApp",
    (True, "sandbox 0123456789abcdef"): realm.WARNING,
}


@pytest.mark.parametrize(("in_sandbox", "world"), WORLDS)
def test_a_state_folder_remembers_where_its_service_connected_to(
    tmp_path: Path, in_sandbox: bool, world: str | None
) -> None:
    environ = {realm.VARIABLE: "00" * 32} if in_sandbox else {}
    if world is not None:
        realm.note_world(tmp_path / "world", world)
    said = realm.about_world(tmp_path / "world", environ)
    wanted = WORLDS[in_sandbox, world]
    assert said == wanted if wanted is None else wanted in str(said)


@pytest.mark.parametrize("text", ["", "mars", "not whatsapp", "sandbox 0123", "x" * 5000, "\0"])
def test_a_world_that_nobody_knows_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "world").write_text(text)
    assert realm.read_world(tmp_path / "world") is None
