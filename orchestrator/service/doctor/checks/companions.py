"""How the gateway and the bots are."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.control.companions_view import RUNNING, problems
from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context


def find(context: Context) -> Iterator[Finding]:
    """Ask the service how they are, if it runs."""
    try:
        context.ping.get()
        about = context.client.get().call("companions")["companions"]
    except OrchestratorError:
        return  # the check of the service says what there is to say
    if about is None:
        return
    gateway = about["gateway"]
    for one in (gateway, *about["bots"]):
        said = f"{one['name']}: {one['state']}"
        if one["state"] == RUNNING:
            yield ok(f"{said} as process {one['pid']}, since {one['since']}")
        elif one["reason"]:
            yield fail(f"{said}: {one['reason']}", "the service's log has the last words of its process")
        else:
            yield warn(f"{said} since {one['since']}")
    for sentence in problems(about):
        yield fail(sentence, "see who listens there with `ss -ltnp`, or change `http.listen`")
    if gateway["isolation"] not in (None, "full"):
        yield warn(
            f"the gateway runs {gateway['isolation']}", "the lines about isolation say what is missing"
        )


CHECK = Check("companions", "gateway", "Whether the gateway and the bots run, where they are wanted.", find)
