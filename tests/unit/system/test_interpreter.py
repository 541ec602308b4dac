"""Where a Python of this project looks for modules: never in the current folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store import realm
from orchestrator.system import interpreter, open_files
from orchestrator.worker.library import integrity

PACKAGE = Path(interpreter.__file__).resolve().parents[1]
ENTRY = "from orchestrator.system import interpreter; interpreter.leave_current_folder()"
LOOK = "import sys; print(*sys.path, sep='\\n')"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, None),
        ("", None),
        (":", None),
        (".", None),
        (".:./:lib:../lib:lib/..", None),
        ("/a", "/a"),
        (":/a", "/a"),
        ("/a:", "/a"),
        ("/a::/b", "/a:/b"),
        ("/a:.:/b:./c", "/a:/b"),
        ("/b:/a:/b", "/b:/a:/b"),
    ],
)
def test_what_is_relative_is_no_place_for_modules(before: str | None, after: str | None) -> None:
    base = {"HOME": "/home/me", "PYTHONPATHS": ":"}
    given = base if before is None else {**base, "PYTHONPATH": before}
    kept = dict(given)
    assert interpreter.environment(given) == (base if after is None else {**base, "PYTHONPATH": after})
    assert given == kept


NEEDED = {
    "PATH": "/bin", "HOME": "/root", "LANG": "C", "LC_ALL": "C", "LC_TIME": "C", "LANGUAGE": "de",
    "TZ": "UTC",
    "TMPDIR": "/var/tmp", "SSL_CERT_FILE": "/ca", "SSL_CERT_DIR": "/cas", "HTTPS_PROXY": "http://p:1",
    "https_proxy": "http://p:1", "NO_PROXY": "x", "no_proxy": "x", "HTTP_PROXY": "p", "all_proxy": "p",
    "MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "1", "GOGC": "50", "GOMAXPROCS": "1",
    "GOMEMLIMIT": "1",
    "GODEBUG": "x", "GOTRACEBACK": "all", "PYTHONPATH": "/a", "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1",
    "ORCHESTRATOR_SANDBOX_ROOT_KEY": "00", "JOURNAL_STREAM": "8:1",
    integrity.VARIABLE: "00",
}  # fmt: skip
OTHERS = (
    "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "GITHUB_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "GOPRIVATE",
    "GOFLAGS", "SSLKEYLOGFILE", "SSL_CERTS", "LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "PYTHONINSPECT",
    "PYTHONBREAKPOINT", "PYTHON_TOKEN", "ORCHESTRATOR_CONFIG", "ORCHESTRATOR_TOKEN", "NOTIFY_SOCKET",
    "LISTEN_FDS", "ORCHESTRATOR_CONFINEMENT",
    "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DATABASE_URL",
    "LC", "path",
    "MY_HTTPS_PROXY", "HOMEBREW_TOKEN", "SUDO_USER", "", "A=B",
)  # fmt: skip


def test_a_helper_gets_what_other_modules_read_of_the_environment() -> None:
    names = (*open_files._VARIABLES, realm.VARIABLE, integrity.VARIABLE, "HTTPS_PROXY", "https_proxy")
    given = dict.fromkeys(names, "/x")
    assert interpreter.helper_environment(given) == given


def test_a_helper_gets_what_it_needs_and_nothing_else() -> None:
    base = NEEDED | dict.fromkeys(OTHERS, "hunter2")
    kept = dict(base)
    assert interpreter.helper_environment(base) == NEEDED
    assert base == kept
    assert interpreter.helper_environment({}) == {}


def test_a_helper_looks_for_modules_in_absolute_places_only() -> None:
    assert interpreter.helper_environment({"PYTHONPATH": ":/a:."}) == {"PYTHONPATH": "/a"}
    assert interpreter.helper_environment({"PYTHONPATH": ":"}) == {}


def test_a_command_line_of_somebody_else_is_guarded_once() -> None:
    guarded = interpreter.guarded([b"/usr/bin/python", "-B", "-P", "-W", "error", "-c", "print(1)"])
    assert guarded[:-1] == [b"/usr/bin/python", "-P", "-B", "-W", "error", "-c"]
    assert isinstance(guarded[-1], str)
    assert guarded[-1].endswith("\nprint(1)")


@pytest.mark.parametrize("command", [["python", "-m", "json"], ["python", "-c", b"pass"]])
def test_what_is_no_such_command_line_is_not_guarded(command: list[str | bytes]) -> None:
    with pytest.raises(ValueError, match="does not run"):
        interpreter.guarded(command)


def run(command: list[str], folder: Path, path: str | None = None) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = path
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", [None, "", ":", ".", "./", "/nonexistent:", "/nonexistent::/usr", "sub/.."])
@pytest.mark.parametrize("how", ["-c", "-m", "script"])
def test_a_program_leaves_the_current_folder(tmp_path: Path, how: str, path: str | None) -> None:
    (tmp_path / "sub").mkdir()
    look = tmp_path / "look.py"
    look.write_text(f"import sys; sys.path.append({str(PACKAGE.parent)!r}); {ENTRY}; {LOOK}")
    command = {"-c": ["-c", look.read_text()], "-m": ["-m", "look"], "script": [str(look)]}[how]
    found = run([sys.executable, *command], tmp_path, path)
    assert str(tmp_path) not in found
    assert "" not in found
    assert str(PACKAGE.parent) in found
    assert ("/usr" in found) == (path == "/nonexistent::/usr")


def test_an_absolute_place_stays_wherever_one_is(tmp_path: Path) -> None:
    look = f"import sys; sys.path.append({str(PACKAGE.parent)!r}); {ENTRY}; {LOOK}"
    found = run([sys.executable, "-c", look], tmp_path, f":{tmp_path}")
    assert found.count(str(tmp_path)) == 1


def test_a_program_runs_from_a_folder_that_was_removed(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'rmdir "$PWD" && exec "$@"'
    line = ["sh", "-c", script, "sh", *interpreter.program("--version")]
    assert run(line, gone)[0].startswith("orchestrator ")


def test_lines_of_this_project_see_the_same_package_and_no_current_folder(tmp_path: Path) -> None:
    # Sources that were never installed, in the current folder; others may be installed.
    copy = tmp_path / "orchestrator"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    show = "import orchestrator, sys; print(orchestrator.__file__); print(*sys.path, sep='\\n')"
    first = f"import subprocess; from orchestrator.system import interpreter; import os\n{ENTRY}\n"
    first += "line = interpreter.script(sys.argv[1])\n"
    first += "subprocess.run(line, env=interpreter.environment(os.environ), check=True)"
    for path in (None, ".", ":"):
        place, *found = run([sys.executable, "-c", f"import sys; {first}", show], tmp_path, path)
        assert Path(place) == copy / "__init__.py"
        assert str(tmp_path) not in found
    run([sys.executable, "-m", "orchestrator", "--version"], tmp_path)
    (copy / "__init__.py").write_text('__version__ = "of the copy"\n')
    command = [sys.executable, "-P", str(copy / "__main__.py"), "--version"]
    assert run(command, Path("/")) == ["orchestrator of the copy"]
