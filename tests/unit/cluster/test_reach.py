"""Whether a shard alone cannot reach WhatsApp: when it takes none, and when it hands on its own."""

from __future__ import annotations

import pytest

from orchestrator.cluster.board import Condition
from orchestrator.cluster.deadlines import AWAY_SECONDS
from orchestrator.cluster.reach import Reach

LOST, TRYING, CONNECTED, RESTING = (
    Condition.LOST,
    Condition.TRYING,
    Condition.CONNECTED,
    Condition.RESTING,
)


def looked(*seen: tuple[float, Condition], others: bool = True) -> Reach:
    """Return what is known after an account was seen so at these times."""
    reach = Reach()
    for at, condition in seen:
        reach.look([condition, RESTING], others=others, now=at)
    return reach


def test_a_shard_that_alone_lost_whatsapp_takes_no_more_at_once_and_hands_on_after_a_minute() -> None:
    reach = looked((0.0, CONNECTED), (1.0, LOST))
    assert (reach.is_doubtful, reach.is_cut) == (True, False)
    reach.look([LOST], others=True, now=AWAY_SECONDS)
    assert not reach.is_cut
    reach.look([LOST], others=True, now=1.0 + AWAY_SECONDS)
    assert (reach.is_doubtful, reach.is_cut) == (True, True)


@pytest.mark.parametrize("condition", [CONNECTED, Condition.BUSY, Condition.CODE])
def test_one_account_that_reaches_whatsapp_is_enough(condition: Condition) -> None:
    reach = looked((0.0, LOST), (AWAY_SECONDS, LOST))
    assert reach.is_cut
    reach.look([LOST, condition], others=True, now=AWAY_SECONDS + 1)
    assert (reach.is_doubtful, reach.is_cut) == (False, False)


def test_nobody_is_in_doubt_while_no_other_shard_has_links() -> None:
    reach = looked((0.0, LOST), (10 * AWAY_SECONDS, LOST), others=False)
    assert (reach.is_doubtful, reach.is_cut) == (False, False)


def test_the_next_try_of_the_only_account_does_not_begin_the_minute_anew() -> None:
    reach = looked((0.0, LOST), (20.0, TRYING), (25.0, LOST), (50.0, TRYING))
    assert (reach.is_doubtful, reach.is_cut) == (True, False)
    reach.look([TRYING], others=True, now=AWAY_SECONDS)
    assert reach.is_cut


def test_accounts_that_start_for_the_first_time_say_nothing() -> None:
    reach = looked((0.0, TRYING), (2 * AWAY_SECONDS, TRYING))
    assert (reach.is_doubtful, reach.is_cut) == (False, False)


def test_a_shard_without_accounts_that_try_is_not_in_doubt() -> None:
    reach = looked((0.0, LOST), (10.0, RESTING))
    assert (reach.is_doubtful, reach.is_cut) == (False, False)


def test_a_shard_takes_accounts_again_once_whatsapp_was_reached_without_any() -> None:
    reach = looked((0.0, LOST), (AWAY_SECONDS, LOST))
    assert not reach.asks(AWAY_SECONDS + 1)
    assert reach.asks(3 * AWAY_SECONDS)
    reach.told(reached=True, now=3 * AWAY_SECONDS)
    assert (reach.is_doubtful, reach.is_cut) == (False, False)
