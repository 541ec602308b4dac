"""Tests the bot without WhatsApp and without the service: pytest test_order_bot.py"""

from order_bot import bot

from orchestrator.bots.testing import Tester


def test_the_bill_comes_as_a_file() -> None:
    handled = Tester(bot).message("bill")
    assert [one.kind for one in handled.did.sent] == ["document", "poll"]
    assert handled.did.sent[0].file == b"Two coffees: 7.00\n"


def test_only_the_place_is_left() -> None:
    handled = Tester(bot).message("Where are you?")
    assert [one.kind for one in handled.did.sent] == ["text", "location"]
    assert len(handled.did.revoked) == 1
