"""The first hour of somebody new, with the README alone: its lines are pasted into terminals.

The set-up's line is run by `.ci/run` and the demonstration by `test_demo`. The terminals are in the sandbox.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from support.service import ROOT, end
from support.terminal import CONTROLLED, ESCAPE, Terminal

from orchestrator.config.locate import CONFIG_NAME
from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(900)

README = (ROOT / "README.md").read_text()
BLOCKS = [
    [re.sub(r" +#.*", "", line) for line in block.splitlines()]
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
]
"""The README's blocks of commands, without what stands behind them."""
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
"""What stands between backticks in its sentences."""
PROMPT = "ready> "


class Shell(Terminal):
    """A terminal with a shell, in a folder with the checkout's ``.venv``."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        shell = [*CONTROLLED, "bash", "--norc", "--noprofile", "-i"]
        super().__init__(shell, {**environment, "PS1": PROMPT}, folder, rows=60, columns=120)
        self._seen = 0

    def pastes(self, line: str) -> None:
        """Paste a line of the README; the command may go on."""
        named = [*(part for block in BLOCKS for part in block), *INLINE]
        assert line in named, f"the README does not have this line: {line}"
        self.types(line)

    def types(self, line: str) -> None:
        """Type a line."""
        self._seen = len(self.text)
        self.press(f"{line}\r")

    @property
    def shown(self) -> str:
        """What is on the terminal below the last line that was typed, without commands to the terminal."""
        return ESCAPE.sub("", self.text[self._seen :]).partition("\n")[2]

    def shows(self, *texts: str) -> str:
        """Wait until texts are on the terminal since the last line; return all that is."""
        self.until(lambda _: all(text in self.shown for text in texts), " and ".join(texts))
        return self.shown

    def comes_back(self, code: int = 0) -> str:
        """Wait until the command has ended with an exit code; return what it has shown."""
        self.until(lambda _: self.shown.endswith(PROMPT), "the prompt")
        shown = self.shown
        self.types("echo [$?]")
        self.until(
            lambda _: re.search(r"\[\d+\]", self.shown) and self.shown.endswith(PROMPT), "the exit code"
        )
        assert f"[{code}]" in self.shown, shown
        return shown

    def ctrl_c(self) -> None:
        """Press Ctrl-C."""
        self.press("\x03")


class Desk:
    """Opens terminals in one folder."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self._folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        (folder / ".venv").symlink_to(sys.prefix)
        kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "USER", "LOGNAME")
        base = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment = sandbox.environment({**base, "HOME": str(self.home)})
        self.config = self.home / ".config/orchestrator" / CONFIG_NAME
        if os.geteuid() == 0:  # whose configuration would be that of the machine
            self.environment["ORCHESTRATOR_CONFIG"] = str(self.config)
        self._open = ExitStack()

    def terminal(self) -> Shell:
        """Open a terminal, and make the command available as the README says."""
        shell = self._open.enter_context(Shell(self.environment, self._folder))
        shell.until(lambda text: PROMPT in text, "the prompt")
        shell.pastes(". .venv/bin/activate")
        shell.comes_back()
        return shell

    def processes(self) -> list[psutil.Process]:
        """Return everything that was started at this desk and still runs."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        """Close all terminals, and end what a test that failed has left running."""
        self._open.close()
        end(self.processes())


@pytest.fixture
def desk(fresh_sandbox: SandboxProcess, folder: Path) -> Iterator[Desk]:
    desk = Desk(fresh_sandbox, folder)
    yield desk
    desk.close()


def held_to(sandbox: SandboxProcess, shell: Shell, number: str) -> None:
    """Hold a phone to the code on a terminal, and to the next one if that has just been replaced."""
    while True:
        shell.until(lambda _: shell.has_picture(), "a code")
        try:
            sandbox.client.scan(number, png=shell.picture())
            return
        except SandboxError as error:
            if "no client shows this code now" not in str(error):
                raise
            seen = len(shell.text)
            shell.until(lambda text, seen=seen: len(text) > seen, "the next code")  # type: ignore[misc]


def test_the_first_hour(desk: Desk, fresh_sandbox: SandboxProcess, make_number: Callable[[], str]) -> None:
    number, ada = make_number(), make_number()
    phone = fresh_sandbox.client
    phone.add_phone(ada, "Ada")

    # Connect your first account.
    first = desk.terminal()
    first.pastes("orchestrator doctor")
    said = first.comes_back()
    assert "FAIL" not in said
    assert "orchestrator add NAME" in said, "what comes next is said where there is no account yet"
    first.pastes("orchestrator add support")
    said = first.comes_back()
    assert "orchestrator link support" in said
    assert CONFIG_NAME in said
    first.pastes("orchestrator run")
    first.shows("the control socket is")

    second = desk.terminal()
    second.pastes("orchestrator link support")
    held_to(fresh_sandbox, second, number)
    assert "support is connected" in second.comes_back()
    second.pastes("orchestrator list --watch")
    second.shows("support", "connected")
    second.ctrl_c()
    second.comes_back(130)
    second.pastes("orchestrator list")
    assert re.search(r"support +connected", second.comes_back()), "Ctrl-C ends the table, not the service"

    # Slips of the keyboard: what was meant is named.
    second.types("orchestrator explain suport")
    assert "support" in second.comes_back(5)
    second.types("orchestrator lst")
    assert "list" in second.comes_back(2)

    # Answer with a few lines of Python.
    (bot,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (desk.home.parent / "my_bot.py").write_text(bot)
    second.pastes("orchestrator set support 'messages.allow=*'")
    second.comes_back()
    second.types("orchestrator wait support")
    second.comes_back()
    second.pastes("orchestrator bot run my_bot:bot")
    second.shows("ready for", "Ctrl-C ends it")
    phone.send(ada, number, text="Hello")
    third = desk.terminal()
    third.types(f"until orchestrator sandbox inbox {ada} | grep 'You said Hello'; do sleep 1; done")
    third.shows("You said Hello")
    third.comes_back()
    second.ctrl_c()
    second.comes_back()
    second.types("orchestrator messages support")
    assert "Hello" in second.comes_back()
    second.types(f"orchestrator send support --to {ada} 'Good morning'")
    second.comes_back()
    assert "Good morning" in str(phone.inbox(ada))

    # A slip, and its undo.
    second.types("orchestrator repair support")
    second.shows("Pair it anew?")
    second.types("n")
    second.comes_back(1)
    second.types("orchestrator repair support")
    second.shows("Pair it anew?")
    second.types("y")
    said = second.shows("to undo this")
    second.until(lambda _: second.has_picture(), "a code")
    second.ctrl_c()
    second.comes_back(130)
    (undo,) = re.findall(r"to undo this: `([^`]+)`", said)
    second.types(undo)
    assert "restored from" in second.comes_back()
    second.types("orchestrator wait support")
    second.comes_back()

    # Ctrl-C ends the service and its accounts.
    first.ctrl_c()
    first.comes_back()
    second.pastes("orchestrator list")
    assert "the service is not running" in second.comes_back()

    # With one terminal.
    first.pastes("orchestrator run --log-file run.log &")
    first.comes_back()
    first.types("until orchestrator ping; do sleep 1; done")
    first.comes_back()
    first.types("orchestrator wait support")
    first.comes_back()
    first.pastes("orchestrator list --watch")
    first.shows("support", "connected")
    first.ctrl_c()  # which does not reach what runs in the background
    first.comes_back(130)
    first.pastes("orchestrator list")
    assert re.search(r"support +connected", first.comes_back())
    first.pastes("orchestrator shutdown")
    assert "the service has ended" in first.comes_back()
