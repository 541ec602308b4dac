"""The commands ``on-change …``: try the program that is told of changes, and see what it was told."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import ago, examples, local, printable, printable_lines
from orchestrator.errors import OrchestratorError
from orchestrator.system.clock import iso

app = typer.Typer(
    name="on-change",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Try the program that is told of changes (on_change: in the configuration).",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command("test", epilog=examples("orchestrator on-change test"))
def try_program(context: typer.Context, as_json: AsJson = False) -> None:
    """Have the service call the program now, with a test that names no change.

    The limits do not count for a test. Prints how the program ended, and the end of its output. Exit code 1:
    the program did not work.
    """
    # The program may take minutes; `stream` limits no more than the time that connecting takes.
    with invocation.of(context).service().stream("on_change_test") as stream:
        for _ in stream:
            pass
        found = stream.result
    if as_json:
        print(json.dumps(found, indent=2))
    elif found["worked"]:
        print(printable(f"{found['program']} was told: exit code 0"))
    if not as_json and found["worked"] and found["output"]:
        print(printable_lines(found["output"]))
    if not found["worked"]:
        raise OrchestratorError(found["problem"], key="program_failed")


@app.command(epilog=examples("orchestrator on-change status", "orchestrator on-change status --json"))
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Say how the last call of the program ended, and what was told and is not over.

    Works with and without a running service.
    """
    from orchestrator.cli.offline.kept import record

    kept = record(invocation.of(context)).told()
    last = kept.last
    found = {
        "last": last
        and {"at": iso(last.at), "program": last.program, "problem": last.problem, "failures": last.failures},
        "left_out": kept.left_out,
        "told": {name: {**words} for name, words in kept.told.items()},
    }
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(map(printable, _lines(found, time.time()))))


def _lines(found: dict[str, Any], now: float) -> list[str]:
    last = found["last"]
    if last is None:
        return ["the program was not called yet: `orchestrator on-change test` tries it"]
    how = f"failed: {last['problem']}" if last["problem"] else "worked"
    lines = [f"last call: {local(last['at'])} ({ago(last['at'], now)} ago), {last['program']}: {how}"]
    if last["failures"] > 1:
        lines.append(f"calls that failed in a row: {last['failures']}")
    if found["left_out"]:
        lines.append(f"changes that were over before they could be told: {found['left_out']}")
    for name, words in found["told"].items():
        said = [words[key] for key in ("needs_person", "down") if key in words]
        if said:
            lines.append(f"told and not over: {name}: {', '.join(said)}")
    return lines
