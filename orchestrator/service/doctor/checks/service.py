"""Whether the service runs and answers."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator import __version__
from orchestrator.accounts.moments import local
from orchestrator.accounts.words import counted
from orchestrator.errors import AlreadyRunning, NotRunning, OrchestratorError, StoreAway
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import read_holder

END = "when the maintenance is done: `orchestrator maintenance off`"


def find(context: Context) -> Iterator[Finding]:
    """Ask the service how it is. If none answers, look who uses its folder."""
    paths = context.paths.or_none()
    if paths is None:
        return
    try:
        about = context.ping.get()
    except NotRunning:
        yield _silent(context, paths)
        if _is_maintained(context):
            yield warn("maintenance is on: a service that starts lets no account start by itself", END)
    except OrchestratorError as error:
        yield fail(str(error))
    else:
        yield ok(
            f"runs as process {about['pid']} with {counted(about['accounts'], 'account')},"
            f" since {local(about['started_at'])}"
        )
        if about["version"] != __version__:
            yield warn(
                f"the service has version {about['version']}, this command has {__version__}",
                "restart the service",
            )
        if since := about.get("maintenance"):
            yield warn(f"maintenance is on since {local(since)}: no account starts by itself", END)
        if unseen := about.get("unseen"):
            yield ok(
                f"{counted(unseen, 'account waits', 'accounts wait')} until somebody looks at a code",
                "`orchestrator list` names them, and `orchestrator qr NAME` shows a code",
            )
        if refused := about.get("refused"):  # an older service does not count
            yield warn(
                f"the service refused {refused} connections of other users to its control socket",
                "the service's log names them; see who may reach the folder of the socket",
            )


def _is_maintained(context: Context) -> bool:
    try:
        return context.store.get().record.maintenance() is not None
    except StoreAway:
        return False  # the check of the database tells the error


def _silent(context: Context, paths: StatePaths) -> Finding:
    start = f"`{context.client.get().start_command()}` starts the service"
    if not paths.lock.exists():
        return ok("does not run", start)
    holder = read_holder(paths.lock)
    try:
        context.lock.get()
    except AlreadyRunning as error:
        advice = f"if the process hangs: kill {holder.pid}" if holder else ""
        return warn(f"no program answers on the control socket, but {error}", advice)
    except OrchestratorError as error:
        return fail(str(error))
    return ok("does not run, and the state folder is free", start)


CHECK = Check("service", "service", "Whether the service runs and answers.", find)
