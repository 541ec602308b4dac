"""Which keys a reload names: all that have changed, never a value, and never too many of them."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import changes
from orchestrator.accounts.settings import AccountSettings, Backoff, Messages, Sending

A = AccountSettings("a")
NESTED = {
    "proxy": "socks5://user:s3cret@proxy:1080",
    "phone": "4915112345678",
    "tags": ("vip",),
    "backoff": Backoff(base=5.0),
    "messages": Messages(allow=("4915112345679",)),
    "sending": Sending(pacing="off", typing=False),
}
KEYS = {
    "backoff": ("backoff.base",),
    "messages": ("messages.allow",),
    "sending": ("sending.pacing", "sending.typing"),
}
CHANGED = st.sets(st.sampled_from(sorted(NESTED)))


@given(CHANGED)
def test_exactly_the_changed_keys_are_named(changed: set[str]) -> None:
    values: dict[str, Any] = {key: NESTED[key] for key in changed}
    found = changes.keys(A, replace(A, **values))
    assert sorted(found) == sorted(key for one in changed for key in KEYS.get(one, (one,)))
    assert changes.keys(replace(A, **values), A) == found


@given(st.lists(CHANGED, max_size=60), st.integers(0, 30), st.integers(0, 30))
def test_what_is_said_has_no_value_and_is_bounded(every: list[set[str]], added: int, removed: int) -> None:
    before = {f"a{number}": AccountSettings(f"a{number}") for number in range(len(every))}
    after = {
        name: replace(one, **{key: NESTED[key] for key in changed})  # type: ignore[arg-type]
        for (name, one), changed in zip(before.items(), every, strict=True)
    }
    found = changes.of_accounts(before, after)
    assert found.keys() == {name for name, changed in zip(before, every, strict=True) if changed}
    before |= {f"r{one}": A for one in range(removed)}
    after |= {f"n{one}": A for one in range(added)}
    said = changes.sentences(("start_parallel",), before, after)
    text = "; ".join(said)
    assert not any(secret in text for secret in ("s3cret", "proxy:1080", "49151", "vip"))
    assert len(said) <= changes.MOST_GROUPS + 4
    assert bool(added) == ("added: " in text)
    assert bool(removed) == ("removed: " in text)


def test_accounts_with_the_same_changes_are_told_in_one() -> None:
    many, gone = {f"a{one}": A for one in range(12)}, {f"r{one}": A for one in range(7)}
    after = {"support": replace(A, proxy="socks5://new:1080", tags=("vip",)), "x": A}
    after |= {name: replace(A, backoff=Backoff(base=5.0)) for name in many}
    assert changes.sentences((), {"support": A, **many, **gone}, after) == [
        "support: proxy, tags",
        "12 accounts: backoff.base",
        "added: x",
        "removed: r0, r1, r2, r3, r4 and 2 more",
    ]
    assert changes.sentences((), gone, gone) == []
    assert changes.sentences(("start_parallel",), gone, gone) == ["the service: start_parallel"]
