"""How checks are run: in order, each for itself, with what they look at looked up once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.doctor import context_of

from orchestrator.errors import ConfigError, NotRunning, OrchestratorError, StateError
from orchestrator.service.doctor.check import Check, Finding, ok
from orchestrator.service.doctor.checks import CHECKS
from orchestrator.service.doctor.context import Context, Lookup
from orchestrator.service.doctor.examine import examine
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock

SECRET = "http://ada:geheim@10.0.0.1:80 of +4915112345678"


def check(key: str, error: Exception | None = None) -> Check:
    def find(_: Context) -> Iterator[Finding]:
        yield ok("before")
        if error is not None:
            raise error

    return Check(key, key.title(), "Something.", find)


@pytest.mark.parametrize(
    ("error", "text", "advice"),
    [
        (ValueError(SECRET), "could not be checked: ValueError: http://***@10.0.0.1:80", "report"),
        (OrchestratorError(SECRET, key="failed"), "http://***@10.0.0.1:80", ""),
        (PermissionError(13, "Permission denied", "/x"), "cannot look at /x: Permission denied", "sudo -u"),
        (OSError("odd"), "cannot look at a file: odd", "sudo -u"),
        (RecursionError("too deep"), "could not be checked: RecursionError: too deep", "report"),
    ],
)
def test_what_a_check_raises_is_a_finding_and_all_others_still_run(
    tmp_path: Path, error: Exception, text: str, advice: str
) -> None:
    checks = [check("a"), check("b", error), check("c")]
    found = list(examine(context_of(tmp_path), checks=checks))
    assert [(one.key, one.check, one.status) for one in found] == [
        ("a", "A", "OK"),
        ("b", "B", "OK"),
        ("b", "B", "FAIL"),
        ("c", "C", "OK"),
    ]
    assert found[2].text.startswith(text)
    assert advice in found[2].advice
    assert "geheim" not in str(found[2])
    assert "15112345" not in str(found[2])


def test_a_check_is_chosen_by_its_key(tmp_path: Path) -> None:
    checks = [check("a"), check("b"), check("c")]
    found = list(examine(context_of(tmp_path), only=["c", "a"], checks=checks))
    assert [one.key for one in found] == ["a", "c"]


def test_every_check_has_a_module_a_key_and_an_explanation() -> None:
    folder = Path(__file__).parents[4] / "orchestrator/service/doctor/checks"
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {check.find.__module__.rpartition(".")[2] for check in CHECKS} == modules
    assert len({check.key for check in CHECKS}) == len(CHECKS) == len(modules)
    for one in CHECKS:
        assert re.fullmatch("[a-z_]+", one.key)
        assert one.title
        assert re.fullmatch(r"[A-Z].*\.", one.about)


@pytest.mark.parametrize("what", ["settings", "state"])
@pytest.mark.parametrize(
    "error", [ConfigError("bad"), OSError(5, "broken", "/x"), RecursionError("too deep")]
)
def test_what_cannot_be_read_is_told_by_one_check(tmp_path: Path, what: str, error: Exception) -> None:
    context = (
        context_of(tmp_path, settings_error=error)
        if what == "settings"
        else context_of(tmp_path, state_error=error)
    )
    about_it = "configuration" if what == "settings" else "state_folder"
    looking = ("configuration", "state_folder", "qr_folder", "sessions", "service", "disk_space")
    found = [one for one in examine(context, only=looking) if one.status == "FAIL"]
    assert [one.key for one in found] == [about_it]


def test_something_is_looked_up_once() -> None:
    asked = []

    def find() -> int:
        asked.append(1)
        raise StateError("no")

    lookup = Lookup(find)
    for _ in range(2):
        with pytest.raises(StateError):
            lookup.get()
        assert lookup.or_none() is None
    assert len(asked) == 1
    assert Lookup(lambda: None).get() is None


def test_a_state_folder_is_free_while_nobody_uses_it(tmp_path: Path) -> None:
    paths = StatePaths.of(tmp_path / "state", environ={})
    assert not context_of(tmp_path).is_free(), "there is none"
    paths.prepare()
    assert context_of(tmp_path).is_free()
    with InstanceLock(paths.lock, what="works"):
        assert not context_of(tmp_path).is_free()
    context = context_of(tmp_path)
    assert context.is_free()
    with pytest.raises(NotRunning):
        context.ping.get()
    paths.control_socket.write_text("")
    paths.control_socket.chmod(0)
    assert context_of(tmp_path).is_free(), "nobody listens on a plain file"
