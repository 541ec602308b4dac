"""How the real client is linked to a phone, stays linked, and is unlinked."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import StartNeonize
from support import stand_in
from support.linked import PATIENCE, POLL, devices, fortunes, link, log_in, proxy_of, stored_sessions
from support.neonize_process import CommandError, NeonizeProcess, write_png
from support.stand_in import Keys

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.crypto.linking import CODE_ALPHABET
from orchestrator.sandbox.process import SandboxProcess

USED = "no client shows this code now"


def showing(bot: NeonizeProcess) -> str:
    """Let a bot that is not linked connect; returns the text of the code it shows."""
    bot.command("connect")
    return bot.qr(PATIENCE)


def waiting_for_code(bot: NeonizeProcess, number: str) -> str:
    """Let a bot connect that is to be linked by the code of eight characters; returns the code."""
    showing(bot)
    return str(bot.command("pair_phone", phone=number.removeprefix("+"))["code"])


def own_devices(bot: NeonizeProcess, number: str) -> list[str]:
    """Return the devices of the bot's own number, as the bot knows them."""
    jid = f"{number.removeprefix('+')}@s.whatsapp.net"
    return sorted(bot.command("get_user_devices", jids=[jid])["devices"])


def wait_until(look: Callable[[], list[str]], wanted: list[str]) -> None:
    """Wait for what comes without an event."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, f"there is {found} instead of {wanted}"
        time.sleep(POLL)


def refused(sandbox: SandboxProcess, number: str, text: str, status: int = 409) -> str:
    """Hold a phone to a code that it must not accept; returns what the sandbox says of it."""
    with pytest.raises(SandboxError) as failure:
        sandbox.client.scan(number, text=text)
    assert failure.value.status == status
    return str(failure.value)


def code_refused(sandbox: SandboxProcess, number: str, code: str, status: int = 409) -> str:
    """Type a code that must not be accepted; returns what the sandbox says of it."""
    with pytest.raises(SandboxError) as failure:
        sandbox.client.enter_code(number, code)
    assert failure.value.status == status
    return str(failure.value)


# By QR code


def test_a_code_in_a_picture_links(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str, tmp_path: Path
) -> None:
    bot = neonize(device_name="My bot")
    picture = tmp_path / "qr.png"
    write_png(showing(bot), picture)
    assert sandbox.client.scan(number, png=picture) == {"phone": number, "device": 1}
    bot.wait_for("Connected", PATIENCE)
    paired = bot.wait_for("PairStatus", PATIENCE)
    (phone,) = [phone for phone in sandbox.client.phones() if phone["phone"] == number]
    (device,) = phone["devices"]
    assert paired["jid"] == f"{number.removeprefix('+')}:1@s.whatsapp.net"
    assert (device["device"], device["os"]) == (1, "My bot")
    status = bot.command("status")
    assert (status["is_connected"], status["is_logged_in"]) == (True, True)
    assert status["me"]["jid"] == paired["jid"]
    assert status["me"]["lid"] == phone["lid"].replace("@", ":1@")
    assert stored_sessions(bot.database) == [paired["jid"]]


def test_the_command_line_links_by_a_picture(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str, tmp_path: Path
) -> None:
    bot = neonize()
    picture = tmp_path / "qr.png"
    write_png(showing(bot), picture)
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "sandbox", "scan", str(picture), "--phone", number],
        env=sandbox.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    bot.wait_for("Connected", PATIENCE)
    assert list(devices(sandbox.client, number)) == [1]


def test_a_linked_client_comes_back_without_a_code(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    before = link(neonize(), sandbox.client, number)
    before.bot.stop()
    second = neonize()
    log_in(second)
    assert fortunes(second) == ["Connected"]
    assert [event for event in second.events if event["event"] in ("qr", "PairStatus")] == []
    assert list(devices(sandbox.client, number)) == [before.device]


def test_only_the_code_that_is_shown_links(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    bot = neonize()
    shown = showing(bot)
    head, ref, noise, identity, secret, kind = re.split("[#,]", shown)
    other = base64.b64encode(bytes(32)).decode()
    assert head == "https://wa.me/settings/linked_devices"
    unlike = "the code's keys are not those of the client that shows it"
    assert refused(sandbox, number, f"{ref},{other},{identity},{secret},{kind}") == unlike
    assert refused(sandbox, number, f"{ref},{noise},{other},{secret},{kind}") == unlike
    assert USED in refused(sandbox, number, f"2@other,{noise},{identity},{secret},{kind}")
    assert "this one has 4" in refused(sandbox, number, f"{ref},{noise},{identity},{secret}", 400)
    assert "no base64" in refused(sandbox, number, f"{ref},{noise},{identity},?,{kind}", 400)
    sandbox.client.scan(number, text=shown)
    bot.wait_for("Connected", PATIENCE)


def test_a_code_links_once(
    sandbox: SandboxProcess, neonize: StartNeonize, make_number: Callable[[], str]
) -> None:
    bot, number, other = neonize(), make_number(), make_number()
    code = showing(bot)
    sandbox.client.scan(number, text=code)
    assert USED in refused(sandbox, number, code)
    assert USED in refused(sandbox, other, code)
    bot.wait_for("Connected", PATIENCE)
    assert USED in refused(sandbox, number, code)
    assert list(devices(sandbox.client, number)) == [1]
    assert other not in [phone["phone"] for phone in sandbox.client.phones()]


def test_a_code_is_worth_nothing_when_its_round_is_over(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    sandbox.client.fault("short-qr", "proxy:brief", after=1)
    since = sandbox.client.last_event()
    code = showing(neonize(proxy=proxy_of(sandbox, "brief")))
    opened = sandbox.client.wait_for("opened", PATIENCE, since, user="brief")
    sandbox.client.wait_for("closed", PATIENCE, since, connection=opened["connection"])
    assert USED in refused(sandbox, number, code)


def test_a_code_that_was_replaced_links_no_more(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    sandbox.client.fault("short-qr", "proxy:five", codes=5)  # of six, the first would be shown for 60 s
    bot = neonize(proxy=proxy_of(sandbox, "five"))
    first = showing(bot)
    second = bot.qr(PATIENCE, after=bot.last_index())
    assert USED in refused(sandbox, number, first)
    sandbox.client.scan(number, text=second)
    bot.wait_for("Connected", PATIENCE)


# By the code of eight characters


@pytest.mark.parametrize("typed", ["as shown", "in small letters, without the dash"])
def test_eight_characters_link(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str, typed: str
) -> None:
    bot = neonize()
    code = waiting_for_code(bot, number)
    assert re.fullmatch(f"[{CODE_ALPHABET}]{{4}}-[{CODE_ALPHABET}]{{4}}", code)
    entered = code if typed == "as shown" else code.replace("-", "").lower()
    assert sandbox.client.enter_code(number, entered) == {"phone": number, "device": 1}
    bot.wait_for("Connected", PATIENCE)
    assert bot.command("status")["me"]["jid"] == f"{number.removeprefix('+')}:1@s.whatsapp.net"


def test_after_a_wrong_code_the_right_one_still_links(
    sandbox: SandboxProcess, neonize: StartNeonize, make_number: Callable[[], str]
) -> None:
    bot, number, other = neonize(), make_number(), make_number()
    code = waiting_for_code(bot, number)
    wrong = code[:-1] + ("2" if code[-1] == "1" else "1")
    assert code_refused(sandbox, number, wrong) == "the code is wrong"
    assert code_refused(sandbox, number, wrong) == "the code is wrong"
    assert code_refused(sandbox, other, code) == f"no client waits for a code of {other}"
    for unfit in ("OOOO-0000", "ABCD-EFG", "ABCDEFGHJ", "ABCD EFGH", "ÄBCD-EFGH"):
        assert "a linking code has" in code_refused(sandbox, number, unfit, 400)
    sandbox.client.enter_code(number, code)
    assert code_refused(sandbox, number, code) == f"no client waits for a code of {number}"
    bot.wait_for("Connected", PATIENCE)
    assert list(devices(sandbox.client, number)) == [1]


def test_nobody_waits_for_a_code_who_has_not_asked_for_one(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    showing(neonize())
    assert code_refused(sandbox, number, "ABCD-EFGH") == f"no client waits for a code of {number}"


# Several devices of a number


def test_a_linked_client_learns_of_another_and_of_its_end(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    digits = number.removeprefix("+")
    first = link(neonize("first"), sandbox.client, number)
    alone = own_devices(first.bot, number)
    second = link(neonize("second"), sandbox.client, number)
    assert (first.device, second.device) == (1, 2)
    both = sorted([*alone, f"{digits}:2@s.whatsapp.net"])
    wait_until(lambda: own_devices(first.bot, number), both)
    sandbox.client.unlink(number, 2)
    wait_until(lambda: own_devices(first.bot, number), alone)


def test_a_number_has_four_linked_devices_at_most(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    ca_file = sandbox.state_dir / "ca.pem"
    for _ in range(4):
        stand_in.link(sandbox.port, ca_file, Keys(), lambda text: sandbox.client.scan(number, text=text))
    bot = neonize()
    code = showing(bot)
    assert "has 4 linked devices already: unlink one first" in refused(sandbox, number, code)
    sandbox.client.unlink(number, 2)
    assert sandbox.client.scan(number, text=code)["device"] == 5
    bot.wait_for("Connected", PATIENCE)
    assert list(devices(sandbox.client, number)) == [1, 3, 4, 5]


def test_a_phone_links_one_client_after_the_other_so_that_two_cannot_become_the_fourth(
    sandbox: SandboxProcess, number: str
) -> None:
    port, ca_file = sandbox.port, sandbox.state_dir / "ca.pem"
    keys, others = Keys(), Keys()

    def scan(text: str) -> int:
        return int(sandbox.client.scan(number, text=text)["device"])

    for _ in range(3):
        stand_in.link(port, ca_file, Keys(), scan)
    with (
        stand_in.unpaired(port, ca_file, keys) as first,
        stand_in.unpaired(port, ca_file, others) as second,
        ThreadPoolExecutor() as phone,
    ):
        fourth = phone.submit(scan, keys.qr_text(stand_in.refs(first)[0]))
        request = stand_in.signed_by_phone(first)
        fifth = phone.submit(scan, others.qr_text(stand_in.refs(second)[0]))
        second.ping()
        stand_in.sign_in_return(first, keys, request)
        assert fourth.result() == 4
        with pytest.raises(SandboxError, match="has 4 linked devices already"):
            fifth.result()
    assert len(devices(sandbox.client, number)) == 4


# The end of a link


def test_unlinked_from_the_phone_while_online(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    assert sandbox.client.unlink(number) == [1]
    out = linked.bot.wait_for("LoggedOut", PATIENCE)
    assert (out["on_connect"], out["reason"]) == (False, "LOGGED_OUT")
    assert devices(sandbox.client, number) == {}
    wait_until(lambda: stored_sessions(linked.bot.database), [])


def test_unlinked_from_the_phone_while_away(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    link(neonize(), sandbox.client, number).bot.stop()
    assert sandbox.client.unlink(number, 1) == [1]
    with pytest.raises(SandboxError, match="has no linked device 1"):
        sandbox.client.unlink(number, 1)
    back = neonize()
    back.command("connect")
    out = back.wait_for("LoggedOut", PATIENCE)
    assert (out["on_connect"], out["reason"]) == (True, "LOGGED_OUT")
    assert fortunes(back) == ["LoggedOut"]
    wait_until(lambda: stored_sessions(back.database), [])


def test_a_client_that_logs_out_leaves_the_list_and_can_be_linked_again(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    linked.bot.command("logout")
    sandbox.client.wait_for("unlinked", PATIENCE, phone=number, device=linked.device)
    assert devices(sandbox.client, number) == {}
    linked.bot.stop()
    assert stored_sessions(linked.bot.database) == []
    assert link(neonize(), sandbox.client, number).device == 2
    assert list(devices(sandbox.client, number)) == [2]


def test_a_second_process_on_a_session_replaces_the_first(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    first = link(neonize(), sandbox.client, number)
    second = neonize()
    log_in(second)
    first.bot.wait_for("StreamReplaced", PATIENCE)
    assert fortunes(first.bot) == ["Connected", "StreamReplaced"]
    assert fortunes(second) == ["Connected"]
    assert second.command("send_text", to=number.removeprefix("+"), text="still here")["id"]
    with pytest.raises(CommandError, match=r"websocket (not connected|disconnected)"):
        first.bot.command("send_text", to=number.removeprefix("+"), text="no longer")
    assert list(devices(sandbox.client, number)) == [1]
