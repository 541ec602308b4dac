"""A phone's chats as its owner sees them: what was said of a message is in the message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sandbox.server.chats import fold

ADA, BOB, TEAM = "+4915100001", "+4915100002", "120363000000000001@g.us"


def entry(
    id_: str, kind: str = "text", *, at: float = 1, by: str = BOB, chat: str = BOB, **more: object
) -> dict[str, Any]:
    return {"id": id_, "at": at, "from": by, "chat": chat, "kind": kind, **more}


def only(*received: dict[str, Any], sent: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    (message,) = fold(received, sent)
    return message


def test_messages_of_both_sides_stand_in_the_order_of_their_times() -> None:
    received = [entry("1", at=1), entry("3", at=3)]
    sent = [entry("2", at=2, by=ADA), entry("4", at=4, by=ADA)]
    assert [one["id"] for one in fold(received, sent)] == ["1", "2", "3", "4"]


def test_an_edit_changes_the_text_and_a_caption_and_says_how_often() -> None:
    text = only(
        entry("1", text="a"), entry("2", "edit", of="1", text="b"), entry("3", "edit", of="1", text="c")
    )
    assert (text["text"], text["edits"]) == ("c", 2)
    image = only(entry("1", "image", caption="a"), entry("2", "edit", of="1", text="b", mentions=[ADA]))
    assert (image["caption"], image["mentions"], "text" in image) == ("b", [ADA], False)


def test_the_last_reaction_of_each_counts_and_can_be_taken_back() -> None:
    first = [
        entry("1", text="a"),
        entry("2", "reaction", of="1", emoji="x"),
        entry("3", "reaction", of="1", emoji="y"),
    ]
    own = entry("4", "reaction", of="1", emoji="z", by=ADA)
    assert only(*first, sent=[own])["reactions"] == {BOB: "y", ADA: "z"}
    assert "reactions" not in only(*first, entry("5", "reaction", of="1", emoji=""))


def test_votes_are_counted_by_whoever_votes_and_unreadable_ones_are_not() -> None:
    poll = entry("1", "poll", chat=TEAM, question="?", options=["a", "b"])
    votes = [
        entry("2", "vote", chat=TEAM, of="1", options=["a"]),
        entry("3", "vote", chat=TEAM, of="1", options=["b"], by=ADA),
        entry("4", "vote", chat=TEAM, of="1", options=["a", "b"]),
        entry("5", "vote", chat=TEAM, of="1", error="unreadable", by="+4915100003"),
    ]
    assert only(poll, *votes)["votes"] == {BOB: ["a", "b"], ADA: ["b"]}
    assert only(poll, *votes, entry("6", "vote", chat=TEAM, of="1", options=[]))["votes"] == {ADA: ["b"]}


def test_nothing_is_left_of_a_message_that_was_deleted() -> None:
    message = only(
        entry("1", text="secret", quote={"id": "0"}, seq=7),
        entry("2", "reaction", of="1", emoji="x"),
        entry("3", "revoke", of="1"),
        entry("4", "edit", of="1", text="back"),
    )
    assert message == {**entry("1"), "deleted_by": BOB}


def test_a_message_is_pinned_until_it_is_unpinned() -> None:
    pinned = [entry("1", text="a"), entry("2", "pin", of="1", by=ADA)]
    assert only(*pinned)["pinned_by"] == ADA
    assert "pinned_by" not in only(*pinned, entry("3", "unpin", of="1"))


def test_what_names_a_message_of_another_chat_changes_nothing() -> None:
    message = entry("1", text="a")
    assert only(message, entry("2", "revoke", of="1", chat=TEAM)) == message


@given(st.permutations([entry("1", text="a"), entry("2", "edit", of="1", text="b"), entry("3", text="c")]))
def test_a_change_that_stands_before_its_message_counts_too(entries: list[Any]) -> None:
    assert {one["id"]: one["text"] for one in fold(entries, ())} == {"1": "b", "3": "c"}
