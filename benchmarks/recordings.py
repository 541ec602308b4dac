"""What commands print: recorded in a real run, with a sandbox as WhatsApp, for the documentation.

Run as ``python -m benchmarks.recordings [--docs] [--partial]``. The service is the real one, with eight
accounts, and things happen to them: the network is lost for a moment, phones unlink three accounts, somebody
stops one, and somebody pairs the wrong one anew. Every command is given as it is shown. With ``--docs`` the
page docs/recordings.md is made anew. A command that this version does not have makes the run fail;
``--partial`` records the others and says on the page which are missing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recordings.md"
SHOWN_FOLDER = "/srv/whatsapp"
"""What the page has in place of the run's temporary folder."""
COLUMNS = 110
NUMBERS = {
    name: f"+1202555{number:04d}"
    for number, name in enumerate(
        ("shop-1", "shop-2", "shop-3", "shop-4", "shop-5", "support", "sales", "alerts"), 101
    )
}
"""The accounts and their phones: numbers for fiction."""
UNLINKED = ("shop-1", "shop-2", "shop-3")
_TAGS = {"support": ["berlin"], "sales": ["berlin", "brazil"]}
_PATIENCE = 120.0
_HEAD = f"""\
# What commands print

Made by `python -m benchmarks.recordings --docs`: the real service with eight accounts, and the
[sandbox](sandbox.md) as WhatsApp. Each command was given as it is shown, and its stdout is shown.
`{SHOWN_FOLDER}` stands for the folder of the run.

What happened in these minutes: the accounts were paired, the network was lost for a moment, the phones of
three shops unlinked their accounts, somebody stopped `alerts`, and somebody paired `support` anew by mistake.
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A command that is recorded.

    Attributes:
        title: The heading.
        says: What there is to see.
        command: The command, as an operator types it.
        codes: The exit codes that it may end with.
    """

    title: str
    says: str
    command: str
    codes: tuple[int, ...] = (0,)

    @property
    def arguments(self) -> list[str]:
        """What follows the name of the program."""
        return shlex.split(self.command)[1:]


BEFORE = (Scene("All accounts", "All is well.", "orchestrator list"),)
AFTER = (
    Scene(
        "All accounts, after a bad night",
        "Three accounts wait for a code, and one was stopped.",
        "orchestrator list",
    ),
    Scene(
        "What happened",
        "Equal causes are one line, the newest last. `--json` has every entry.",
        "orchestrator history --since 1h",
    ),
    Scene(
        "What happened to some accounts",
        "By pattern, or by `--tag`.",
        "orchestrator history --since 1h 'sal*' alerts",
    ),
    Scene("Why an account is not connected", "And what to do.", "orchestrator explain shop-1 --entries 8"),
    Scene(
        "How well the accounts worked", "Here of minutes, usually of weeks.", "orchestrator report --since 1h"
    ),
)
UNDO = (
    Scene(
        "What can be brought back",
        "`support` was paired anew by mistake. Its old session is in quarantine.",
        "orchestrator restore",
    ),
    Scene("Bring a session back", "No new code is needed.", "orchestrator restore support"),
)
RELOAD = (
    Scene(
        "What a reload would do",
        "Somebody has edited `accounts.yaml`: `shop-4` is shown under another name on its phone, `shop-5` is"
        " disabled, and `shop-6` is new.",
        "orchestrator reload --dry-run",
    ),
)
SCENES = (*BEFORE, *AFTER, *UNDO, *RELOAD)
"""All scenes, in the order of the page."""


class MissingCommandError(Exception):
    """A command failed: this version does not have it, or the story is wrong."""


class Recorder:
    """Gives commands to a service, and keeps what they print.

    Args:
        service: The service.
        partial: Go on without commands that fail.
    """

    def __init__(self, service: Service, *, partial: bool) -> None:
        self.printed: dict[Scene, str] = {}
        self.failed: dict[Scene, str] = {}
        self._service = service
        self._partial = partial

    def record(self, *scenes: Scene) -> None:
        """Give the commands of scenes.

        Raises:
            MissingCommandError: One failed.
        """
        for scene in scenes:
            code, printed, error = self._give(scene)
            if code in scene.codes:
                self.printed[scene] = printed
                continue
            self.failed[scene] = f"`{scene.command}` ended with exit code {code}: {error.strip()[-500:]}"
            if not self._partial:
                raise MissingCommandError(self.failed[scene])

    def _give(self, scene: Scene) -> tuple[int, str, str]:
        folder = self._service.folder
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *scene.arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={
                **self._service.environment,
                "ORCHESTRATOR_CONFIG": str(self._service.config_file),
                "COLUMNS": str(COLUMNS),
            },
            cwd=folder,
            timeout=_PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.replace(str(folder), SHOWN_FOLDER), done.stderr


def tell(service: Service, sandbox: SandboxProcess, recorder: Recorder) -> None:
    """Let things happen to the accounts of a service, and record what commands print."""
    phones = sandbox.client
    for number in NUMBERS.values():
        phones.add_phone(number)
    for name, number in NUMBERS.items():
        service.pair(name, number)
    recorder.record(*BEFORE)
    phones.fault("refuse", endless=True)
    for name in NUMBERS:
        service.wait_for_state(name, "reconnecting", "backoff")
    phones.clear_faults()
    for name in NUMBERS:
        service.wait_for_state(name, "connected")
    for name in UNLINKED:
        phones.unlink(NUMBERS[name])
    for name in UNLINKED:
        service.wait_for_code(name)
    service.command("stop", "alerts", check=False)
    service.wait_for_state("alerts", "stopped")
    recorder.record(*AFTER)
    # By the socket: at a terminal, the command asks first.
    service.client.call("repair", name="support", pairing="qr", any_phone=False, wait=False)
    service.wait_for_code("support")
    service.command("stop", "support", check=False)
    service.wait_for_state("support", "stopped")
    recorder.record(*UNDO)
    service.configure(_accounts(edited=True))
    recorder.record(*RELOAD)


def _accounts(*, edited: bool = False) -> dict[str, dict[str, object]]:
    """Return what the configuration says of the accounts."""
    found: dict[str, dict[str, object]] = {
        name: {"phone": number} | ({"tags": _TAGS[name]} if name in _TAGS else {})
        for name, number in NUMBERS.items()
    }
    if edited:
        found["shop-4"]["device_name"] = "Shop in Berlin"
        found["shop-5"]["enabled"] = False
        found["shop-6"] = {"phone": "+12025550109"}
    return found


def page(recorder: Recorder) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_sections(recorder)])


def _sections(recorder: Recorder) -> Iterator[str]:
    for scene in SCENES:
        if scene in recorder.printed:
            text = "\n".join(line.rstrip() for line in recorder.printed[scene].rstrip().splitlines())
            yield f"## {scene.title}\n\n{scene.says}\n\n```console\n$ {scene.command}\n{text}\n```\n"
    missing = [scene.command for scene in SCENES if scene not in recorder.printed]
    if missing:
        yield "## Not recorded yet\n"
        yield from (f"- {command}" for command in missing)
        yield ""


def run(*, partial: bool, told: Callable[[str], object] = print) -> Recorder:
    """Record all scenes.

    Args:
        partial: Go on without commands that fail.
        told: Takes a sentence about what goes on.

    Raises:
        MissingCommandError: A command failed.
    """
    with tempfile.TemporaryDirectory(prefix="rec-") as folder, SandboxProcess() as sandbox:
        told("the service starts, and eight accounts are paired")
        with Service(Path(folder), sandbox, _accounts()) as service:
            recorder = Recorder(service, partial=partial)
            tell(service, sandbox, recorder)
    return recorder


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, and print or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", action="store_true", help="make docs/recordings.md anew")
    parser.add_argument("--partial", action="store_true", help="go on without commands that fail")
    options = parser.parse_args(arguments)
    os.environ.pop("ORCHESTRATOR_CONFIG", None)
    try:
        recorder = run(partial=options.partial, told=lambda text: print(text, file=sys.stderr))
    except MissingCommandError as error:
        print(f"nothing was written: {error}", file=sys.stderr)
        return 1
    for sentence in recorder.failed.values():
        print(sentence, file=sys.stderr)
    if options.docs:
        PAGE.write_text(page(recorder))
        print(f"{PAGE}: {len(recorder.printed)} of {len(SCENES)} commands", file=sys.stderr)
    else:
        print(page(recorder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
