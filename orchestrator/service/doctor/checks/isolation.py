"""Whether the accounts' processes are isolated from each other, and from the service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.accounts.settings import Confine
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError
from orchestrator.service import isolation
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.system import confinement
from orchestrator.system.confinement import Lack

_SHOWN = 3


def find(context: Context) -> Iterator[Finding]:
    """Look at this kernel, and at the processes of a running service, which may have less of it."""
    settings = context.settings.or_none()
    mode: Confine = settings.confine if settings else "auto"
    yield from of_kernel(mode, confinement.missing())
    yield from of_processes(mode, _accounts(context))


def of_kernel(mode: Confine, lacks: Sequence[Lack]) -> Iterator[Finding]:
    """Judge what this machine lacks for what the configuration wants."""
    if mode == "off":
        yield warn(
            "is off: the process of one account can read and change the sessions of all",
            "remove `confine: off` from the configuration, and restart the service",
        )
        return
    for lack in lacks:
        said = f"this machine has no {lack.text}"
        yield (
            fail(f"{said}, and `confine: required` is set", lack.advice)
            if mode == "required"
            else warn(f"{said}: the accounts' processes run without it", lack.advice)
        )
    if not lacks:
        yield ok("this machine can isolate the accounts' processes fully")


def of_processes(mode: Confine, accounts: Sequence[AccountView]) -> Iterator[Finding]:
    """Judge how the processes of a running service are isolated, if that is less than the machine can do."""
    less: Mapping[str, list[str]] = defaultdict(list)
    for one in accounts:
        if one.isolation not in (None, isolation.FULL) and not (mode == one.isolation == "off"):
            less[str(one.isolation)].append(one.name)
    for how, names in less.items():
        named = ", ".join(names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield warn(
            f"the running service has processes with isolation {how}: {named}{more}",
            "restart the service; under systemd, write the unit anew with `orchestrator install-unit` first",
        )


def _accounts(context: Context) -> list[AccountView]:
    if context.paths.or_none() is None or context.ping.or_none() is None:
        return []
    try:
        found = context.client.get().call("list")["accounts"]
        return [AccountView.from_json(one) for one in found]
    except (OrchestratorError, KeyError, TypeError):
        return []  # the check of the service says what is wrong with it


CHECK = Check("isolation", "isolation", "Whether the accounts' processes are isolated.", find)
