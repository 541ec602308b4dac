"""What the library hands over that only the account's own phone can have done."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.worker import events
from orchestrator.worker.library import phone_signs
from orchestrator.worker.library.phone_signs import PhoneSigns

NOW = 1_800_000_000.0


def source(device: int = 0, *, from_me: bool = True) -> SimpleNamespace:
    return SimpleNamespace(IsFromMe=from_me, Sender=SimpleNamespace(Device=device))


@pytest.mark.parametrize(
    ("device", "from_me", "is_sign"),
    [(0, True, True), (3, True, False), (0, False, False), (3, False, False)],
)
def test_only_the_phone_itself_gives_signs(device: int, from_me: bool, is_sign: bool) -> None:
    where = source(device, from_me=from_me)
    message = SimpleNamespace(Info=SimpleNamespace(MessageSource=where, Timestamp=int(NOW * 1000)))
    receipt = SimpleNamespace(MessageSource=where, Timestamp=int(NOW))
    wanted = NOW if is_sign else None
    found = [phone_signs.of("message", message), phone_signs.of("undecryptable", message)]
    assert [*found, phone_signs.of("receipt", receipt)] == 3 * [wanted]
    receipt.Timestamp *= 1000
    assert phone_signs.of("receipt", receipt) == wanted
    assert phone_signs.of("call", receipt) is None


def test_signs_are_told_now_and_then() -> None:
    clock = [NOW]
    signs = PhoneSigns(lambda: clock[0])
    assert signs.heard(None) is None
    assert signs.heard(NOW - 1000) == events.PhoneSeen(NOW - 1000)
    assert signs.heard(NOW - 999) is None
    assert signs.heard(NOW - 2000) is None
    assert signs.heard(NOW) == events.PhoneSeen(NOW)
    assert signs.heard(NOW + 10_000) is None
    clock[0] += 299
    assert signs.heard(NOW + 10_000) is None
    clock[0] += 1
    assert signs.heard(NOW + 10_000) == events.PhoneSeen(NOW + 300)


@pytest.mark.parametrize("at", [float("nan"), float("-inf"), -1.0, 0.0, 1.0])
def test_times_that_are_none_are_no_signs(at: float) -> None:
    assert PhoneSigns(lambda: NOW).heard(at) is None
