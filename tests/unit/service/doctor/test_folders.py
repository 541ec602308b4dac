"""What is said of folders that others own, can enter, or cannot enter."""

import grp
import os
import pwd
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.doctor import context_of

from orchestrator.config.settings import Settings
from orchestrator.service.doctor.checks import qr_folder, sessions, state_folder
from orchestrator.service.doctor.checks.qr_folder import closed_to_group
from orchestrator.service.doctor.checks.state_folder import wrong_modes
from orchestrator.store.layout import StatePaths


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_users_is_told_with_what_to_do_about_it(tmp_path: Path) -> None:
    daemon = pwd.getpwnam("daemon").pw_uid
    state = StatePaths.of(tmp_path / "state", environ={})
    state.prepare()
    os.chown(state.sessions, daemon, -1)
    (finding,) = wrong_modes(state)
    assert (finding.status, finding.text) == (
        "FAIL",
        f"{state.sessions} belongs to daemon, but this user is root",
    )
    assert "give the folder to root with `chown -R`" in (finding.advice or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_root_finds_nothing_wrong_with_the_folders_of_another_users_service(tmp_path: Path) -> None:
    daemon = pwd.getpwnam("daemon").pw_uid
    context = context_of(tmp_path)
    state = context.paths.get()
    state.prepare()
    for folder in (state.root, *state.private):
        os.chown(folder, daemon, -1)
    (finding,) = state_folder.find(context)
    assert (finding.status, finding.text) == (
        "OK",
        f"{state.root}: owner and modes are right, for a service of daemon",
    )
    os.chown(state.sessions, 0, -1)  # as a command does that was given as root with an old version
    (finding,) = state_folder.find(context)
    assert (finding.status, finding.text) == (
        "FAIL",
        f"{state.sessions} belongs to root, but {state.root} to daemon, so a service of daemon cannot use it",
    )
    assert finding.advice == f"chown -R daemon {state.root}"
    for folder in (state.root, *state.private):
        os.chown(folder, 4242, -1)  # of no user: no service can be theirs
    (finding,) = state_folder.find(context)
    assert (finding.status, finding.text) == (
        "FAIL",
        f"{state.root} belongs to user 4242, but this user is root",
    )


def test_a_qr_folder_that_its_group_cannot_enter_is_told(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # pytest's own folders are closed to others, too
        closed = Path(name) / "closed"
        codes = closed / "codes"
        settings = Settings(tmp_path / "accounts.yaml", tmp_path / "state", codes, group)
        assert closed_to_group(settings) is None
        codes.mkdir(parents=True)
        closed.chmod(0o601)
        finding = closed_to_group(settings)
        assert finding is not None
        assert (finding.status, finding.advice) == ("FAIL", f"chgrp {group} {closed}; chmod g+x {closed}")
        assert finding.text == f"the group {group} cannot enter {closed} (mode 0601)"
        closed.chmod(0o710)
        codes.chmod(0o710)
        finding = closed_to_group(settings)
        assert finding is not None
        assert finding.advice == f"chgrp {group} {codes}; chmod g+rx {codes}"
        codes.chmod(0o750)
        assert closed_to_group(settings) is None
        assert closed_to_group(replace(settings, qr_group=None)) is None


def test_a_qr_folder_outside_is_looked_at_before_there_is_a_state_folder(tmp_path: Path) -> None:
    codes = tmp_path / "codes"
    settings = Settings(tmp_path / "accounts.yaml", tmp_path / "state", codes)
    context = context_of(tmp_path, settings=settings)
    (finding,) = qr_folder.find(context)
    assert (finding.status, finding.text) == ("OK", f"the service makes {codes} when it starts")
    codes.mkdir()
    codes.chmod(0o777)
    (finding,) = qr_folder.find(context)
    assert finding.status == "FAIL"
    assert "others could put codes of their own there" in finding.text
    assert f"`chmod o-w {codes}`" in (finding.advice or "")
    codes.chmod(0o700)
    assert [(one.status, one.text) for one in qr_folder.find(context)] == [("OK", str(codes))]


def test_what_is_open_to_others_is_told_and_what_is_not_there_is_not(tmp_path: Path) -> None:
    paths = StatePaths.of(tmp_path / "state", environ={})
    context = context_of(tmp_path)
    (finding,) = state_folder.find(context)
    assert (finding.status, finding.text) == ("OK", f"the service makes {paths.root} when it starts")
    assert list(qr_folder.find(context)) == []
    paths.prepare()
    assert [one.status for one in state_folder.find(context)] == ["OK"]
    paths.timeline.chmod(0o750)
    (finding,) = state_folder.find(context)
    assert (finding.status, finding.advice) == ("WARN", f"chmod 700 {paths.timeline}")
    assert "(mode 0750)" in finding.text
    paths.home("a").mkdir()
    paths.session("a").touch(0o644)
    finding, *_ = sessions.find(context)
    assert finding.text == f"other users can access 1 session files, such as {paths.session('a')}"
