"""What the doctor says about the isolation of the accounts' processes."""

from __future__ import annotations

import errno

from orchestrator.control.view import AccountView
from orchestrator.service.doctor.checks import isolation as check
from orchestrator.system import confinement
from orchestrator.system.confinement import Kernel


def test_what_the_doctor_says() -> None:
    lacks = confinement.lacks(Kernel(0, filters=True, error=errno.ENOSYS))
    assert [one.status for one in check.of_kernel("auto", ())] == ["OK"]
    assert [one.status for one in check.of_kernel("off", ())] == ["WARN"]
    (warned,) = check.of_kernel("auto", lacks)
    (failed,) = check.of_kernel("required", lacks)
    assert (warned.status, failed.status) == ("WARN", "FAIL")
    assert "file isolation (Landlock)" in warned.text
    assert warned.advice == failed.advice == lacks[0].advice


def test_what_the_doctor_says_of_a_running_service() -> None:
    def account(name: str, how: str | None) -> AccountView:
        return AccountView(name, "connected", isolation=how)

    fine = [account("a", "full"), account("b", None)]
    assert list(check.of_processes("auto", fine)) == []
    some = [account(name, "without file isolation (Landlock)") for name in ("c", "d", "e", "f")]
    (found,) = check.of_processes("auto", [*fine, *some])
    assert "without file isolation (Landlock): c, d, e and 1 more" in found.text
    assert list(check.of_processes("off", [account("a", "off")])) == []
    assert len(list(check.of_processes("required", [account("a", "off")]))) == 1
