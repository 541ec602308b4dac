"""What one account's process says, and what a bug does to one account: nobody else notices."""

from __future__ import annotations

import asyncio
import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import PATIENCE, Cli, wait_for
from support.fleet import QUICK, Fleet, asynchronous, until
from support.hostile import ESCAPES, found_in
from support.messages import RIGHT, WRONG, with_field
from support.terminal import CONTROLLED, Terminal

from orchestrator.accounts.events import Order, Said, ShuttingDown
from orchestrator.accounts.pipe import Act
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError

ONLINE = ["connecting", "connected", "idle"]
BEFORE = {
    "Connecting": [],
    "Code": ["connecting: unpaired"],
    "LinkCode": ["connecting: unpaired"],
    "Paired": ["connecting: unpaired"],
    "Connected": ["connecting"],
}
"""What a child says before a message, so that nothing but the message itself is wrong."""


def saying(name: str, data: bytes) -> list[str]:
    """Return a run that ends with that message."""
    return [*BEFORE.get(name, ["connecting", "connected"]), f"say: {data.decode()}", "idle"]


def hostile_runs(each: int) -> list[list[str]]:
    """Return runs that each say one thing that is wrong: so many for every field of every message."""
    chosen: list[tuple[str, str, str]] = []
    for name, fields in RIGHT.items():
        for field in fields:
            wrong = [one for one in WRONG if one[:2] == (name, field)]
            step = max(1, len(wrong) // each)
            # Another place to begin in every field, so that together they have everything.
            chosen += wrong[len(chosen) % step :: step][:each]
    return [saying(name, with_field(name, field, value)) for name, field, value in chosen]


def commands_work(client: Client, others: list[str]) -> None:
    """See that what operators ask is answered for everybody."""
    listed = {one["name"]: one for one in client.call("list", names=[])["accounts"]}
    assert {listed[name]["state"] for name in others} <= {"connected", "connecting", "starting", "stopped"}
    for name in listed:
        assert client.call("explain", name=name)["account"]["name"] == name
    watched = client.stream("watch", names=[])
    first = next(iter(watched))
    watched.close()
    assert {one["name"] for one in first["accounts"]} == set(listed)


@asynchronous
async def test_whatever_one_process_says_the_others_are_served(tmp_path: Path) -> None:
    runs = hostile_runs(each=1)
    fleet = Fleet(
        tmp_path, "a", "b", AccountSettings("evil", backoff=QUICK, max_retries=100_000), control=True
    )
    for name in ("a", "b", "evil"):
        fleet.has_session(name)
    fleet.puppets.play("evil", *runs, ONLINE)

    def crashes() -> list[str]:
        ends = (one for one in fleet.timeline("evil", 1000) if one["to"] == "backoff")
        return [f"{one['kind']}: {one['reason']}" for one in ends]

    async with fleet:
        await fleet.until("a", State.CONNECTED)
        await fleet.until("b", State.CONNECTED)
        pid = fleet.pid("b")
        while fleet.state("evil") is not State.CONNECTED or len(crashes()) < len(runs):
            seen = len(crashes())
            await asyncio.to_thread(commands_work, fleet.client, ["a", "b"])
            if seen % 20 == 0:
                for command in ("stop", "start"):
                    assert (await asyncio.to_thread(fleet.client.call, command, names=["a"]))["done"] == ["a"]
            assert fleet.supervisor.save()
        assert fleet.pid("b") == pid, "it was not touched"
        ends = crashes()
        assert len(ends) == len(runs)
        assert all(end.startswith("crash: its process broke the rules of its pipe (a") for end in ends), ends
        assert not found_in("".join(ends))
        await asyncio.to_thread(commands_work, fleet.client, ["b"])


@asynchronous
async def test_a_process_that_does_not_read_is_ended(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", "hang"], ONLINE)
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        child = fleet.supervisor._roster.accounts["a"].child
        assert child is not None
        for number in range(1000):
            child.tell(Act(number, "\N{GRINNING FACE}" * 4096))
        await fleet.until("a", State.CONNECTED, after=child.pid)
        reasons = [one["reason"] or "" for one in fleet.timeline("a", 20)]
        assert any("it does not read what it is told" in reason for reason in reasons)


NUMBER = "+4915112345678"


@asynchronous
async def test_numbers_and_secrets_in_what_it_says_are_taken_out(tmp_path: Path) -> None:
    """A process that was taken over does not redact what it says."""
    text = f"call {NUMBER}, code ABCD-EFGH, 2@{'Ab1/' * 15}"

    def said(name: str, field: str, **others: object) -> str:
        return f"say: {json.dumps({'type': name, **RIGHT[name], field: text, **others})}"

    fleet = Fleet(tmp_path, "a", control=True)
    fleet.has_session("a")
    fleet.puppets.play(
        "a",
        [
            *("connecting", "connected", "texts: kept", "await: sent", said("Acted", "about", id=1)),
            *("await: lost", said("LinkLost", "why"), "await: end", said("Ended", "text"), "exit: 20"),
        ],
        ONLINE,
    )
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        sending = asyncio.ensure_future(fleet.supervisor.sends.act("a", {"kind": "groups"}))
        await until(lambda: fleet.puppets.acts("a"), "the process has heard of it")
        fleet.puppets.go("a", "sent")
        with pytest.raises(OrchestratorError, match=r"it was not done: call \+49…78, code ") as told:
            await sending
        fleet.puppets.go("a", "lost")
        lost = await fleet.until("a", State.RECONNECTING)
        fleet.puppets.go("a", "end")
        await fleet.until("a", State.CONNECTED, after=lost["pid"])
        shown = str(told.value) + lost["reason"] + "".join(map(str, fleet.timeline("a", 20)))
    for secret in ("112345", "ABCD-EFGH", "Ab1/"):
        assert secret not in shown
    assert shown.count("+49…78") == 4, "the error, the reason, and two entries"


# A bug in the service that one account meets


def undescribable(fleet: Fleet) -> None:
    fleet.supervisor._roster.accounts["bad"].account.since = math.inf


def unwritable(fleet: Fleet) -> None:
    account = fleet.supervisor._roster.accounts["bad"].account
    account._ban = type("Ban", (), {"reason": None, "until": math.nan})()


def without_parked(fleet: Fleet) -> None:
    account = fleet.supervisor._roster.accounts["bad"].account
    account._ban = object()  # type: ignore[assignment]


def raising(kind: type) -> Callable[[Fleet], None]:
    def prepare(fleet: Fleet) -> None:
        account = fleet.supervisor._roster.accounts["bad"].account
        handle = account.handle

        def handle_or_raise(event: Any, now: Any) -> Any:  # noqa: ANN401
            if isinstance(event, kind):
                raise ZeroDivisionError("a bug")
            return handle(event, now)

        account.handle = handle_or_raise  # type: ignore[method-assign]

    prepare.__name__ = f"raising at {kind.__name__}"
    return prepare


BUGS = [undescribable, unwritable, without_parked, raising(Said), raising(ShuttingDown), raising(object)]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
@asynchronous
async def test_a_bug_that_one_account_meets_is_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bug: Callable[[Fleet], None]
) -> None:
    fleet = Fleet(tmp_path, "bad", "good", "other", control=True)
    for name in ("bad", "good", "other"):
        fleet.has_session(name)
    async with fleet:
        for name in ("bad", "good", "other"):
            await fleet.until(name, State.CONNECTED)
        bug(fleet)
        client = fleet.client
        listed = (await asyncio.to_thread(client.call, "list", names=[]))["accounts"]
        assert [one["name"] for one in listed] == ["bad", "good", "other"]
        if bug is undescribable:
            (shown,) = (one for one in listed if one["name"] == "bad")
            assert (shown["state"], shown["kind"]) == ("failed", None)
            assert shown["reason"].startswith("a bug in the service")
            assert "Traceback" in caplog.text
        await asyncio.to_thread(commands_work, client, ["good", "other"])
        stopped = await asyncio.to_thread(client.call, "stop", names=["bad", "good"], wait=False)
        assert "good" in stopped["done"]
        assert "warning" not in stopped
        await fleet.until("good", State.STOPPED)
        kept = json.loads(fleet.paths.status.read_text(), parse_constant=pytest.fail)
        assert kept["accounts"]["good"]["stopped"]
        (await asyncio.to_thread(client.call, "start", names=["good"]))
        await fleet.until("good", State.CONNECTED)
        fleet.supervisor.order("other", Order.RESTART)
        if bug.__name__ == "raising at object":
            about = await fleet.until("bad", State.FAILED)
            assert about["reason"].startswith("a bug in the service")
            with pytest.raises(OrchestratorError, match="bad: a bug in the service") as told:
                fleet.supervisor.order("bad", Order.START)
            assert told.value.key == "internal_error"
    assert json.loads(fleet.paths.status.read_text(), parse_constant=pytest.fail)["accounts"].keys() >= {
        "bad",
        "good",
        "other",
    }


# What was kept of an earlier time


def poison(path: Path) -> None:
    """Put into what a service has kept what no service writes any more."""
    kept = json.loads(path.read_text())
    one = kept["accounts"]["a"]
    one["parked"] = {"state": "banned", "reason": ESCAPES, "until": 1, "count": 2}
    one["shown"] |= {"since": ESCAPES, "restarts": 3, "last_seen_at": "9999-99-99", "kind": ESCAPES}
    kept["clock"]["wall"] = 4
    numbers = {'"until": 1': '"until": 1e400', '"count": 2': '"count": 1' + "0" * 5000}
    numbers |= {'"restarts": 3': '"restarts": NaN', '"wall": 4': '"wall": -Infinity'}
    text = json.dumps(kept)
    for right, wrong in numbers.items():
        assert right in text
        text = text.replace(right, wrong)
    path.write_text(text)


LINES = [
    '{"at": "2026-11-22T10:00:00.000Z", "to": "failed", "reason": %s, "from": %s}'
    % ((json.dumps(ESCAPES),) * 2),
    '{"at": %s, "to": %s, "delay": 1e400, "others": NaN}' % ((json.dumps(ESCAPES),) * 2),
    '{"at": "0001-01-01T00:00:00Z", "to": "x", "delay": "soon", "others": "many", "reason": [1]}',
    '{"at": "2026-11-22T10:00:00Z", "to": "x", "attempt": 1%s}' % ("0" * 5000),
    '{"at": 1e400, "to": "x"}',
    '{"at": "x", "to": {"a": 1}}',
    '{"at": "2026-11-22T10:00:00Z", "to": "\\ud800\\u202e", "reason": "\\udfff"}',
]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.configure("a: {}", "b: {}", "evil: {max_retries: 100}")
    for name in ("a", "b", "evil"):
        cli.has_session(name)
    return cli


def outputs(cli: Cli, *, terminal: bool) -> Iterator[str]:
    """Yield what commands write, on a terminal or where there is none."""
    for arguments in (
        ("list",),
        ("explain", "a"),
        ("explain", "evil"),
        ("stop", "b"),
        ("qr", "evil"),
        ("send", "evil", "--to", "+4915100000002", "hello"),
    ):
        line = cli.line(*arguments)
        if terminal:
            with Terminal((*CONTROLLED, *line), cli.environment, cli.folder) as screen:
                screen.exit_code(PATIENCE)
            shown = screen.text
        else:
            done = cli.run_any(line)
            shown = done.stdout + done.stderr
        assert not found_in(shown, terminal=terminal), arguments
        assert "Traceback" not in shown, arguments
        yield shown


def test_what_an_earlier_service_kept_keeps_nobody_from_the_others(cli: Cli) -> None:
    with cli.service():
        for name in ("a", "b", "evil"):
            cli.until(name, "connected")
    poison(cli.state / "status.json")
    (cli.state / "timeline" / "a.jsonl").write_text("\n".join(LINES) + "\n")
    shown = cli.accounts()
    assert shown["a"]["state"] == "banned"
    assert shown["b"]["state"] == "stopped"
    assert "a is banned" in "".join(outputs(cli, terminal=False))
    with cli.service():
        cli.until("b", "connected")
        cli.until("a", "banned")
        assert "a is banned" in "".join(outputs(cli, terminal=True))
        json.loads((cli.state / "status.json").read_text(), parse_constant=pytest.fail)
    assert not found_in(cli.log.read_text())
    assert cli.accounts()["a"]["state"] == "banned"


def test_nothing_a_process_says_steers_a_terminal(cli: Cli) -> None:
    texts = [
        (name, field)
        for name in RIGHT
        for field in RIGHT[name]
        if isinstance(RIGHT[name][field], str) and field not in ("tag", "result")  # which nobody shows
    ]
    runs = [saying(name, with_field(name, field, json.dumps(f"a{ESCAPES}b"))) for name, field in texts]
    # What it writes by itself, without any message.
    runs[0] = [f"trace: {ESCAPES}", *runs[0]]
    cli.puppets.play(
        "evil",
        *runs,
        ["connecting: unpaired", "say: " + with_field("LinkCode", "code", '"\\u001b"').decode()],
    )
    with cli.service() as process, cli.popen("list", "--watch", stdout=-1) as watch:
        cli.until("a", "connected")
        wait_for(lambda: len(cli.puppets.runs("evil")) > len(runs), "it has said everything")
        for terminal in (True, False):
            assert "evil" in "".join(outputs(cli, terminal=terminal))
        with Terminal((*CONTROLLED, *cli.line("list", "--watch")), cli.environment, cli.folder) as live:
            live.until(lambda text: "evil" in text, "the accounts")
            live.interrupt()
            live.exit_code(PATIENCE)
        assert not found_in(live.text, terminal=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        said, _ = watch.communicate(timeout=PATIENCE)
        assert "evil" in said
        assert not found_in(said)
    assert not found_in(cli.log.read_text())
    for file in (cli.state / "timeline").iterdir():
        assert not found_in(file.read_text()), file
    assert not found_in((cli.state / "status.json").read_text())
    assert "broke the rules of its pipe" in (cli.state / "timeline" / "evil.jsonl").read_text()
