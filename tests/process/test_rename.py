"""`rename` and `restore`, and what is said of sessions without an account."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli import COMMAND, PATIENCE, STAND_IN, Cli, bare, wait_for
from support.devices import write_device, write_unlinked

from orchestrator.store.sessions import files, lock

NOW = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
"""A session that was put away long ago is deleted."""
YEAR = NOW[:4]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def session(cli: Cli, name: str) -> Path:
    return cli.state / "sessions" / name / "session.sqlite3"


def device(cli: Cli, name: str, *sides: str) -> dict[str, bytes]:
    """Give an account the session of a device; return its files by what follows the name."""
    cli.has_session(name).unlink()
    write_device(session(cli, name))
    for path in files(session(cli, name))[1:]:
        if path.name.removeprefix("session.sqlite3") in sides:
            path.write_bytes(path.name[-4:].encode())
    return stored(cli, name)


def stored(cli: Cli, name: str) -> dict[str, bytes]:
    found = (cli.state / "sessions" / name).glob("session.sqlite3*")
    return {
        path.name.removeprefix("session"): path.read_bytes()
        for path in found
        if not path.name.endswith("-shm")
    }


def anything(cli: Cli, name: str) -> list[str]:
    """Return the files in the state folder that have an account's name, or lie in a folder of that name."""
    found = (path for path in cli.state.rglob("*") if path.is_file() and "quarantine" not in path.parts)
    return sorted(path.name for path in found if name in (path.name.partition(".")[0], path.parent.name))


def quarantine(cli: Cli, name: str, reason: str = "repair", at: str = NOW, *, of_old: bool = False) -> Path:
    """Put the session of a device into quarantine, as it is done today or as version 0.1 did it."""
    place = cli.state / "quarantine" / f"{name}-{at}-{reason}"
    place.mkdir(mode=0o700, parents=True)
    for folder in (cli.state, cli.state / "quarantine"):
        folder.chmod(0o700)
    write_device(place / (f"{name}.sqlite3" if of_old else "session.sqlite3"))
    return place


def killed(cli: Cli, call: str, count: int, *arguments: str) -> bool:
    """Give a command that is killed when it makes the so-many-th call of a function of `os`, from 0 on.

    Returns:
        Whether it came to that.
    """
    code = f"""
import os, sys
calls = {count}
real = os.{call}
def kill(*args, **more):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), 9)
    return real(*args, **more)
os.{call} = kill
sys.argv[0] = "orchestrator"
from orchestrator.cli import main
main()
"""
    line = [sys.executable, "-c", code, *cli.line(*arguments)[3:]]
    done = subprocess.run(
        line,
        env=cli.environment,
        cwd=cli.folder,
        timeout=PATIENCE,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, -9), done
    return done.returncode == -9


CONFIG = """\
# mine
state_dir: {state}
accounts:
  first: {{}}   # old comes next

  # about old
  old:   # the one
    phone: "+4915100000001"  # old's
  last: {{}}
"""


def configure(cli: Cli, text: str = CONFIG) -> None:
    cli.config.write_text(text.format(state=cli.state))


# Without a service


def test_all_of_it_comes_along(cli: Cli) -> None:
    configure(cli)
    before = device(cli, "old", "-wal", "-journal")
    os.close(lock(session(cli, "old").with_suffix(".lock")))
    (cli.state / "messages" / "old").mkdir(parents=True)
    (cli.state / "messages" / "old" / "inbox.sqlite3").write_bytes(b"messages")
    for folder, name, text in (
        ("timeline", "old.jsonl", '{"at": "2026-01-02", "to": "stopped"}\n'),
        ("timeline", "old.jsonl.1", '{"at": "2026-01-01", "to": "connected"}\n'),
        ("tracebacks", "old.txt", "a traceback"),
        ("qr", "old.png", "a picture"),
    ):
        (cli.state / folder).mkdir(mode=0o700, exist_ok=True)
        (cli.state / folder / name).write_text(text)
    parked = {"state": "banned", "reason": "run `orchestrator start old`", "until": None, "count": 0}
    kept = {"stopped": True, "parked": parked, "shown": {"name": "old", "reason": "of old"}}
    (cli.state / "status.json").write_text(json.dumps({"accounts": {"old": kept}}))
    said = cli("rename", "old", "new").stdout
    assert said == "old is now called new\n"
    # So that no number of an entry comes again under the old name.
    assert anything(cli, "old") == ["begin", "renamed"]
    assert stored(cli, "new") == before
    assert anything(cli, "new") == [
        "inbox.sqlite3", "new.jsonl", "new.jsonl.1", "new.txt",
        "session.lock", "session.sqlite3", "session.sqlite3-journal", "session.sqlite3-wal",
    ]  # fmt: skip
    assert cli.config.read_text() == CONFIG.format(state=cli.state).replace("  old: ", "  new: ")
    found = json.loads((cli.state / "status.json").read_text())["accounts"]
    assert list(found) == ["new"]
    assert found["new"]["stopped"] is True
    assert found["new"]["parked"]["reason"] == "run `orchestrator start new`"
    assert found["new"]["shown"]["name"] == "new"
    assert list(cli.accounts()) == ["first", "new", "last"]
    assert not (cli.state / "moving.json").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"accounts": {"old": {}}}', '{"accounts": {"new": {}}}'),
        ("accounts: {a: {}, 'old': {enabled: false}}\n", "accounts: {a: {}, 'new': {enabled: false}}\n"),
        ("\ufeffaccounts:\r\n  ? old\r\n  : {}\r\n", "\ufeffaccounts:\r\n  ? new\r\n  : {}\r\n"),
        ("accounts:\n  a: &a {}\n  old: *a\n", "accounts:\n  a: &a {}\n  new: *a\n"),
        ("accounts:\n  &name old: {}\n", None),
        ("accounts: &all\n  <<: {old: {}}\n  a: {}\n", None),
    ],
)
def test_however_the_configuration_is_laid_out(cli: Cli, before: str, after: str | None) -> None:
    cli.config.write_text(before, newline="")
    if after is None:
        cli("rename", "old", "new", code=1)
        assert cli.config.read_text() == before
        return
    cli("rename", "old", "new")
    assert cli.config.read_bytes().decode() == after


def test_a_name_that_yaml_takes_for_something_else_is_quoted(cli: Cli) -> None:
    cli.configure("a: {}")
    cli("rename", "a", "null")
    assert list(cli.accounts()) == ["null"]
    cli("rename", "null", "1e3")
    assert list(cli.accounts()) == ["1e3"]


def test_the_history_of_both_is_one(cli: Cli) -> None:
    cli.configure("old: {}")
    folder = cli.state / "timeline"
    folder.mkdir(mode=0o700, parents=True)
    cli.state.chmod(0o700)
    lines = [json.dumps({"at": f"2026-01-0{day}", "to": "x"}) for day in range(1, 5)]
    (folder / "old.jsonl").write_text(f"{lines[0]}\n{lines[2]}\n")
    (folder / "new.jsonl").write_text(f"{lines[1]}\n{lines[3]}\n")
    cli("rename", "old", "new")
    assert (folder / "new.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nobody", "new"], 5, "nobody"),
        (["../old", "new"], 5, "old"),
        (["old", "Bad Name"], 2, "NEW"),
        (["old", "../new"], 2, "NEW"),
        (["old", ""], 2, "NEW"),
        (["old", "old"], 2, "NEW"),
        (["old", "last"], 1, "already has an account last"),
        (["old", "stray"], 1, "sessions/stray/session.sqlite3"),
        (["stray", "unheard"], 5, "orchestrator add stray"),
        (["stray", "last"], 1, "sessions/last/session.sqlite3"),
        (["old"], 2, "NEW"),
    ],
)
def test_what_is_refused_changes_nothing(cli: Cli, arguments: list[str], code: int, word: str) -> None:
    configure(cli)
    for name in ("old", "stray", "last"):
        device(cli, name)
    names = set(cli.state.rglob("*.sqlite3"))
    assert word in bare(cli("rename", *arguments, code=code).stderr)
    with cli.service():
        cli.until("old", "connected")
        assert word in bare(cli("rename", *arguments, code=code).stderr)
        assert cli.until("old", "connected")["restarts"] == 0
    assert cli.config.read_text() == CONFIG.format(state=cli.state)
    assert set(cli.state.rglob("*.sqlite3")) == names


def test_what_was_renamed_by_hand_gets_its_session(cli: Cli) -> None:
    cli.configure("new: {}")
    before = device(cli, "old")
    said = bare(cli("list").stdout)
    assert f"{session(cli, 'old')} belongs to no account" in said
    assert "`orchestrator rename old new`" in said
    (found,) = [
        one for one in json.loads(cli("doctor", "--json", code=1).stdout) if one["check"] == "sessions"
    ]
    assert "orchestrator rename old new" in found["advice"]
    cli("rename", "old", "new")
    assert stored(cli, "new") == before
    assert "belongs to no account" not in cli("list").stdout
    assert "belongs to no account" not in cli("list", "--json").stdout


# Killed in the middle

RENAMED = {"first", "new", "last"}


@pytest.mark.parametrize("call", ["rename", "replace", "fsync", "unlink"])
@pytest.mark.parametrize("ended_by", ["the command", "the service"])
def test_a_kill_at_any_step_loses_nothing(cli: Cli, call: str, ended_by: str) -> None:
    for count in range(40):
        shutil.rmtree(cli.state, ignore_errors=True)
        cli.state.mkdir(mode=0o700)
        configure(cli)
        before = device(cli, "old", "-wal")
        timeline = cli.state / "timeline" / "old.jsonl"
        timeline.parent.mkdir(mode=0o700)
        timeline.write_text('{"at": "2026", "to": "stopped"}\n')
        status = cli.state / "status.json"
        status.write_text(json.dumps({"accounts": {"old": {"stopped": True}}}))
        died = killed(cli, call, count, "rename", "old", "new")
        halfway = (cli.state / "moving.json").exists()
        if ended_by == "the command" and "old" in cli.accounts():
            cli("rename", "old", "new")
        elif ended_by == "the command":
            cli("rename", "old", "new", code=0 if halfway else 5)
        else:
            # It needs no more than to take up the folder.
            cli("repair", "first", "--no-wait")
        name = "old" if "old" in cli.accounts() else "new"
        assert name == "new" or ended_by == "the service"
        other = {"old": "new", "new": "old"}[name]
        assert stored(cli, name) == before
        assert [one for one in anything(cli, other) if not one.endswith(".lock")] == []
        assert (cli.state / "timeline" / f"{name}.jsonl").exists()
        assert json.loads(status.read_text())["accounts"][name]["stopped"] is True
        assert not (cli.state / "moving.json").exists()
        assert list((cli.state / "quarantine").iterdir()) == []
        if not died:
            assert count > 0 or call == "unlink"
            return
    raise AssertionError("it was killed again and again")


# With a service


def test_a_running_account_goes_on_under_its_new_name(cli: Cli) -> None:
    cli.configure("old: {}", "other: {}")
    before = device(cli, "old")
    device(cli, "other")
    with cli.service():
        pid = cli.until("old", "connected")["pid"]
        other = cli.until("other", "connected")["pid"]
        said = cli("rename", "old", "new").stdout
        assert said.startswith("old is now called new: ")
        about = cli.until("new", "connected")
        assert about["pid"] != pid
        assert cli.until("other", "connected")["pid"] == other
        assert list(cli.accounts()) == ["other", "new"]
        assert stored(cli, "new") == before
        assert anything(cli, "old") == []
        assert cli.puppets.runs("new")[0]["had_session"]
        said = cli("explain", "new").stdout
        assert "renamed to new" in said
        assert "new: {}" in cli.config.read_text()
        assert cli("reload").stdout == "nothing has changed\n"


def test_its_wish_its_ban_and_its_attempts_come_along(cli: Cli) -> None:
    cli.configure("halted: {}", "banned: {}", "trying: {backoff: {base: 1h, max: 1h}}", "fresh: {}")
    for name in ("halted", "banned", "trying"):
        device(cli, name)
    cli.puppets.play("banned", ["connecting", "end: temporary_ban 3600"])
    cli.puppets.play("trying", ["connecting", "end: network"])
    cli.puppets.play("tried", ["connecting", "end: network"])
    with cli.service():
        cli("stop", "halted")
        until = cli.until("banned", "banned")["next_retry_at"]
        cli.until("trying", "backoff")
        for old, new in (("halted", "still"), ("banned", "still-banned"), ("trying", "tried")):
            cli("rename", old, new)
        assert cli.accounts()["still"]["state"] == "stopped"
        about = cli.accounts()["still-banned"]
        assert about["state"] == "banned"
        assert about["next_retry_at"][:17] == until[:17]
        wait_for(lambda: cli.accounts()["tried"]["attempt"] == 2, "the second try in a row")
        # One that waits with its code has nothing to bring along but its name.
        cli.until("fresh", "pairing")
        cli("rename", "fresh", "anew")
        cli.until("anew", "pairing")
        assert not (cli.state / "qr" / "fresh.png").exists()
    with cli.service():
        assert cli.accounts()["still"]["state"] == "stopped"
        assert cli.until("still-banned", "banned")


def test_what_was_renamed_by_hand_while_it_runs(cli: Cli) -> None:
    cli.configure("old: {}")
    before = device(cli, "old")
    with cli.service():
        cli.until("old", "connected")
        cli.configure("new: {}")
        said = bare(cli("reload").stdout)
        assert "`orchestrator rename old new`" in said
        cli.until("new", "pairing")
        write_unlinked(session(cli, "new"))  # as the library does before there is a code
        assert "`orchestrator rename old new`" in bare(cli("list").stdout)
        cli("rename", "old", "new")
        cli.until("new", "connected")
        assert stored(cli, "new") == before
        assert "belongs" not in cli("reload").stdout
        # Without having been read again, too.
        cli.configure("newer: {}")
        cli("rename", "new", "newer")
        cli.until("newer", "connected")
        assert stored(cli, "newer") == before


def test_a_stop_is_remembered_for_what_was_renamed_by_hand(cli: Cli) -> None:
    cli.configure("old: {}")
    device(cli, "old")
    with cli.service():
        cli("stop", "old")
        cli.configure("new: {enabled: false}")
        cli("reload")
    with cli.service():
        cli.configure("new: {}")
        cli("rename", "old", "new")
        assert cli.accounts()["new"]["state"] == "stopped"


def test_a_hang_up_tells_the_log_of_sessions_without_an_account(cli: Cli) -> None:
    cli.configure("old: {}")
    device(cli, "old")
    with cli.service() as process:
        cli.until("old", "connected")
        cli.configure("new: {}")
        process.send_signal(1)
        wait_for(lambda: "`orchestrator rename old new`" in cli.log.read_text(), "the advice")


@pytest.mark.parametrize("where", ["before the edit", "after the edit"])
def test_a_command_that_is_killed_is_completed_by_the_service(cli: Cli, where: str) -> None:
    cli.configure("old: {}")
    before = device(cli, "old")
    with cli.service():
        cli.until("old", "connected")
        killed(
            cli,
            *{"before the edit": ("replace", 0), "after the edit": ("fsync", 1)}[where],
            "rename",
            "old",
            "new",
        )
        name = "old" if where == "before the edit" else "new"
        cli("reload")
        cli.until(name, "connected")
        assert stored(cli, name) == before
        if name == "old":
            cli("rename", "old", "new")
            cli.until("new", "connected")


def test_a_service_that_is_killed_in_the_middle_goes_on_from_there(cli: Cli) -> None:
    cli.configure("old: {}")
    before = device(cli, "old")
    cli.puppets.play("old", ["connecting", "connected", "deaf"])  # its end takes ten seconds
    with cli.popen("run", program=STAND_IN) as service:
        wait_for(lambda: (cli.state / "control.sock").exists(), "the service")
        cli.until("old", "connected")
        with cli.popen("rename", "old", "new", program=COMMAND) as command:
            wait_for(lambda: "new: {}" in cli.config.read_text(), "the edit")
            wait_for(lambda: "old" in cli.state.joinpath("moving.json").read_text(), "the intent")
            service.kill()
            assert command.wait(PATIENCE) == 4
    with cli.service():
        cli.until("new", "connected")
        assert stored(cli, "new") == before
        assert [one for one in anything(cli, "old") if one != "old.live"] == []


# Restore


def test_the_newest_comes_back(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    old, new = quarantine(cli, "a", at="20250101T000000Z"), quarantine(cli, "a")
    quarantine(cli, "b")
    quarantine(cli, "a", "unlinked", "20270101T000000Z")  # nobody wants that
    (new / "session.sqlite3-journal").write_bytes(b"more")
    content = (new / "session.sqlite3").read_bytes()
    said = cli("restore", "a").stdout
    assert new.name in said
    assert stored(cli, "a") == {".sqlite3": content, ".sqlite3-journal": b"more"}
    assert not new.exists()
    assert old.exists()
    assert session(cli, "a").stat().st_mode & 0o777 == 0o600
    assert "has a session" in cli("restore", "a", code=1).stderr
    assert old.exists()


@pytest.mark.parametrize("how", ["name", "path", "relative", "file", "slash"])
def test_the_one_that_is_named_comes_back(cli: Cli, how: str) -> None:
    cli.configure("a: {}", "b: {}")
    old = quarantine(cli, "a", at="20250101T000000Z")
    new = quarantine(cli, "a")
    content = (old / "session.sqlite3").read_bytes()
    given = {
        "name": old.name,
        "path": str(old),
        "relative": str(old.relative_to(cli.folder)),
        "file": str(old / "session.sqlite3"),
        "slash": f"{old}/",
    }
    cli("restore", "b", given[how])  # also for another account, as that was asked for
    assert stored(cli, "b") == {".sqlite3": content}
    assert new.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["b"], 1, ["no session of", f"a-{YEAR}"]),
        (["nobody"], 5, ["nobody"]),
        (["a", f"b-{NOW}-repair"], 1, [f"a-{YEAR}"]),
        (["a", ".."], 1, [f"a-{YEAR}"]),
        (["a", "../sessions"], 1, [f"a-{YEAR}"]),
        (["a", "/etc"], 1, [f"a-{YEAR}"]),
        (["a", "."], 1, [f"a-{YEAR}"]),
        (["full"], 1, ["has a session"]),
        (["twin", f"full-{NOW}-removed"], 1, ["full", "repair twin"]),
        (["../a"], 5, []),
    ],
)
def test_what_cannot_be_restored(cli: Cli, arguments: list[str], code: int, words: list[str]) -> None:
    cli.configure("a: {}", "b: {}", "full: {}", "twin: {}")
    quarantine(cli, "a")
    shutil.copy(quarantine(cli, "full", "removed") / "session.sqlite3", cli.has_session("full"))
    before = sorted(path for path in cli.state.rglob("*.sqlite3"))
    for word in words:
        assert word in cli("restore", *arguments, code=code).stderr
    with cli.service():
        cli("restore", *arguments, code=code)
    assert sorted(path for path in cli.state.rglob("*.sqlite3")) == before


@pytest.mark.parametrize("reason", ["logged_out", "locked", "damaged", "wrong_phone"])
def test_what_it_was_put_away_for_is_told(cli: Cli, reason: str) -> None:
    cli.configure("a: {}")
    place = quarantine(cli, "a", reason)
    done = cli("restore", "a")
    assert "orchestrator: " in done.stderr
    assert session(cli, "a").exists()
    assert not place.exists()


def test_with_a_service_it_is_started_if_that_is_wished(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    device(cli, "a")
    with cli.service():
        cli.until("a", "connected")
        cli.until("b", "pairing")
        cli("repair", "a", "--no-wait", "--yes")
        cli.until("a", "pairing")
        (place,) = (cli.state / "quarantine").glob("a-*")
        cli("stop", "a")
        write_unlinked(session(cli, "a"))  # left behind by the library
        said = cli("restore", "a").stdout
        assert "orchestrator start a" in bare(said)
        assert not place.exists()
        cli("start", "a")
        cli.until("a", "connected")
        kept = quarantine(cli, "a")
        assert "`orchestrator stop a`" in bare(cli("restore", "a", code=1).stderr)
        assert kept.exists()
        # One that gave up is meant to run.
        cli.puppets.play("b", ["end: config"], ["connecting", "connected", "idle"])
        cli("restart", "b")
        cli.until("b", "failed")
        quarantine(cli, "b")
        assert cli("restore", "b").stdout.splitlines()[-1].startswith("b: ")
        cli.until("b", "connected")


def test_what_was_removed_comes_back_with_its_account(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    before = device(cli, "a")
    with cli.service():
        cli.until("a", "connected")
        cli("remove", "a", "--yes")
        said = bare(cli("restore", "a").stdout)
        assert "`orchestrator add a`" in said
        assert "belongs to no account" in cli("list").stdout
        cli("add", "a")
        cli.until("a", "connected")
        assert stored(cli, "a") == before


@pytest.mark.parametrize("of_old", [False, True])
@pytest.mark.parametrize("call", ["rename", "replace", "fsync", "unlink", "rmdir"])
def test_a_kill_while_restoring_loses_nothing(cli: Cli, call: str, of_old: bool) -> None:
    for count in range(40):
        shutil.rmtree(cli.state, ignore_errors=True)
        cli.state.mkdir(mode=0o700)
        cli.configure("a: {}")
        place = quarantine(cli, "a", of_old=of_old)
        (database,) = place.iterdir()
        database.with_name(f"{database.name}-wal").write_bytes(b"more")
        content = {".sqlite3": database.read_bytes(), ".sqlite3-wal": b"more"}
        died = killed(cli, call, count, "restore", "a")
        begun = (cli.state / "moving.json").exists() or stored(cli, "a") != {}
        cli("restore", "a", code=1 if begun else 0)
        assert stored(cli, "a") == content
        assert not place.exists()
        assert not (cli.state / "moving.json").exists()
        if not died:
            return
    raise AssertionError("it was killed again and again")


def test_names_are_completed(cli: Cli) -> None:
    cli.configure("a: {}")
    device(cli, "stray")
    quarantine(cli, "a")
    quarantine(cli, "b")

    def complete(*words: str) -> list[str]:
        line = " ".join(["orchestrator", *cli.line(*words)[3:]])
        cli.environment |= {
            "_ORCHESTRATOR_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        return cli.run([*COMMAND]).stdout.split()

    assert complete("rename", "") == ["a", "stray"]
    assert complete("restore", "") == ["a"]
    assert complete("restore", "a", "") == [f"a-{NOW}-repair"]
    assert complete("restore", "c", "b") == [f"b-{NOW}-repair"]
