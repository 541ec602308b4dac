"""Somebody who runs the service by what is typed at a shell, and by nothing else: `Operator`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

COMMAND = (str(Path(sys.executable).parent / "orchestrator"),)
"""The command as pip installs it."""
LOG = "service.log"
POLL = 0.1
"""Seconds between two looks at what nobody tells of by itself."""
_SANDBOX = "orchestrator: warning: ORCHESTRATOR_SANDBOX_ROOT_KEY is set"
"""How the line begins that tells whoever works in a sandbox so; a real WhatsApp has none."""


@dataclass(frozen=True)
class Said:
    """What a command has said, and how it ended.

    Attributes:
        line: What was typed.
        code: The exit code.
        out: Its standard output.
        err: Its standard error, without the line that is there in a sandbox only.
    """

    line: str
    code: int
    out: str
    err: str

    def ends_with(self, code: int) -> Self:
        """See that the command ended with an exit code."""
        assert self.code == code, self
        return self

    def says(self, *texts: str) -> Self:
        """See that all these texts are in what the command has said."""
        missing = [text for text in texts if text not in self.out + self.err]
        assert not missing, f"{missing} are not in what this says:\n{self}"
        return self

    def says_nothing_of(self, *texts: str) -> Self:
        """See that none of these texts is in what the command has said."""
        found = [text for text in texts if text in self.out + self.err]
        assert not found, f"{found} are in what this says:\n{self}"
        return self

    def is_silent(self) -> Self:
        """See that the command has said nothing, so that cron sends no mail."""
        assert (self.out, self.err) == ("", ""), self
        return self

    def document(self) -> Any:  # noqa: ANN401 - what JSON has
        """Return the JSON document that is all of its standard output."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"$ {self.line}\n{self.out}{self.err}[exit code {self.code}]"


class Operator(Service):
    """Runs a service from a folder with ``accounts.yaml``, which ``$ORCHESTRATOR_CONFIG`` names.

    Args:
        folder: The folder; it has the configuration, the state folder and the log.
        sandbox: Its WhatsApp.
    """

    def __init__(self, folder: Path, sandbox: SandboxProcess) -> None:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        given = {**os.environ, "HOME": str(home)}
        super().__init__(folder, sandbox, start=False, write=False, program=COMMAND, environment=given)
        self.environment["ORCHESTRATOR_CONFIG"] = str(self.config_file)

    def command_line(self, *arguments: str) -> list[str]:
        """Return how a command is given: the environment names the configuration."""
        return [*COMMAND, *arguments]

    def types(self, line: str, *, stdin: str = "") -> Said:
        """Type a command at a shell, and return what it has said; its output is no terminal.

        Args:
            line: The command with its arguments, quoted as for a shell.
            stdin: What is typed, or comes from a file.
        """
        program, *arguments = shlex.split(line)
        assert program == "orchestrator", line
        done = self.command(*arguments, check=False, stdin=stdin)
        kept = [part for part in done.stderr.splitlines(keepends=True) if not part.startswith(_SANDBOX)]
        return Said(line, done.returncode, done.stdout, "".join(kept))

    def does(self, line: str, *, stdin: str = "") -> Said:
        """Type a command that has to work."""
        return self.types(line, stdin=stdin).ends_with(0)

    @contextmanager
    def leaves_running(self, line: str) -> Iterator[subprocess.Popen[str]]:
        """Type a command that goes on for a while, in another terminal; it is ended in any case."""
        _, *arguments = shlex.split(line)
        with subprocess.Popen(
            self.command_line(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.folder,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def writes(self, text: str) -> None:
        """Save another text as the configuration."""
        self.config_file.write_text(text)

    def edits(self, change: Callable[[str], str]) -> None:
        """Change the text of the configuration by hand."""
        self.writes(change(self.config_file.read_text()))

    # The service

    def runs(self) -> None:
        """Type ``orchestrator run --log-file service.log`` in another terminal, and wait for the service."""
        self.launch("--log-file", str(self.folder / LOG))
        self.sees(lambda: self.types("orchestrator ping").code == 0, "the service answers")

    def shuts_down(self) -> None:
        """End the service by its command."""
        everything = self.processes()
        self.does("orchestrator shutdown").says("the service has ended")
        assert self.wait() == 0
        assert not [process for process in everything if process.is_running()]

    def sees(self, holds: Callable[[], object], what: str) -> None:
        """Look again and again until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}\n{self.written()[-6000:]}"
            time.sleep(POLL)

    def written(self) -> str:
        """Return what the service's log has by now, the files that were rotated included."""
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"{LOG}*"), reverse=True))

    # Accounts

    def states(self) -> dict[str, str]:
        """Return the state of each account, as programs get it."""
        return {one["name"]: one["state"] for one in self.does("orchestrator list --json").document()}

    def codes_since(self, known: Mapping[str, int]) -> list[str]:
        """Return the accounts that have shown a code since their timelines had so many entries."""
        return [
            name
            for name, number in known.items()
            if "pairing" in [entry["to"] for entry in self.timeline(name)[number:]]
        ]

    def lengths(self) -> dict[str, int]:
        """Return how many entries the timeline of each account has."""
        return {name: len(self.timeline(name)) for name in self.states()}

    def copies_to(self, folder: Path) -> Path:
        """Copy the configuration and the state folder, as a backup does; return the folder."""
        shutil.copy2(self.config_file, folder)
        sockets = shutil.ignore_patterns("*.sock")
        shutil.copytree(self.state, folder / self.state.name, symlinks=True, ignore=sockets)
        return folder
