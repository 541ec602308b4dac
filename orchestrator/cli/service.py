"""The commands about the service itself: ``run``, ``ping`` and ``doctor``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, printable, printable_lines
from orchestrator.errors import ConfigError, ExitCode, NoConfiguration, Untrusted

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator run",
        "orchestrator --config /etc/orchestrator/accounts.yaml run --log-format json",
        "orchestrator run --log-level DEBUG",
        "orchestrator run --log-file ~/orchestrator.log",
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
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Write the log to this file instead of stderr. `orchestrator reload` and SIGHUP open the"
            " file anew, for log rotation.",
        ),
    ] = None,
) -> None:
    """Run the service in the foreground.

    Ctrl-C, SIGTERM or `orchestrator shutdown` stops the service gracefully. A second signal kills accounts
    that have not stopped yet. SIGHUP has the same effect as `orchestrator reload`.
    """
    if log_file is not None and log_format == "journal":
        raise typer.BadParameter("cannot be combined with --log-format journal", param_hint="--log-file")
    invocation.keep_out_of_cores()
    where = invocation.of(context)
    settings = where.settings()
    from orchestrator.service import needs

    needs.check_before_imports()
    from orchestrator.service import run

    file = None
    if log_file is not None:
        file = Path(os.path.abspath(log_file))  # noqa: PTH100 - resolve() would follow the operator's links
        print(printable(f"orchestrator: the log goes to {file}"), file=sys.stderr)
    code = run.run(
        settings,
        log_level=log_level,
        log_format=log_format,
        log_file=file,
        state_configured=not where.state_dir,
    )
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


class _BeforeTheFirst(invocation.Places):
    """Where things are while the configuration that the environment names has yet to be made."""

    def settings(self) -> NoReturn:
        """Say that there is no configuration yet.

        Raises:
            NoConfiguration: Always.
        """
        raise NoConfiguration(f"{self.config_file()}: there is no such file")


def _as_it_will_be(where: invocation.Places) -> invocation.Places:
    """Return what the doctor looks at, also before ``add`` has made the file that the environment names.

    `orchestrator sandbox run` names such a file. A file that ``--config`` names is meant to be there.

    Raises:
        Untrusted: Nobody named the configuration, and others may change it.
    """
    try:
        file = where.config_file()
    except Untrusted:
        raise  # nothing that a stranger's file names is worth a look
    except ConfigError:
        return where  # the checks say so
    if where.config or os.path.lexists(file):
        return where
    return _BeforeTheFirst(None, where.state_dir, create=True)


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
    where = _as_it_will_be(invocation.of(context))
    width = len("addresses of a process")  # the longest of what is checked
    found = []
    for finding in examine(Context(where.settings, where.state, where.service), only=only or ()):
        found.append(finding)
        if not as_json:
            text = finding.text.replace(
                "\n", f"\n{'':<{width + 7}}"
            )  # such as all problems of a configuration
            print(printable_lines(f"{finding.status:<5} {finding.check:<{width}} {text}"), flush=True)
            if finding.advice:
                print(printable(f"{'':<{width + 6}} → {finding.advice}"), flush=True)
    if as_json:
        print(json.dumps([finding.as_json() for finding in found], indent=2))
    if any(finding.status == "FAIL" for finding in found):
        raise typer.Exit(ExitCode.FAILED)
