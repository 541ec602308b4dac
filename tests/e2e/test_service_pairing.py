"""The service links accounts by the pictures it shows, and has them back without one."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from PIL import Image
from support.onlooker import Onlooker, read_code
from support.service import PATIENCE, Accounts, Json, Service

from orchestrator.accounts.looking import LOOK_SECONDS, UNSEEN
from orchestrator.sandbox.process import SandboxProcess

NAMES = ("support", "sales-br", "sales.de")
LATE = 20.0
"""What a machine that is busy with other tests may add to a second, for the service or for who watches it; a
code that nobody takes away stays for longer."""


def test_three_accounts_are_linked_by_their_pictures_and_back_without_one_after_a_restart(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in NAMES}
    with Service(folder, sandbox, NAMES) as service:
        for name, number in numbers.items():
            account = service.pair(name, number)
            assert account["qr_path"] is None
            assert account["phone"].startswith("+49…")
            assert service.kept.is_closed(name)
        assert service.pngs() == []
        for process in service.processes():
            assert runs_go(process) == (process.pid in {service.child(name) for name in NAMES}), process
            assert not has_neonize(psutil.Process(service.pid))
        assert [one["state"] for one in service.accounts()] == ["connected"] * 3
        assert service.command("list", "--check").stdout == ""
        listed = service.command("list").stdout
        assert all(name in listed for name in NAMES)
        assert not any(number[1:] in listed for number in numbers.values())
        for name in NAMES:
            assert [entry["to"] for entry in service.timeline(name)] == [
                "starting", "pairing", "connecting", "connected"
            ]  # fmt: skip

        assert service.stop() == 0
        since = sandbox.client.last_event()
        service.start()
        for name in NAMES:
            service.wait_for_state(name, "connected")
            history = [entry["to"] for entry in service.timeline(name)][4:]
            assert history == ["stopped", "starting", "connecting", "connected"], name
        events = sandbox.client.events(since)
        assert not [event for event in events if event["event"] == "pairing"]
        logins = [event["phone"] for event in events if event["event"] == "login"]
        # There are other tests' bots in the sandbox.
        assert sorted(set(logins) & set(numbers.values())) == sorted(numbers.values())
        assert all(logins.count(number) == 1 for number in numbers.values())
        assert service.pngs() == []


# Whoever watches the folder


def test_a_watcher_sees_nothing_but_whole_pictures_and_none_that_is_out_of_date(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in ("support", "left")}
    (folder / "state").mkdir(0o700)
    codes = folder / "state/qr"
    codes.mkdir(0o700)
    (codes / "support.png").write_bytes(b"one that was left behind")
    with Onlooker(codes) as onlooker, Service(folder, sandbox, list(numbers)) as service:
        onlooker.wait_for("deleted", "support.png")
        for name in numbers:
            onlooker.wait_for("moved_to", f"{name}.png")
        assert service.pngs() == ["left.png", "support.png"]
        for name in numbers:
            about = service.wait_for_state(name, "pairing")
            path = service.png(name)
            assert about["qr_path"] == str(path)
            with Image.open(path) as picture:
                assert picture.info["Expires"] == about["qr_expires_at"]
            assert path.stat().st_mode & 0o777 == 0o600

        before = len(onlooker.seen)
        service.pair("support", numbers["support"])
        gone = onlooker.wait_for("deleted", "support.png", after=before)
        (connecting,) = [entry for entry in service.timeline("support") if entry["to"] == "connecting"]
        assert abs(gone.at - unix(connecting["at"])) < 1 + LATE

        # A new account, to see a round through: the first code holds for 60 s, which is too long to wait
        # for, so the round is over after eight.
        before = len(onlooker.seen)
        service.command("stop", "left")
        assert service.pngs() == []
        stopped = unix(service.timeline("left")[-1]["at"])
        assert onlooker.wait_for("deleted", "left.png", after=before).at < stopped + 1 + LATE
        sandbox.client.fault("short-qr", "pairing", after=8)
        before = len(onlooker.seen)
        service.command("start", "left")
        shown = onlooker.wait_for("moved_to", "left.png", after=before)
        again = before + onlooker.seen[before:].index(shown) + 1
        gone = onlooker.wait_for("deleted", "left.png", after=again)
        service.wait_for_entry("left", to="backoff", kind="pairing_expired")
        expired = [entry for entry in service.timeline("left") if entry["kind"] == "pairing_expired"]
        assert abs(gone.at - unix(expired[0]["at"])) < 1 + LATE
        onlooker.wait_for("moved_to", "left.png", after=again)  # the next round begins by itself

        child = psutil.Process(service.child("left"))
        before = len(onlooker.seen)
        child.kill()
        killed = time.time()
        assert onlooker.wait_for("deleted", "left.png", after=before).at < killed + 1 + LATE
        onlooker.wait_for("moved_to", "left.png", after=before)
        before = len(onlooker.seen)
        service.stop()
        onlooker.wait_for("deleted", "left.png", after=before)

        pictures = [one for one in onlooker.seen if one.name.endswith(".png")]
        assert {one.kind for one in pictures} == {"moved_to", "deleted"}
        renames = [one for one in pictures if one.kind == "moved_to"]
        texts = [read_code(one.content) for one in renames]
        assert len(set(texts)) == len(texts) == 5
        for one in renames:
            assert one.content is not None
            assert one.modified_at is not None
            with Image.open(io.BytesIO(one.content)) as picture:
                # A first code holds for a minute, from when it was issued.
                assert unix(picture.info["Expires"]) - one.modified_at == pytest.approx(60, abs=1)
            assert one.at - LATE < one.modified_at <= one.at


def unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def test_the_next_code_takes_the_place_of_the_one_before(sandbox: SandboxProcess, folder: Path) -> None:
    with Service(folder, sandbox, ["support"]) as service:
        service.wait_for_code("support")
        with Onlooker(service.state / "qr") as onlooker:
            first = service.about("support")
            # WhatsApp has the first code of a round last for a minute.
            shown = onlooker.wait_for("moved_to", "support.png", timeout=60 + LATE)
            assert shown.modified_at is not None
            assert shown.modified_at == pytest.approx(unix(first["qr_expires_at"]), abs=LATE)
            about = service.about("support")
            assert unix(about["qr_expires_at"]) - shown.modified_at == pytest.approx(20, abs=1)
            assert about["since"] == first["since"]
            assert about["pid"] == first["pid"]
            assert len([one for one in onlooker.seen if one.name == "support.png"]) == 1
            assert read_code(shown.content)


# Codes that are shown only while somebody looks


def test_nobody_dials_for_a_code_that_nobody_looks_at(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    number = make_number()
    accounts: dict[str, dict[str, object]] = {"quiet": {"pairing": "on_demand"}, "loud": {}}

    def waits(shown: Accounts) -> Json | None:
        about = shown["quiet"]
        unseen = (about["state"], about["reason"]) == ("pairing", UNSEEN)
        return about if unseen and about["pid"] is None else None

    with Service(folder, sandbox, accounts) as service:
        service.wait_for_state("loud", "pairing")
        service.until(waits, "quiet waits")
        assert UNSEEN in " ".join(service.command("list", "--wide").stdout.split())
        assert "as soon as somebody looks" in " ".join(service.command("explain", "quiet").stdout.split())
        doctor = service.command("doctor", "--json", check=False).stdout
        assert "1 account waits until somebody looks at a code" in doctor
        assert [one.pid for one in service.processes() if runs_go(one)] == [service.child("loud")]
        assert service.pngs() == ["loud.png"]

        # Somebody looks, and leaves without a phone: that is good for a minute.
        with service.client.stream("qr", name="quiet") as stream:
            first = next(event["code"]["text"] for event in stream if event.get("code"))
        service.child("quiet")
        about = service.until(waits, "quiet waits again", timeout=LOOK_SECONDS + PATIENCE)
        assert about["attempt"] == 0
        assert service.pngs() == ["loud.png"]

        # Somebody looks, and has a phone.
        with service.client.stream("qr", name="quiet") as stream:
            for event in stream:
                if event.get("code"):
                    assert event["code"]["text"] != first
                    sandbox.client.scan(number, text=event["code"]["text"])
            assert stream.result["account"]["state"] == "connected"
        history = [entry["to"] for entry in service.timeline("quiet")]
        assert history == [
            "starting", "pairing", "starting", "pairing", "starting", "pairing", "connecting", "connected"
        ]  # fmt: skip

        # Linked, it needs nobody who looks: the next service finds its session.
        assert service.stop() == 0
        service.start()
        service.wait_for_state("quiet", "connected")
        # Its phone unlinks it: then it waits again.
        sandbox.client.unlink(number)
        about = service.until(waits, "quiet waits once more")
        assert about["kind"] == "logged_out"
        assert len(service.quarantined("quiet", "logged_out")) == 1


def runs_go(process: psutil.Process) -> bool:
    """Tell whether a process uses neonize; the fork server, which has one thread, has it for all others."""
    return has_neonize(process) and process.num_threads() > 1


def has_neonize(process: psutil.Process) -> bool:
    return any("neonize-" in mapping.path for mapping in process.memory_maps())
