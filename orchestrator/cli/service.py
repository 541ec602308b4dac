"""The commands about the service itself: ``run``, ``ping``, ``reload`` and ``doctor``."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, printable, printable_lines
from orchestrator.errors import ConfigError, ExitCode, NotRunning, OrchestratorError, Untrusted

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator run",
        "orchestrator --config /etc/orchestrator/accounts.yaml run --log-format json",
        "orchestrator run --log-level DEBUG",
    )
)
def run(
    context: typer.Context,
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        typer.Option(case_sensitive=False, help="The lowest level that is logged to stderr."),
    ] = "INFO",
    log_format: Annotated[
        Literal["text", "json", "journal"],
        typer.Option(help="Lines of text, JSON objects, or lines for the systemd journal."),
    ] = "text",
) -> None:
    """Run the service in the foreground.

    Ctrl-C or SIGTERM stops the service gracefully. A second signal kills accounts that have not stopped yet.
    SIGHUP has the same effect as `orchestrator reload`.
    """
    invocation.keep_out_of_cores()
    where = invocation.of(context)
    settings = where.settings()
    from orchestrator.service import needs

    needs.check_before_imports()
    from orchestrator.service import run

    code = run.run(settings, log_level=log_level, log_format=log_format, state_configured=not where.state_dir)
    raise typer.Exit(code)


@app.command(
    epilog=examples(
        "orchestrator ping",
        "orchestrator ping --json | jq -r .version",
        "orchestrator ping >/dev/null || systemctl restart orchestrator",
    )
)
def ping(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Ask the service whether it answers, for probes.

    The exit code is 0 if the service answers, 4 if no service runs, and 1 if a service runs that cannot be
    reached or does not answer within 45 seconds. Accounts do not count: `orchestrator list --check` looks at
    them.
    """
    about = invocation.of(context).service().call("ping")
    if as_json:
        print(json.dumps(about, indent=2))
        return
    print(
        f"the service answers: version {about['version']}, process {about['pid']},"
        f" accounts: {about['accounts']}"
    )


@app.command(epilog=examples("orchestrator reload"))
def reload(context: typer.Context) -> None:
    """Make the service read its configuration again.

    Only changed accounts are touched. If the configuration is not valid, the command shows all errors, and
    the service keeps the configuration that it has.
    """
    where = invocation.of(context)
    try:
        changes = where.service().call("reload")
    except NotRunning as error:
        if where.state_dir:
            raise
        raise NotRunning(
            f"{error}; if `state_dir:` was changed while the service runs, name the old folder with"
            " --state-dir"
        ) from None
    for what in ("added", "changed", "removed"):
        if changes[what]:
            print(printable(f"{what}: {', '.join(changes[what])}"))
    if changes["restart"]:
        print(f"takes effect when the service restarts: {', '.join(changes['restart'])}")
    strays = changes.pop("without_account", [])
    for sentence in changes.get("renamed", []):
        print(printable(sentence))
    if not any(changes.values()):
        print("nothing has changed")
    for sentence in strays:
        print(printable(sentence))
    if kept := changes.get("kept"):
        raise OrchestratorError(
            f"no process can be started, so these accounts keep their old process: {', '.join(kept)};"
            " `orchestrator explain NAME` says why",
            key="cannot_start",
        )


@app.command(
    epilog=examples(
        "orchestrator doctor",
        "orchestrator doctor --json | jq '.[] | select(.status != \"OK\")'",
        "orchestrator doctor --only disk_space --only clock",
    )
)
def doctor(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY", help="Run only this check. Repeat the option for several."),
    ] = None,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks, and run none.")] = False,
) -> None:
    """Check this machine, and its way to WhatsApp.

    Exits with 1 if a check fails.
    """
    from orchestrator.service.doctor.checks import CHECKS
    from orchestrator.service.doctor.context import Context
    from orchestrator.service.doctor.examine import examine

    keys = [check.key for check in CHECKS]
    if unknown := [key for key in only or () if key not in keys]:
        raise typer.BadParameter(
            f"there is no check {', '.join(unknown)}; the checks are {', '.join(keys)}", param_hint="--only"
        )
    if list_checks:
        listed = [{"key": check.key, "title": check.title, "about": check.about} for check in CHECKS]
        if as_json:
            print(json.dumps(listed, indent=2))
        else:
            for one in listed:
                print(f"{one['key']:<14} {one['about']}")
        return
    where = invocation.of(context)
    try:
        where.config_file()
    except Untrusted:
        raise  # nothing that a stranger's file names is worth a look
    except ConfigError:
        pass  # the checks say so
    found = []
    for finding in examine(Context(where.settings, where.state, where.service), only=only or ()):
        found.append(finding)
        if not as_json:
            text = finding.text.replace("\n", f"\n{'':<21}")  # such as all problems of a configuration
            print(printable_lines(f"{finding.status:<5} {finding.check:<14} {text}"), flush=True)
            if finding.advice:
                print(printable(f"{'':<20} → {finding.advice}"), flush=True)
    if as_json:
        print(json.dumps([finding.as_json() for finding in found], indent=2))
    if any(finding.status == "FAIL" for finding in found):
        raise typer.Exit(ExitCode.FAILED)
