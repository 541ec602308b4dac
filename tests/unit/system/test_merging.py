"""Whether a machine merges memory, and what is said where it does not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from orchestrator.service import isolation
from orchestrator.service.doctor.checks import merging as check
from orchestrator.system import kernel, merging

NEW_KERNEL = Path("/sys/kernel/mm/ksm/run").exists() and tuple(
    map(int, os.uname().release.split(".")[:2])
) >= (6, 4)


def an_old_kernel(option: int, *_: int) -> int:
    assert option in (kernel.PR_GET_MEMORY_MERGE, kernel.PR_SET_MEMORY_MERGE)
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def a_new_kernel(option: int, *_: int) -> int:
    assert option == kernel.PR_GET_MEMORY_MERGE
    return 0


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "run"
    monkeypatch.setattr(kernel, "prctl", an_old_kernel)
    switch.write_text("1\n")
    old = merging.lack(switch)
    assert old is not None
    assert "use Linux 6.4 or newer" in old.advice
    monkeypatch.setattr(kernel, "prctl", a_new_kernel)
    assert merging.lack(switch) is None
    for state in ("0", "2"):
        switch.write_text(f"{state}\n")
        off = merging.lack(switch)
        assert off is not None
        assert f"({switch} is {state})" in off.text
        assert off.advice == f"as root: echo 1 > {switch}"
    assert merging.lack(tmp_path / "nowhere") is None, "nobody can tell"


def test_the_service_says_it_once_and_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel, "prctl", an_old_kernel)
    isolation.check_merging(wanted=False)
    assert not caplog.records
    isolation.check_merging(wanted=True)
    (record,) = caplog.records
    assert "`memory_merge: true` is set, and this kernel merges no memory" in record.getMessage()


def test_the_doctor_warns_and_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "prctl", a_new_kernel)
    switch = tmp_path / "run"
    switch.write_text("0")
    found = check.judge(merging.lack(switch))
    assert (found.status, found.advice) == ("WARN", f"as root: echo 1 > {switch}")
    switch.write_text("1")
    assert check.judge(merging.lack(switch)).status == "OK"


@pytest.mark.skipif(not NEW_KERNEL, reason="Linux 6.4 or newer, with KSM")
def test_a_process_and_what_it_makes_may_be_merged() -> None:
    child = os.fork()
    if child == 0:
        before = kernel.prctl(kernel.PR_GET_MEMORY_MERGE)
        merging.allow()
        after = kernel.prctl(kernel.PR_GET_MEMORY_MERGE)
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(kernel.prctl(kernel.PR_GET_MEMORY_MERGE))
        inherited = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
        os._exit(before * 4 + after * 2 + inherited)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert kernel.prctl(kernel.PR_GET_MEMORY_MERGE) == 0
