import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sandbox.wire.binxml import Codec
from orchestrator.sandbox.wire.jid import GROUP, JID, LID, PN
from orchestrator.sandbox.wire.node import Node, NodeError
from orchestrator.sandbox.wire.tokens import Tokens, load_tokens

TOKENS = load_tokens()
TREE = Node(
    "iq",
    {"id": "1", "from": JID("1", LID), "to": "2:3@lid", "bad": "2:x@lid"},
    [
        Node("list", {}, [Node("user", {"jid": JID("3", LID)}), Node("user")]),
        Node("list", {}, [Node("key", {}, b"\x01\x02\x03")]),
        Node("skey", {}, [Node("id", {}, b"123"), Node("value", {}, b"")]),
    ],
)

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20)
DIGITS = st.from_regex(r"[0-9]{1,15}", fullmatch=True)
ADDRESSES = (
    st.builds(JID, DIGITS, st.sampled_from([PN, LID]), st.integers(0, 255))
    | st.builds(JID, DIGITS, st.just(GROUP))
    | st.just(JID(""))
)
ATTRIBUTES = st.dictionaries(TEXTS | st.sampled_from(["id", "type", "to"]), TEXTS | ADDRESSES, max_size=4)
NODES = st.recursive(
    st.builds(Node, TEXTS, ATTRIBUTES, st.none() | st.binary(max_size=300)),
    lambda children: st.builds(Node, TEXTS, ATTRIBUTES, st.lists(children, min_size=1, max_size=4)),
    max_leaves=12,
)


@given(NODES, st.booleans())
def test_what_is_written_reads_as_the_same_stanza(node: Node, with_tokens: bool) -> None:
    codec = Codec(TOKENS if with_tokens else Tokens.none())
    assert codec.decode(codec.encode(node)) == node


def test_content_is_elements_or_bytes_or_nothing() -> None:
    leaf = Node("a")
    assert (Node("x").children, Node("x").data) == ((), b"")
    assert (Node("x", {}, b"data").children, Node("x", {}, b"data").data) == ((), b"data")
    assert (Node("x", {}, [leaf]).children, Node("x", {}, [leaf]).data) == ([leaf], b"")


def test_find_takes_the_first_along_the_way() -> None:
    assert TREE.find() is TREE
    assert TREE.find("list", "user") == Node("user", {"jid": JID("3", LID)})
    assert TREE.find("skey", "id") == Node("id", {}, b"123")
    assert TREE.find("list", "key") is None  # the second list has it, but the first one is taken
    assert TREE.find("list", "user", "jid") is None
    assert Node("x", {}, b"data").find("a") is None


def test_need_names_what_is_missing() -> None:
    assert TREE.need("skey", "id").data == b"123"
    with pytest.raises(NodeError, match=r"^<iq> has no <skey/signature>$"):
        TREE.need("skey", "signature")


def test_all_yields_children_only() -> None:
    assert [len(part.children) for part in TREE.all("list")] == [2, 1]
    assert list(TREE.all("user")) == []


def test_text_writes_addresses_too() -> None:
    assert TREE.text("id") == "1"
    assert TREE.text("from") == "1@lid"
    assert TREE.text("none") == ""
    assert TREE.text("none", "0") == "0"


def test_an_address_may_be_a_value_or_text() -> None:
    assert TREE.jid("from") == JID("1", LID)
    assert TREE.jid("to") == JID("2", LID, 3)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("none", "<iq> has no address 'none'"), ("bad", "<iq bad>: the device of '2:x@lid' is no number")],
)
def test_an_address_that_is_none_is_named(name: str, complaint: str) -> None:
    with pytest.raises(NodeError, match=complaint):
        TREE.jid(name)


def test_data_of_a_wanted_size() -> None:
    assert TREE.need_data("skey", "id") == TREE.need_data("skey", "id", size=3) == b"123"
    with pytest.raises(NodeError, match=r"^<iq/skey/id> holds 3 bytes, not 32 bytes$"):
        TREE.need_data("skey", "id", size=32)
    with pytest.raises(NodeError, match=r"^<iq/skey/value> holds 0 bytes, not bytes$"):
        TREE.need_data("skey", "value")
    with pytest.raises(NodeError, match="has no <skey/signature>"):
        TREE.need_data("skey", "signature", size=64)
