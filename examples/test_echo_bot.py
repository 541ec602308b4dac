"""Tests the bot without WhatsApp and without the service: pytest test_echo_bot.py"""

from echo_bot import bot

from orchestrator.bots.testing import Tester


def test_a_text_is_answered() -> None:
    assert Tester(bot).message("Hello").replies == ["You said Hello"]


def test_a_picture_is_not() -> None:
    assert Tester(bot).message(kind="image").result == "ignored"
