"""The commands that run a sandbox, send programs to it, and show what goes on in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from orchestrator.cli.formatting import examples
from orchestrator.cli.repeating import SANDBOX_RUN
from orchestrator.cli.sandbox.common import ACCOUNTS, INSTALL, Control, check_ours, print_json
from orchestrator.sandbox.client import (
    CONTROL_VARIABLE,
    DEFAULT_CONTROL,
    DEFAULT_CONTROL_PORT,
    DEFAULT_PORT,
    SandboxClient,
    SandboxError,
    environment_of,
)
from orchestrator.sandbox.environment import LOOPBACK

PARENT_GONE_SECONDS: Final = 10.0
"""Time for an orderly stop when stdin has closed; then the process kills itself."""

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator sandbox serve",
        "orchestrator sandbox serve --port 0 --control-port 0 --state-dir /tmp/box --json",
    )
)
def serve(
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="Port for WhatsApp clients; 0 means any free port."),
    ] = DEFAULT_PORT,
    control_port: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=65535, help="Port for the other commands; 0 means any free port."
        ),
    ] = DEFAULT_CONTROL_PORT,
    listen: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="IP address on which WhatsApp clients connect. Commands are taken on 127.0.0.1 in any case.",
        ),
    ] = LOOPBACK,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for phones, devices and messages; by default "
            "$XDG_STATE_HOME/orchestrator-sandbox or ~/.local/state/orchestrator-sandbox.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one line of JSON when the sandbox listens, and nothing else."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more, to stderr.")] = False,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
) -> None:
    """Run the sandbox in the foreground until Ctrl-C.

    The sandbox listens on 127.0.0.1 only, unless --listen names another address: whoever reaches that one can
    connect a client. The state folder keeps phones, devices and messages for the next start.
    """
    import asyncio
    import logging

    try:
        from orchestrator.sandbox.crypto.certs import CertificateError
        from orchestrator.sandbox.server.main import Options, StartError, run
        from orchestrator.sandbox.server.store import StoreError
        from orchestrator.sandbox.wire.tokens import TokenError
    except ImportError as error:
        if (error.name or "orchestrator").startswith("orchestrator"):
            raise
        raise SandboxError(
            f"the sandbox needs packages that are not installed ({error.name}): in a checkout of this"
            f" project, run {INSTALL}"
        ) from None

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if until_stdin_closes:
        _stop_when_stdin_closes()
    folder = (state_dir or _default_state_dir()).absolute()
    address = _address(listen)
    listening = False

    def ready(about: dict[str, Any]) -> None:
        nonlocal listening
        listening = True
        print(json.dumps(about) if as_json else _how_to_use(about), flush=True)

    try:
        asyncio.run(run(Options(folder, port, control_port, address), ready))
    except (StartError, StoreError, CertificateError, TokenError) as error:
        raise SandboxError(str(error)) from None
    except OSError as error:
        if listening:
            raise
        raise SandboxError(f"{error.filename or folder}: {error.strerror or error}") from None


def _address(text: str) -> str:
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast or "%" in text:
        # Clients are told to connect to this address, so it has to be one that leads here.
        raise typer.BadParameter(
            "expected an IP address of this machine, such as 192.0.2.1", param_hint="--listen"
        )
    return str(address)


def _default_state_dir() -> Path:
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The XDG Base Directory Specification says that a relative path is to be ignored.
    return (base if base.is_absolute() else Path.home() / ".local/state") / "orchestrator-sandbox"


def _stop_when_stdin_closes() -> None:
    """Stop this process as SIGTERM does when the process at the other end of stdin closes it or ends."""
    import signal
    import threading
    import time

    def watch() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass  # there is no stdin at all
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PARENT_GONE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _how_to_use(about: dict[str, Any]) -> str:
    control = f"http://127.0.0.1:{about['control_port']}"
    host = f"[{about['address']}]" if ":" in about["address"] else about["address"]
    place = f"{host}:{about['port']}"
    option = "" if control == DEFAULT_CONTROL else f" --control {control}"
    return f"""\
The sandbox listens for clients on {place}, and for commands on {control}
State: {about["state_dir"]}

In the shell where a bot will run:
    eval "$(orchestrator sandbox env{option})"
To link the bot when the bot shows a QR code:
    orchestrator sandbox scan QR.png --phone +4915100001{option}

Ctrl-C stops the sandbox."""


@app.command(epilog=examples('eval "$(orchestrator sandbox env)"', "orchestrator sandbox env --json"))
def env(
    control: Control = DEFAULT_CONTROL,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object instead of lines for a shell.")
    ] = False,
    unset: Annotated[
        bool,
        typer.Option("--unset", help="Print lines by which the shell leaves this environment again."),
    ] = False,
) -> None:
    """Print the environment variables that send a bot to the sandbox.

    A shell can evaluate the lines. After that, neonize connects to the sandbox instead of WhatsApp, in this
    shell and in all programs that it starts: leave with --unset, or close the shell. `orchestrator sandbox
    run` sends one program only.
    """
    from orchestrator.sandbox.environment import as_shell, as_unset

    if unset:
        if as_json:
            raise typer.BadParameter("cannot be combined with --json", param_hint="--unset")
        print(as_unset(os.environ, CONTROL_VARIABLE).rstrip("\n"))
        return
    path = os.environ.get("PYTHONPATH")
    variables = SandboxClient(control).environment({"PYTHONPATH": path} if path else {})
    print(json.dumps(variables, indent=2) if as_json else as_shell(variables).rstrip("\n"))


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "orchestrator sandbox run -- python bot.py --name support",
        "orchestrator sandbox run -- orchestrator run",
    ),
)
def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", show_default=False)],
    control: Control = DEFAULT_CONTROL,
) -> NoReturn:
    """Run a program that connects to the sandbox instead of WhatsApp.

    The program replaces this command and gets the variables that 'env' prints. `orchestrator` itself has its
    state in the sandbox's folder, and its configuration, too, unless there is ./accounts.yaml: the accounts
    of a real service are not touched. Other folders and files that are named count.
    """
    about = SandboxClient(control).about()
    places = _places(command[0], Path(about["state_dir"]) / ACCOUNTS, os.environ)
    for place in places.values():
        check_ours(Path(place), control)
    if "ORCHESTRATOR_CONFIG" in places:
        _begin(file := Path(places["ORCHESTRATOR_CONFIG"]))
        check_ours(file, control)  # somebody may have made the folder in this moment
    environment = environment_of(about) | places
    environment.pop(SANDBOX_RUN, None)  # of a command that has started this one
    if places:
        environment[SANDBOX_RUN] = "" if control == DEFAULT_CONTROL else control
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        raise SandboxError(f"{command[0]} cannot be run: {error.strerror}") from None


def _places(program: str, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables by which this program has a state and a configuration of its own in the sandbox.

    What the command or the configuration names itself counts, and so does ./accounts.yaml.

    Args:
        program: The program that is run.
        folder: The folder of both.
        environ: The environment.
    """
    if Path(program).name != "orchestrator":
        return {}
    from orchestrator.config.locate import CONFIG_NAME

    places = {"STATE_DIRECTORY": str(folder)}
    if not environ.get("ORCHESTRATOR_CONFIG") and not os.path.lexists(CONFIG_NAME):
        places["ORCHESTRATOR_CONFIG"] = str(folder / CONFIG_NAME)
    return places


def _begin(file: Path) -> None:
    """Make the configuration of a sandbox, if there is none: nothing is wrong before the first account.

    Raises:
        SandboxError: The file cannot be written.
    """
    if os.path.lexists(file):
        return
    from orchestrator.config.edit import NEW_FILE

    try:
        file.parent.mkdir(0o700, exist_ok=True)
        # Not by a replacement: another command may have added an account to its file in this moment.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as new:
            new.write(NEW_FILE.encode())
    except FileExistsError:
        pass  # another command has made the file in this moment
    except OSError as error:
        raise SandboxError(f"{file} cannot be written: {error.strerror}") from None


@app.command(epilog=examples("orchestrator sandbox state | jq .connections"))
def state(
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Print the whole state as one JSON document."""
    print_json(SandboxClient(control).state())


@app.command(
    epilog=examples("orchestrator sandbox events --since 120", "orchestrator sandbox events --follow")
)
def events(
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing new events until Ctrl-C.")] = False,
    since: Annotated[
        int, typer.Option(min=0, metavar="SEQ", help="Print only events after this number.")
    ] = 0,
    control: Control = DEFAULT_CONTROL,
) -> None:
    """Print the events, one JSON object per line."""
    client = SandboxClient(control)
    for event in client.follow(since) if follow else client.events(since):
        print(json.dumps(event), flush=follow)
