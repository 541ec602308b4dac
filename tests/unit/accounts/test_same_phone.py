"""Which accounts are linked to one phone: found as they come and go, however the number is written."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import phones, same_phone
from orchestrator.accounts.same_phone import Phones

NUMBERS = st.sampled_from(
    ["4915112345678", "4915112345679", "5531987654321", "553187654321", "5215512345678", "525512345678",
     "5491123456789", "541123456789"]
)  # fmt: skip
ACCOUNTS = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.tuples(ACCOUNTS, st.none() | NUMBERS)))
def test_who_shares_a_phone_is_known_after_every_step(steps: list[tuple[str, str | None]]) -> None:
    known, numbers = Phones(), dict[str, str]()
    company = {name: set[str]() for name in "abcd"}
    for name, number in steps:
        changed = known.set(name, number)
        numbers.pop(name, None)
        if number is not None:
            numbers[name] = number
        expected = {
            one: {
                other
                for other in numbers
                if other != one and one in numbers and phones.same(numbers[one], numbers[other])
            }
            for one in "abcd"
        }
        assert {one: set(known.others(one)) for one in "abcd"} == expected
        assert changed >= {one for one in "abcd" if expected[one] != company[one]}
        assert known.number(name) == number
        company = expected
        groups = same_phone.groups((one, numbers.get(one)) for one in "abcd")
        assert {frozenset(one) for one in groups} == {
            frozenset({one, *others}) for one, others in expected.items() if others
        }


@given(NUMBERS)
def test_nothing_changes_twice(number: str) -> None:
    known = Phones()
    assert known.set("a", number) == frozenset()
    assert known.set("b", number) == {"a", "b"}
    assert known.set("b", number) == frozenset()
    assert known.members(number) == ("a", "b")
    assert known.set("b", None) == {"a", "b"}
    assert known.members(number) == ("a",)
    assert known.set("b", None) == frozenset()


def test_two_spellings_are_one_phone() -> None:
    assert same_phone.groups([("a", "5531987654321"), ("b", None), ("c", "553187654321")]) == [("a", "c")]


def test_the_sentence_says_what_it_costs_and_what_to_do() -> None:
    assert same_phone.sentence(("sales", "support"), "+49…78") == (
        "sales and support are linked to one phone (+49…78): messages to it arrive in both, and both may"
        " answer; if that is not wanted, remove one: `orchestrator remove support`"
    )
    assert same_phone.finding([f"a{one}" for one in range(8)], None) == (
        "a0, a1, a2, a3, a4 and 3 more are linked to one phone"
    )


def test_the_order_is_that_of_the_configuration() -> None:
    assert same_phone.in_order("c", ["a", "gone"], ["a", "b", "c"]) == ("a", "c", "gone")
