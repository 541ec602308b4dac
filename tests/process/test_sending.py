"""Texts that an account is to send: from the control socket through the supervisor to a process, and back."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fleet import PATIENCE, Fleet, asynchronous, until

from orchestrator.accounts.events import Order
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.errors import NoSuchAccount, OrchestratorError
from orchestrator.service import sending

TO = "+4915100000042"
TEXT = "Where is the \N{PARTY POPPER}?\nHere."
LONGEST = "\N{PARTY POPPER}" * 4096
ROOT = Path(__file__).resolve().parents[2]


def connected(folder: Path, *steps: str, control: bool = False) -> Fleet:
    """Return a fleet with an account that connects and then does these steps."""
    fleet = Fleet(folder, "a", control=control)
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", *steps])
    return fleet


def is_quiet(fleet: Fleet, caplog: pytest.LogCaptureFixture, error: str = "") -> None:
    """See that nothing tells what was sent, or to whom."""
    kept = "".join(path.read_text(errors="replace") for path in fleet.paths.root.rglob("*") if path.is_file())
    for text in (kept, caplog.text, error):
        assert "000042" not in text
        assert "Where is the" not in text


@asynchronous
async def test_a_text_goes_to_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with connected(tmp_path, "idle", control=True) as fleet:
        await fleet.until("a", State.CONNECTED)
        assert await fleet.call("send", name="a", to=TO, text=TEXT) == {}
        assert fleet.puppets.texts("a") == [{"to": TO[1:], "text": TEXT}]
    is_quiet(fleet, caplog)


@asynchronous
async def test_what_whatsapp_says_to_it_is_the_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with connected(tmp_path, "texts: refused", "idle", control=True) as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(OrchestratorError, match="a: the text was not sent: WhatsApp would not") as raised:
            await fleet.call("send", name="a", to=TO, text=TEXT)
    is_quiet(fleet, caplog, str(raised.value))


@asynchronous
async def test_only_a_connected_account_sends(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", AccountSettings("off", enabled=False), control=True) as fleet:
        await fleet.until("a", State.PAIRING)
        with pytest.raises(OrchestratorError, match=r"not connected but pairing: `orchestrator explain a`"):
            await fleet.call("send", name="a", to=TO, text=TEXT)
        with pytest.raises(OrchestratorError, match="not connected but disabled"):
            await fleet.call("send", name="off", to=TO, text=TEXT)
        with pytest.raises(NoSuchAccount):
            await fleet.call("send", name="nobody", to=TO, text=TEXT)
        assert fleet.puppets.texts("a") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "name must be"),
        ({"name": "a", "to": 4915100000042, "text": TEXT}, "to must be a text"),
        ({"name": "a", "to": TO}, "text must be a text"),
        ({"name": "a", "to": "4915100000042", "text": TEXT}, "country code"),
        ({"name": "a", "to": TO, "text": "x" * 5000}, "too long"),
        ({"name": "a", "to": TO, "text": TEXT, "silently": True}, "does not take silently"),
    ],
)
@asynchronous
async def test_what_cannot_be_sent_is_refused(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    async with connected(tmp_path, "idle", control=True) as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(OrchestratorError, match=message):
            await fleet.call("send", **arguments)
        assert fleet.puppets.texts("a") == []


@asynchronous
async def test_a_process_that_says_nothing_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.2)
    async with connected(tmp_path, "texts: kept", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(OrchestratorError, match=r"it is not known whether .* no answer within"):
            await fleet.supervisor.send("a", TO, TEXT)
        assert fleet.state("a") is State.CONNECTED


@pytest.mark.parametrize("end", ["kill", "stop"])
@asynchronous
async def test_an_end_of_the_process_ends_the_wait(tmp_path: Path, end: str) -> None:
    async with connected(tmp_path, "texts: kept", "idle") as fleet:
        about = await fleet.until("a", State.CONNECTED)
        sends = [asyncio.ensure_future(fleet.supervisor.send("a", TO, TEXT)) for _ in range(3)]
        await until(lambda: len(fleet.puppets.texts("a")) == 3, "they are there")
        if end == "kill":
            os.kill(about["pid"], signal.SIGKILL)
        else:
            fleet.supervisor.order("a", Order.STOP)
            with pytest.raises(OrchestratorError, match="not connected but stopping"):
                await fleet.supervisor.send("a", TO, TEXT)
        ends = await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), PATIENCE)
        assert all("the account's process ended" in str(error) for error in ends), ends


@asynchronous
async def test_texts_that_fill_the_pipe_arrive_whole_and_too_many_are_refused(tmp_path: Path) -> None:
    async with connected(tmp_path, "texts: kept", "await: word", "idle") as fleet:
        about = await fleet.until("a", State.CONNECTED)
        os.kill(about["pid"], signal.SIGSTOP)
        sends = [
            asyncio.ensure_future(fleet.supervisor.send("a", TO, LONGEST)) for _ in range(sending.MAX_WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(OrchestratorError, match="on their way already"):
            await fleet.supervisor.send("a", TO, TEXT)
        os.kill(about["pid"], signal.SIGCONT)
        await until(lambda: len(fleet.puppets.texts("a")) == len(sends), "they are there")
        assert {text["text"] for text in fleet.puppets.texts("a")} == {LONGEST}
        fleet.supervisor.order("a", Order.STOP)
        await asyncio.gather(*sends, return_exceptions=True)
        await fleet.until("a", State.STOPPED)


# The command


def give(fleet: Fleet, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command_line = [sys.executable, "-m", "orchestrator", "--state-dir", str(fleet.paths.root), "send"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command_line, *arguments],
        input=stdin,
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )


@asynchronous
async def test_the_command_takes_the_text_as_an_argument_or_from_stdin(tmp_path: Path) -> None:
    async with connected(tmp_path, "idle", control=True) as fleet:
        await fleet.until("a", State.CONNECTED)
        done = await asyncio.to_thread(give, fleet, "a", "--to", "+49 1510 (0000)-042", TEXT)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"a: sent\n", b"")
        done = await asyncio.to_thread(give, fleet, "a", "--to", TO, "-", stdin=f"{TEXT}\n".encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"a: sent\n", b"")
        assert fleet.puppets.texts("a") == [{"to": TO[1:], "text": TEXT}] * 2


@asynchronous
async def test_the_command_says_why_not(tmp_path: Path) -> None:
    async with connected(tmp_path, "texts: refused", "idle", control=True) as fleet:
        await fleet.until("a", State.CONNECTED)
        for arguments, stdin, code, message in [
            (("a", "--to", TO, TEXT), b"", 1, b"WhatsApp would not have it"),
            (("a", "--to", "0151 000 0042", TEXT), b"", 1, b"country code"),
            (("a", "--to", TO, "-"), b"\xff", 1, b"UTF-8"),
            (("a", "--to", TO, "-"), b"x" * 100_000, 1, b"too long"),
            (("a", "--to", TO, "-"), b"", 1, b"the text is empty"),
            (("nobody", "--to", TO, TEXT), b"", 5, b"no account"),
            (("a", TEXT), b"", 2, b"--to"),
        ]:
            done = await asyncio.to_thread(give, fleet, *arguments, stdin=stdin)
            assert done.returncode == code, done
            assert message in done.stderr
            assert b"000042" not in done.stderr
            assert b"Where is the" not in done.stderr
    done = await asyncio.to_thread(give, fleet, "a", "--to", TO, TEXT)
    assert (done.returncode, done.stdout) == (4, b"")
