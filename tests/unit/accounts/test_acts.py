"""Parts of what clients may ask of an account: what is right, and errors that never quote what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import acts
from orchestrator.accounts.acts import BadAct, check_chat, check_text

EMOJI = [
    "\N{THUMBS UP SIGN}",
    "\N{HEAVY BLACK HEART}\ufe0f",
    "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}",
    "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}",
    "\N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}",
    "1\ufe0f\u20e3",
    "#\ufe0f\u20e3",
    "\N{INFORMATION SOURCE}\ufe0f",
    "\N{DOUBLE EXCLAMATION MARK}",
    "\N{WAVING BLACK FLAG}\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]


@given(st.from_regex(acts.CHAT, fullmatch=True))
def test_an_address_is_taken_as_it_is(chat: str) -> None:
    assert check_chat(chat) == chat


def test_a_number_becomes_an_address() -> None:
    assert check_chat("+49 151 0000002") == "491510000002@s.whatsapp.net"


@pytest.mark.parametrize(
    "chat",
    [
        *(None, 1, True, [], {}, "", "needle", "needle@lid", "12345@needle", "12345@lid\n", " 12345@lid"),
        *("4915100002", "12345:7@lid", "status@broadcast", "120363@newsletter", "+needle", "+49needle"),
        *("1234@lid", f"{'1' * 21}@lid", "12345-67890@lid", "\u0661\u0662\u0663\u0664\u0665@lid"),
    ],
)
def test_what_is_no_chat_is_refused_and_not_quoted(chat: object) -> None:
    with pytest.raises(BadAct, match=r"^to\b") as caught:
        check_chat(chat, "to")
    assert "needle" not in str(caught.value)
    is_number = isinstance(chat, str) and "@" not in chat and any(one in "+4" for one in chat)
    assert caught.value.key == ("bad_number" if is_number else "bad_request")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200).filter(str.strip))
def test_a_text_is_taken_as_it_is(text: str) -> None:
    assert check_text(text) == text


@pytest.mark.parametrize("text", ["", " \n\t", "needle" * 1000, "needle \ud800"])
def test_what_is_no_text_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(BadAct) as caught:
        check_text(text)
    assert ("needle" in str(caught.value), caught.value.key) == (False, "bad_text")


@pytest.mark.parametrize("emoji", EMOJI)
def test_emoji(emoji: str) -> None:
    assert acts.is_emoji(emoji)
    assert not acts.is_emoji(emoji + "x")


@pytest.mark.parametrize(
    "text", ["", "x", "1", "#", " ", "\ufe0f", "\u200d", "\u0301", "\u00b4", "\u00e9", "\u00d7", "\u2603\n"]
)
def test_no_emoji(text: str) -> None:
    assert not acts.is_emoji(text)


def test_every_emoji_of_unicode_is_one() -> None:
    pictures = [
        *"\u2194\u2199\u231a\u23e9\u25aa\u25b6\u25fe\u2600\u260e\u2614\u2702\u2764\u2795\u27a1\u2934\u2b05\u2b1b"
    ]
    pictures += [chr(number) for number in (*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6D3))]
    assert [one for one in pictures if not acts.is_emoji(one)] == []
