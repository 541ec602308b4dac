"""Where things are, and how the state folder is kept closed."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.names import check_name
from orchestrator.config import locate
from orchestrator.config.locate import expand, find_config, find_state_dir
from orchestrator.errors import ConfigError, ExitCode, StateError, Untrusted
from orchestrator.store import layout
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths

HOME = {"HOME": "/home/ada"}
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def as_nobody(open_folder: Path) -> Iterator[Path]:
    """The test runs as nobody; it gets a folder of root's."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield open_folder
    finally:
        os.seteuid(0)
        os.setegid(0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Names


@pytest.mark.parametrize(
    "name", ["a", "0", "support", "sales-br", "a..b", "a.", "a-", "a_b.c-d", "4915100001", "x" * 63, "a.lock"]
)
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "_a",
        "A",
        "aB",
        "a/b",
        "a b",
        "a\n",
        "ä",
        "a\0",
        "x" * 64,
        "../a",
        "a/../b",
        "٣",
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="is no account name: 1 to 63 of a-z, 0-9"):
        check_name(name)


def test_a_message_about_a_name_is_one_short_line() -> None:
    with pytest.raises(ConfigError) as caught:
        check_name("a\n\x1b[31m" + "b" * 500)
    assert str(caught.value).startswith(r'"a\x0a\x1b[31mbbb')
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 160


@given(st.text(max_size=70))
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    state = StatePaths.of(Path("/srv/state"), environ={})
    try:
        files = [state.session(name), state.session_lock(name), state.message_folder(name) / "inbox.sqlite3"]
    except ConfigError:
        return
    assert [Path(os.path.normpath(file)) for file in files] == files
    assert [file.parent for file in files] == [
        state.sessions / name,
        state.sessions / name,
        state.messages / name,
    ]


@given(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,10}\Z"), st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,10}\Z"))
def test_no_two_accounts_share_a_file(one: str, other: str) -> None:
    def files(name: str) -> set[str]:
        state = StatePaths.of(Path("/s"), environ={})
        session = str(state.session(name))
        return {
            session,
            f"{session}-wal",
            f"{session}-shm",
            f"{session}-journal",
            str(state.session_lock(name)),
        }

    assert len(files(one)) == 5
    assert one == other or not files(one) & files(other)


# Paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b", "/a/b"),
        ("b", "/base/b"),
        ("./b/../c", "/base/c"),
        ("~", "/home/ada"),
        ("~/x", "/home/ada/x"),
        ("~root/x", "/root/x"),
        ("a~/b", "/base/a~/b"),
        ("${env:ONE}/x", "/one/x"),
        ("${env:ONE}x", "/onex"),
        ("x/${env:NAME}.d", "/base/x/plain.d"),
        ("${env:TILDE}/x", "/base/~/x"),
        ("${env:NESTED}/x", "/base/$ONE/x"),
        ("a$", "/base/a$"),
        ("a$/b", "/base/a$/b"),
        ("with space/ü", "/base/with space/ü"),
    ],
)
def test_expansion_happens_once(text: str, expected: str) -> None:
    environ = {**HOME, "ONE": "/one", "NAME": "plain", "TILDE": "~", "NESTED": "$ONE"}
    assert expand(text, base=Path("/base"), environ=environ) == Path(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty path"),
        ("${env:NOPE}/x", r"\$NOPE, which is not set"),
        ("$XDG_NOPE", r"\$XDG_NOPE, which is not set"),
        ("${env:EMPTY}/x", r"\$EMPTY, which is not set"),
        ("${}", r"no variable: write \$\{env:NAME\}"),
        ("~no-such-user/x", 'the user "no-such-user", who does not exist'),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("${env:BREAK}", "control characters"),
        ("a\ud800b", "characters that file names cannot have"),
    ],
)
def test_what_cannot_be_expanded(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(text, base=Path("/base"), environ={**HOME, "EMPTY": "", "BREAK": "a\nb"})


@pytest.mark.parametrize("name", ["HOME", "USER", "XDG_STATE_HOME", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"])
@pytest.mark.parametrize("form", ["${}", "${{{}}}", "${{env:{}}}"])
def test_places_may_stand_in_a_path(name: str, form: str) -> None:
    assert expand(form.format(name) + "/x", base=Path("/base"), environ={name: "/here"}) == Path("/here/x")


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "PASSWORD", "HTTPS_PROXY", "PATH", "home", "HOMES", "OLDHOME", "USERNAME",
     "xdg_X", "XDG", "XDG_", "_DIRECTORY", "DIRECTORY", "STATE_DIRECTORYS", "state_directory",
     "PGPASSWORD", "A"],
)  # fmt: skip
def test_another_variable_must_be_asked_for(name: str) -> None:
    environ = {name: "hunter2"}
    for text in (
        f"/tmp/${name}",
        f"/tmp/${{{name}}}/x",
        f"a${name}b/c$HOME".replace(f"{name}b", f"{name}/b"),
    ):
        with pytest.raises(ValueError, match=rf"\${name}; .* write \${{env:{name}}}$") as caught:
            expand(text, base=Path("/base"), environ=environ)
        assert "hunter2" not in str(caught.value)
    assert expand(f"/tmp/${{env:{name}}}", base=Path("/base"), environ=environ) == Path("/tmp/hunter2")


@pytest.mark.parametrize(
    "name", ["env", "env:", "env: X", "env:A-B", "ENV:A", "env:1A", "A B", "A:B", "file:/x", "x" * 500]
)
def test_what_is_no_variable_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"write \$\{env:") as caught:
        expand(f"/tmp/${{{name}}}", base=Path("/base"), environ={"A": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_home_of_a_user_without_a_variable_is_the_systems() -> None:
    assert expand("~", base=Path("/base"), environ={}).is_absolute()


# The configuration


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The places a configuration may be in; none has one yet."""
    found = {
        "option": tmp_path / "option.yaml",
        "variable": tmp_path / "variable.yaml",
        "here": tmp_path / "here" / "accounts.yaml",
        "home": tmp_path / "home" / ".config/orchestrator/accounts.yaml",
        "system": tmp_path / "etc" / "accounts.yaml",
    }
    for path in found.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(locate, "SYSTEM_CONFIG", found["system"])
    monkeypatch.chdir(tmp_path / "here")
    return found


def test_the_first_configuration_that_exists_is_taken(places: dict[str, Path], tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home")}
    for place in ("system", "home", "here"):
        places[place].touch()
        assert find_config(environ=environ) == places[place]
    # What is named counts even if it does not exist.
    environ["ORCHESTRATOR_CONFIG"] = "~/../variable.yaml"
    assert find_config(environ=environ) == places["variable"]
    assert find_config("../option.yaml", environ=environ) == places["option"]
    assert find_config(Path("/a/$b"), environ=environ) == Path("/a/$b")
    assert find_config("", environ={**environ, "ORCHESTRATOR_CONFIG": ""}) == places["here"]


def test_a_link_that_leads_nowhere_is_not_passed_over(places: dict[str, Path], tmp_path: Path) -> None:
    places["system"].touch()
    places["here"].symlink_to(tmp_path / "gone")
    assert find_config(environ={"HOME": str(tmp_path)}) == places["here"]


def test_no_configuration_at_all(places: dict[str, Path], tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home")}
    with pytest.raises(ConfigError) as caught:
        find_config(environ=environ)
    looked = ", ".join(str(places[place]) for place in ("here", "home", "system"))
    assert str(caught.value) == (
        f"no configuration found, looked for {looked}: make one with `orchestrator add NAME`,"
        " or name it with --config"
    )


@pytest.mark.parametrize(("uid", "place"), [(0, "system"), (1000, "home")])
def test_where_a_new_configuration_belongs(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, place: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert find_config(environ={"HOME": str(tmp_path / "home")}, create=True) == places[place]


def test_a_configuration_named_by_what_is_not_set() -> None:
    with pytest.raises(
        ConfigError, match=r"^--config: expected the path .*, found \$NOPE, which is not set$"
    ):
        find_config("${env:NOPE}/a.yaml", environ=HOME)
    with pytest.raises(ConfigError, match=r"^\$ORCHESTRATOR_CONFIG: expected"):
        find_config(environ={**HOME, "ORCHESTRATOR_CONFIG": "${NOPE}"})


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    (tmp_path / "x").rmdir()
    monkeypatch.setattr(locate, "SYSTEM_CONFIG", tmp_path / "etc.yaml")
    with pytest.raises(ConfigError, match="no configuration found"):
        find_config(environ={"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match="the current folder is gone"):
        find_config("a.yaml", environ=HOME)


# The state folder


def test_which_state_folder_is_taken(tmp_path: Path) -> None:
    environ = dict(HOME)
    assert find_state_dir(environ=environ) == Path("/home/ada/.local/state/orchestrator")
    environ["STATE_DIRECTORY"] = "/var/lib/orchestrator:/var/lib/other"
    assert find_state_dir(environ=environ) == Path("/var/lib/orchestrator")
    assert find_state_dir(None, Path("/configured"), environ=environ) == Path("/configured")
    assert find_state_dir("~/x", Path("/configured"), environ=environ) == Path("/home/ada/x")
    assert find_state_dir("x", Path("/configured"), environ=environ, cwd=tmp_path) == tmp_path / "x"
    assert find_state_dir(Path("/a/$b"), environ=environ) == Path("/a/$b")


@pytest.mark.parametrize("character", ["?", "#", "%"])
def test_a_state_folder_that_would_lead_sqlite_astray(character: str) -> None:
    with pytest.raises(ConfigError, match=f"^--state-dir: .* a path with [{character}], which session files"):
        find_state_dir(f"/srv/a{character}b", environ=HOME)


def test_a_state_folder_named_by_what_is_not_set() -> None:
    with pytest.raises(ConfigError, match=r"^--state-dir: expected a folder, found \$NOPE, which is not set"):
        find_state_dir("${env:NOPE}/x", environ=HOME)


def test_everything_is_inside_the_state_folder() -> None:
    state = StatePaths.of(Path("/srv/state"), environ={})
    assert {
        str(path.relative_to("/srv/state"))
        for path in (
            state.sessions, state.messages, state.quarantine, state.timeline, state.qr, state.lock,
            state.status,
            state.control_socket, state.session("a.b"), state.session_lock("a.b"),
            state.home("a.b"), state.message_folder("a.b"), state.tracebacks,
        )
    } == {
        "sessions", "messages", "quarantine", "timeline", "qr", "orchestrator.lock", "status.json",
        "control.sock",
        "sessions/a.b", "messages/a.b", "sessions/a.b/session.sqlite3", "sessions/a.b/session.lock",
        "tracebacks",
    }  # fmt: skip


def test_the_socket_is_in_the_runtime_folder_if_there_is_one() -> None:
    state = StatePaths.of(Path("/srv/state"), environ={"RUNTIME_DIRECTORY": "/run/orchestrator:/run/b"})
    assert state.control_socket == Path("/run/orchestrator/control.sock")
    assert state.lock == Path("/srv/state/orchestrator.lock")


def test_a_socket_path_may_have_107_bytes() -> None:
    root = "/" + "ü" * 46 + "x"  # 94 bytes
    assert len(os.fsencode(StatePaths.of(Path(root), environ={}).control_socket)) == layout.MAX_SOCKET_PATH
    with pytest.raises(StateError) as caught:
        StatePaths.of(Path(root + "x"), environ={})
    assert str(caught.value) == (
        f"{root}x/control.sock: a socket's path may have 107 bytes, this one has 108: choose a shorter state"
        " folder, or name a short one for the socket in $RUNTIME_DIRECTORY (under systemd:"
        " RuntimeDirectory=orchestrator)"
    )
    assert StatePaths.of(Path(root + "x"), environ={"RUNTIME_DIRECTORY": "/run/o"})


# Making the folders


@pytest.fixture
def state(tmp_path: Path) -> StatePaths:
    return StatePaths.of(tmp_path / "some" / "state", environ={"RUNTIME_DIRECTORY": str(tmp_path / "run")})


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_new_folders_are_closed(state: StatePaths, umask: int) -> None:
    if umask == 0o777:
        state.root.mkdir(0o700, parents=True)  # such a umask leaves no way into what lies above
        state.control_socket.parent.mkdir()
    before = os.umask(umask)
    try:
        state.prepare()
    finally:
        os.umask(before)
    inside = (state.sessions, state.quarantine, state.timeline, state.tracebacks, state.qr)
    for folder in (state.root, *inside):
        assert mode(folder) == 0o700
    assert state.control_socket.parent.is_dir()
    assert state.prepare() == []


def test_the_folders_above_are_closed_too(state: StatePaths) -> None:
    state.prepare()
    assert mode(state.root.parent) == 0o700


def test_open_folders_are_closed_and_it_is_said(state: StatePaths) -> None:
    state.prepare()
    state.root.chmod(0o755)
    state.sessions.chmod(0o777)
    state.timeline.chmod(0o500)
    assert state.prepare() == [
        f"{state.root}: changed the mode from 0755 to 0700, so that no other user can enter",
        f"{state.sessions}: changed the mode from 0777 to 0700, so that no other user can enter",
        f"{state.timeline}: changed the mode from 0500 to 0700, so that no other user can enter",
    ]
    assert {mode(state.root), mode(state.sessions), mode(state.timeline)} == {0o700}


def test_a_group_may_enter_the_folder_of_codes(state: StatePaths) -> None:
    state.prepare()
    state.qr.chmod(0o750)
    assert state.prepare() == []
    assert mode(state.qr) == 0o750
    state.qr.chmod(0o770)
    assert len(state.prepare()) == 1
    assert mode(state.qr) == 0o700


def test_a_folder_that_others_use_is_not_locked_up(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "photos").mkdir()
    with pytest.raises(StateError, match=r"contains other files, and other users can enter it \(mode 0755\)"):
        StatePaths.of(tmp_path, environ={}).prepare()
    assert mode(tmp_path) == 0o755
    assert list(tmp_path.iterdir()) == [tmp_path / "photos"]
    tmp_path.chmod(0o700)  # the operator says so
    assert StatePaths.of(tmp_path, environ={}).prepare() == []


def test_a_folder_for_everybody_is_never_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(StateError, match="mode 1777"):
        StatePaths.of(tmp_path, environ={}).prepare()


def test_an_empty_volume_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    tmp_path.chmod(0o755)
    assert len(StatePaths.of(tmp_path, environ={}).prepare()) == 1


def test_an_operator_may_link_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "state")
    StatePaths.of(tmp_path / "link", environ={}).prepare()
    assert (tmp_path / "disk" / "state" / "sessions").is_dir()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["sessions", "quarantine", "timeline", "tracebacks", "qr"])
def test_links_inside_are_refused(state: StatePaths, tmp_path: Path, name: str) -> None:
    state.root.mkdir(0o700, parents=True)
    (state.root / name).symlink_to(tmp_path)
    with pytest.raises(StateError) as caught:
        state.prepare()
    assert (
        str(caught.value)
        == f"{state.root / name}: is a symbolic link, but a folder is needed: remove the link"
    )


@pytest.mark.parametrize("name", ["", "sessions"])
def test_a_file_in_the_way(state: StatePaths, name: str) -> None:
    path = state.root / name
    path.parent.mkdir(0o700, parents=True)
    path.touch()
    with pytest.raises(StateError) as caught:
        state.prepare()
    assert str(caught.value).startswith(f"{path}: a file is where a folder is needed: move it away")


def test_a_file_above(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="a file is where a folder is needed"):
        StatePaths.of(tmp_path / "file" / "state", environ={}).prepare()


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StateError, match=r"links lead in a circle|cannot be used|file is where"):
        StatePaths.of(tmp_path / "a", environ={}).prepare()


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(StateError, match="the name is too long: choose a shorter one"):
        StatePaths(Path("/tmp") / ("x" * 300), Path("/run/s")).prepare()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full: make room"),
        (errno.EROFS, "is on a read-only file system: choose another folder with --state-dir"),
        (errno.EACCES, "may not use this folder: give it to .*, or choose another with --state-dir"),
        (errno.EIO, "cannot be used: the disk does not work: see the system log"),
    ],
)
def test_troubles_of_the_disk(
    state: StatePaths, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    state.root.mkdir(0o700, parents=True)
    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(StateError, match=f"^{state.sessions}: .*{message}$"):
        state.prepare()


def test_a_file_system_without_modes(state: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    state.prepare()
    state.sessions.chmod(0o777)
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    with pytest.raises(StateError, match="stays open to other users after `chmod 700`"):
        state.prepare()


@as_root
def test_folders_of_others_are_refused(state: StatePaths) -> None:
    state.prepare()
    os.chown(state.root, pwd.getpwnam("daemon").pw_uid, NOBODY)
    with pytest.raises(StateError) as caught:
        state.prepare()
    # To take it away from the service's user would be the end of the service.
    assert str(caught.value) == (
        f"{state.root}: belongs to daemon, but this user is root: run this as the folder's user:"
        " `sudo -u daemon orchestrator …`"
    )


@as_root
@pytest.mark.parametrize("owner", ["daemon", "nobody"])
def test_folders_of_others_inside_a_state_folder_of_ones_own_can_be_had(
    state: StatePaths, owner: str
) -> None:
    state.prepare()
    os.chown(state.sessions, pwd.getpwnam(owner).pw_uid, NOBODY)
    with pytest.raises(StateError) as caught:
        state.prepare()
    # As that user, one could not use the state folder.
    whose = f"belongs to {owner}, but this user is root"
    said = f"{state.sessions}: {whose}: give the folder to root with `chown -R`"
    assert str(caught.value) == said


@as_root
@pytest.mark.parametrize("owner", ["daemon", "root"])
def test_closed_folders_of_others_inside_a_state_folder_of_ones_own_can_be_had(
    as_nobody: Path, owner: str
) -> None:
    os.seteuid(0)
    os.chown(as_nobody, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    state = StatePaths.of(as_nobody / "state", environ={})
    state.prepare()
    os.seteuid(0)
    os.chown(state.sessions, pwd.getpwnam(owner).pw_uid, 0)
    os.seteuid(NOBODY)
    with pytest.raises(StateError) as caught:
        state.prepare()
    whose = f"belongs to {owner}, but this user is nobody"
    said = f"{state.sessions}: {whose}: give the folder to nobody with `chown -R`"
    assert str(caught.value) == said


@as_root
@pytest.mark.parametrize(("owner", "name"), [(4_000_000, "user 4000000"), (NOBODY, "nobody")])
def test_folders_of_those_who_run_no_services_can_be_had(state: StatePaths, owner: int, name: str) -> None:
    state.prepare()
    os.chown(state.root, owner, NOBODY)
    with pytest.raises(StateError) as caught:
        state.prepare()
    assert str(caught.value) == (
        f"{state.root}: belongs to {name}, but this user is root: give the folder to root with `chown -R`"
    )


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_folders_of_roots_may_be_those_of_a_service_of_roots(as_nobody: Path, mode: int) -> None:
    os.seteuid(0)
    (as_nobody / "state").mkdir(mode)
    os.seteuid(NOBODY)
    with pytest.raises(StateError) as caught:
        StatePaths.of(as_nobody / "state", environ={}).prepare()
    assert str(caught.value) == (
        f"{as_nobody / 'state'}: belongs to root, but this user is nobody: use sudo if root runs the service,"
        " or give the folder to nobody with `chown -R`"
    )


@as_root
def test_a_closed_folder_of_another_user_stays_theirs(as_nobody: Path) -> None:
    os.seteuid(0)
    (as_nobody / "state").mkdir(0o700)
    os.chown(as_nobody / "state", pwd.getpwnam("daemon").pw_uid, NOBODY)
    os.seteuid(NOBODY)
    with pytest.raises(StateError) as caught:
        StatePaths.of(as_nobody / "state", environ={}).prepare()
    assert str(caught.value) == (
        f"{as_nobody / 'state'}: belongs to daemon, but this user is nobody: run this as the folder's user:"
        " `sudo -u daemon orchestrator …`"
    )


@as_root
def test_a_link_planted_by_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(0o700)
    (tmp_path / "state").symlink_to(tmp_path / "target")
    os.chown(tmp_path / "state", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StateError, match="is a symbolic link made by nobody: remove the link"):
        StatePaths.of(tmp_path / "state", environ={}).prepare()


@as_root
def test_a_folder_that_may_not_be_made(as_nobody: Path) -> None:
    with pytest.raises(
        StateError, match="nobody may not use this folder: give it to nobody, or choose another"
    ):
        StatePaths.of(as_nobody / "state", environ={}).prepare()


@as_root
def test_any_user_can_have_a_state_folder(as_nobody: Path) -> None:
    os.seteuid(0)
    os.chown(as_nobody, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    StatePaths.of(as_nobody / "state", environ={}).prepare()
    assert mode(as_nobody / "state") == 0o700


# A configuration that nobody named


def other(place: Path) -> None:
    os.chown(place, NOBODY, NOBODY, follow_symlinks=False)


def open_to_all(place: Path) -> None:
    place.chmod(place.stat().st_mode | 0o002)


def open_to_a_group(place: Path) -> None:
    os.chown(place, -1, NOBODY)
    place.chmod(place.stat().st_mode | 0o020)


@as_root
@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("where", ["here", "home", "system"])
@pytest.mark.parametrize("what", ["file", "folder", "above"])
@pytest.mark.parametrize("change", [other, open_to_all, open_to_a_group])
def test_a_file_that_others_can_change_counts_only_if_it_is_named(
    places: dict[str, Path],
    tmp_path: Path,
    where: str,
    what: str,
    change: Callable[[Path], None],
    create: bool,
) -> None:
    file = places[where]
    file.touch()
    environ = {"HOME": str(tmp_path / "home")}
    assert find_config(environ=environ) == file
    place = {"file": file, "folder": file.parent, "above": tmp_path}[what]
    change(place)
    with pytest.raises(Untrusted) as caught:
        find_config(environ=environ, create=create)
    assert caught.value.exit_code == ExitCode.USAGE
    said = str(caught.value)
    assert said.startswith(f"{file} is not used, because ")
    assert str(place) in said
    assert "nobody" in said or "every user" in said or "nogroup" in said
    assert f"--config {file}" in said
    assert "`chown root " in said or "`chmod " in said
    # Nobody looks further: that another file counts instead would be as wrong.
    assert find_config(str(file), environ=environ) == file
    assert find_config(environ={**environ, "ORCHESTRATOR_CONFIG": str(file)}) == file


@as_root
def test_a_link_of_another_user_is_not_followed_unless_it_is_named(
    places: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "good.yaml").touch()
    places["here"].symlink_to(tmp_path / "good.yaml")
    assert find_config(environ=HOME) == places["here"]
    other(places["here"])
    with pytest.raises(Untrusted, match=r"belongs to nobody.*chown -h root"):
        find_config(environ=HOME)
    places["here"].unlink()
    places["here"].symlink_to(tmp_path / "circle")
    (tmp_path / "circle").symlink_to(places["here"])
    other(tmp_path / "circle")
    with pytest.raises(Untrusted, match="circle belongs to nobody"):
        find_config(environ=HOME)


@as_root
def test_a_user_has_files_of_their_own_and_root_does_not_use_them(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    places["here"].touch()
    for place in (places["here"], places["here"].parent):
        other(place)
    with pytest.raises(Untrusted, match="belongs to nobody, and this user is root"):
        find_config(environ=HOME)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert find_config(environ=HOME) == places["here"]


@pytest.mark.parametrize(
    "within", ["", "sessions", "sessions/a", "messages/a/codes", "quarantine", "processes"]
)
@pytest.mark.parametrize("linked", ["state", "codes"])
def test_no_codes_lie_where_an_account_writes(tmp_path: Path, within: str, linked: str) -> None:
    """The process of an account reads and writes all that is in its folders, by whatever path."""
    state = tmp_path / "state"
    (state / within).mkdir(parents=True)
    (tmp_path / "link").symlink_to(state / within if linked == "codes" else state)
    root, codes = (state, tmp_path / "link") if linked == "codes" else (tmp_path / "link", state / within)
    with pytest.raises(
        StateError, match="is one of the service's own folders: choose a folder for the codes"
    ):
        in_files(StatePaths.of(root, environ={}), codes)
    for other in (state / "qr", state / "sessionsx", tmp_path / "codes"):
        in_files(StatePaths.of(root, environ={}), other)
