import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.server.faults import (
    HANG_PHASES,
    KINDS,
    Fault,
    FaultBook,
    FaultError,
    Param,
    Target,
    Who,
)

LASTING = sorted(name for name, kind in KINDS.items() if kind.lasting)
NOW = sorted(name for name, kind in KINDS.items() if kind.when == "now")
WAITING = sorted(KINDS.keys() - {*LASTING, *NOW})
PARAMS = [(name, key, param) for name, kind in KINDS.items() for key, param in kind.params.items()]
BOUNDS = [
    (name, key, param, getattr(param, end), outwards)
    for name, key, param in PARAMS
    for end, outwards in (("low", -1), ("high", 1))
    if getattr(param, end) is not None
]

DIGITS = st.from_regex(r"[1-9][0-9]{5,14}", fullmatch=True)
DEVICES = st.integers(1, 99)
WHOS = st.builds(
    Who,
    st.integers(1, 5),
    st.none() | st.sampled_from(["ada", "bob"]),
    st.booleans(),
    st.none() | st.sampled_from(["4915100001", "4915100002"]),
    st.none() | st.integers(1, 3),
)
TARGETS = st.one_of(
    st.just("all"),
    st.just("pairing"),
    DIGITS.map("+{}".format),
    st.builds("+{}:{}".format, DIGITS, DEVICES),
    st.integers(1, 10**9).map("connection:{}".format),
    st.text(min_size=1).map("proxy:{}".format),
)
STRANGER = Who(1)
CLIENT = Who(7, "ada", identified=True, number="4915100001", device=2)
UNPAIRED = Who(8, identified=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> FaultBook:
    return FaultBook(clock)


def needed(name: str) -> dict[str, Any]:
    """Return the least that a kind must be told."""
    return {key: int(param.low or 0) for key, param in KINDS[name].params.items() if param.required}


def make(book: FaultBook, name: str, **given: object) -> Fault:
    return book.make({"kind": name, **needed(name), **given})


def enter(book: FaultBook, name: str, **given: object) -> Fault:
    fault = make(book, name, **given)
    book.add(fault)
    return fault


# Targets


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("all", Target("all")),
        ("pairing", Target("pairing")),
        ("+4915100001", Target("number", "4915100001")),
        ("+4915100001:3", Target("device", "4915100001", 3)),
        ("connection:12", Target("connection", "12")),
        ("proxy:ada", Target("proxy", "ada")),
        ("proxy:a:b", Target("proxy", "a:b")),
    ],
)
def test_the_forms_of_a_target(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert str(target) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "al",
        "All",
        " all",
        "all:1",
        "pairing:1",
        "4915100001",
        "4915100001:3",
        "+",
        "+49 151",
        "+49x",
        "+-49",
        "+4915100001:x",
        "+4915100001:-1",
        "+4915100001:1:2",
        "connection",
        "connection:",
        "connection:x",
        "connection:-1",
        "connection:1:2",
        "proxy",
        "proxy:",
        "nonsense",
    ],
)
def test_what_is_no_target_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(FaultError, match="is none of: all, pairing") as caught:
        Target.parse(text)
    assert repr(text) in str(caught.value)


@settings(deadline=None)
@given(TARGETS)
def test_a_target_is_written_as_it_is_read(text: str) -> None:
    assert str(Target.parse(text)) == text


@settings(deadline=None)
@given(st.text() | st.text(alphabet="+:0123456789alconetipryxg"))
def test_any_text_is_a_target_or_a_fault_error(text: str) -> None:
    try:
        target = Target.parse(text)
    except FaultError:
        return
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    ("text", "meant", "others"),
    [
        ("all", [STRANGER, CLIENT, UNPAIRED], []),
        ("pairing", [UNPAIRED], [STRANGER, CLIENT]),
        ("+4915100001", [CLIENT], [STRANGER, UNPAIRED, Who(7, number="4915100002", device=2)]),
        ("+4915100001:2", [CLIENT], [STRANGER, Who(7, number="4915100001", device=1)]),
        ("connection:7", [CLIENT, Who(7)], [STRANGER, UNPAIRED, Who(77)]),
        ("proxy:ada", [CLIENT, Who(1, "ada")], [STRANGER, UNPAIRED, Who(1, "ad")]),
    ],
)
def test_whom_a_target_means(text: str, meant: list[Who], others: list[Who]) -> None:
    target = Target.parse(text)
    assert [who for who in (*meant, *others) if target.matches(who)] == meant


@settings(deadline=None)
@given(TARGETS, WHOS)
def test_whom_all_means_includes_whom_any_other_means(text: str, who: Who) -> None:
    assert Target.parse("all").matches(who) >= Target.parse(text).matches(who)


# What a kind can be told


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_can_be_made_with_the_least_it_needs(book: FaultBook, name: str) -> None:
    fault = make(book, name)
    assert (fault.kind, str(fault.target), fault.until, fault.struck) == (name, "all", None, 0)
    assert fault.times == (None if name in LASTING else 1)
    assert fault.params == {
        key: param.low if param.required else param.default for key, param in KINDS[name].params.items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_in_one_line_what_it_does(name: str) -> None:
    assert KINDS[name].about.strip() == KINDS[name].about != ""
    assert "\n" not in KINDS[name].about


@pytest.mark.parametrize(("name", "key", "param", "bound", "outwards"), BOUNDS)
def test_a_bound_is_allowed_and_what_is_beyond_is_not(
    book: FaultBook, name: str, key: str, param: Param, bound: float, outwards: int
) -> None:
    assert make(book, name, **{key: param.type(bound)}).params[key] == bound
    with pytest.raises(FaultError, match=rf"^{key} must be at (least|most) "):
        make(book, name, **{key: param.type(bound + outwards)})


@pytest.mark.parametrize(("name", "key", "param"), PARAMS)
def test_a_value_of_another_type_is_refused(book: FaultBook, name: str, key: str, param: Param) -> None:
    wrong: list[object] = [[], {}, {"a": 1}]
    if param.type is not str:
        wrong += ["1", ""]
    if param.type is not bool:
        wrong += [True, False]
    if param.type in (bool, str):
        wrong += [1, 1.5]
    if param.type is int:
        wrong.append(500.0)
    for value in wrong:
        with pytest.raises(FaultError, match=rf"^{key} must be "):
            make(book, name, **{key: value})


def test_a_whole_number_does_where_any_number_does(book: FaultBook) -> None:
    delay = make(book, "slow", delay=3).params["delay"]
    assert (delay, type(delay)) == (3.0, float)


@pytest.mark.parametrize(("name", "key", "param"), PARAMS)
def test_null_means_the_default(book: FaultBook, name: str, key: str, param: Param) -> None:
    if param.required:
        with pytest.raises(FaultError, match=rf"^{name} needs {key}$"):
            make(book, name, **{key: None})
    else:
        assert make(book, name, **{key: None}).params[key] == param.default


def test_a_choice_is_one_of_those_there_are(book: FaultBook) -> None:
    for phase in HANG_PHASES:
        assert make(book, "hang", phase=phase).params == {"phase": phase}
    with pytest.raises(
        FaultError, match=r"^phase must be one of connect, tls, upgrade, noise, success, not 'x'$"
    ):
        make(book, "hang", phase="x")


@pytest.mark.parametrize("to", ["+4915100001", "120363000000000001@g.us", "new"])
def test_a_receiver_is_a_number_a_group_or_whoever_is_new(book: FaultBook, to: str) -> None:
    assert make(book, "lost-ack", to=to).params["to"] == to


@pytest.mark.parametrize("to", ["", "4915100001", "+49 151", "+", "@g.us", "ada@g.us", "New", "all", "+1\n"])
def test_what_is_no_receiver_is_refused(book: FaultBook, to: str) -> None:
    with pytest.raises(FaultError, match=r"to must be \+NUMBER, the address of a group, or new, not "):
        make(book, "send-error", to=to)


def test_a_fault_strikes_messages_to_its_receiver_and_without_one_to_anybody(book: FaultBook) -> None:
    ada, stranger = "+4915100002".__eq__, ("+4915100003", "new").__contains__
    first = enter(book, "send-error", to="new")
    assert book.take("send-error", CLIENT, to=ada) is None
    anybody = enter(book, "send-error")
    assert book.take("send-error", CLIENT, to=ada) is anybody
    assert book.take("send-error", CLIENT, to=stranger) is first
    assert book.active() == []


def test_what_a_kind_does_not_know_is_refused_with_what_it_knows(book: FaultBook) -> None:
    with pytest.raises(
        FaultError, match=r"^hang does not take delay, x; it takes kind, target, times, seconds, phase$"
    ):
        make(book, "hang", delay=1, x=2)


@pytest.mark.parametrize("kind", ["", "nonsense", "Reset", None, 1, [], {}])
def test_an_unknown_kind_is_refused_with_those_there_are(book: FaultBook, kind: object) -> None:
    with pytest.raises(FaultError, match=r"^kind must be one of logged-out, ") as caught:
        book.make({"kind": kind})
    assert all(name in str(caught.value) for name in KINDS)


def test_a_fault_of_no_kind_is_refused(book: FaultBook) -> None:
    with pytest.raises(FaultError, match=r"^kind must be one of "):
        book.make({})


@pytest.mark.parametrize("target", [None, 1, [], {}])
def test_a_target_that_is_no_text_is_refused(book: FaultBook, target: object) -> None:
    with pytest.raises(FaultError, match=r"^target must be text, not "):
        make(book, "reset", target=target)


@pytest.mark.parametrize("times", [0, -1, 10**6 + 1, 1.5, "1", True])
def test_impossible_times_are_refused(book: FaultBook, times: object) -> None:
    with pytest.raises(FaultError, match=r"^times must be "):
        make(book, "passkey", times=times)


@pytest.mark.parametrize("seconds", [-0.1, 10**7 + 1, 10**400, math.inf, math.nan, "1", True])
def test_impossible_seconds_are_refused(book: FaultBook, seconds: object) -> None:
    with pytest.raises(FaultError, match=r"^seconds must be "):
        make(book, "passkey", seconds=seconds)


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_fault_takes_seconds_but_no_times(book: FaultBook, name: str) -> None:
    assert make(book, name, seconds=5).until == 1005
    with pytest.raises(FaultError, match=rf"^{name} holds until it is cleared .* no times$"):
        make(book, name, times=2)


@pytest.mark.parametrize("name", NOW)
@pytest.mark.parametrize("given", [{"times": 2}, {"times": None}, {"seconds": 5}, {"seconds": 0}])
def test_a_fault_that_strikes_now_takes_neither(book: FaultBook, name: str, given: dict[str, object]) -> None:
    assert make(book, name, times=1, seconds=None).times == 1
    with pytest.raises(FaultError, match=rf"^{name} strikes at once and once"):
        make(book, name, **given)


@pytest.mark.parametrize("name", WAITING)
def test_a_fault_that_lies_in_wait_takes_both(book: FaultBook, name: str) -> None:
    fault = make(book, name, times=3, seconds=2.5)
    assert (fault.times, fault.until) == (3, 1002.5)
    assert make(book, name, seconds=2.5).times is None
    assert make(book, name, times=None).times is None


@pytest.mark.parametrize("name", ["refuse", "http", "slow-connect"])
@pytest.mark.parametrize("target", ["pairing", "+4915100001", "+4915100001:1"])
def test_who_a_client_is_cannot_be_known_before_it_says_so(book: FaultBook, name: str, target: str) -> None:
    with pytest.raises(FaultError, match=rf"^{name} strikes before the client has said who it is"):
        make(book, name, target=target)
    for early in ("all", "proxy:ada", "connection:3"):
        assert str(make(book, name, target=early).target) == early


@pytest.mark.parametrize("phase", HANG_PHASES)
def test_a_hang_after_the_handshake_can_mean_a_number(book: FaultBook, phase: str) -> None:
    if phase == "success":
        assert str(make(book, "hang", phase=phase, target="+4915100001").target) == "+4915100001"
    else:
        with pytest.raises(FaultError, match=r"^hang strikes before"):
            make(book, "hang", phase=phase, target="+4915100001")


@pytest.mark.parametrize("target", ["+4915100001", "+4915100001:1"])
def test_a_client_that_is_being_linked_has_no_number(book: FaultBook, target: str) -> None:
    for name in ("short-qr", "passkey"):
        with pytest.raises(FaultError, match=rf"^{name} strikes clients that have no number yet"):
            make(book, name, target=target)
        assert str(make(book, name, target="pairing").target) == "pairing"
    assert str(make(book, "tamper", target=target).target) == target  # the phone that scans has one


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize("target", ["+4915100001", "+4915100001:1", "pairing", "connection:1", "proxy:ada"])
def test_nobody_says_whose_an_upload_is(book: FaultBook, target: str) -> None:
    with pytest.raises(FaultError, match="of which nobody says whose they are; use all"):
        make(book, "upload-error", target=target)


KEYS = sorted({"target", "times", "seconds", *(key for _, key, _ in PARAMS)})


@settings(deadline=None)
@given(
    st.sampled_from(sorted(KINDS)) | JSON,
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), JSON, max_size=4),
)
def test_any_request_makes_a_sound_fault_or_a_fault_error(kind: object, given: Mapping[str, object]) -> None:
    book = FaultBook(Clock())
    try:
        fault = book.make({"kind": kind, **given})
    except FaultError:
        return
    assert fault.params.keys() == KINDS[fault.kind].params.keys()
    assert fault.times is None or fault.times >= 1
    assert fault.until is None or fault.until >= 1000
    assert book.active() == []


# The book


def test_faults_are_numbered_even_those_that_are_not_entered(book: FaultBook) -> None:
    assert [make(book, "reset").id, enter(book, "http").id, make(book, "close").id] == [1, 2, 3]
    assert [fault.id for fault in book.active()] == [2]


def test_a_fault_strikes_whom_it_means_once(book: FaultBook) -> None:
    fault = enter(book, "failure", target="+4915100001")
    assert book.take("failure", UNPAIRED) is None
    assert book.take("http", CLIENT) is None
    assert book.take("failure", CLIENT) is fault
    assert fault.struck == 1
    assert book.take("failure", CLIENT) is None
    assert book.active() == []


def test_looking_for_a_fault_does_not_use_it_up(book: FaultBook) -> None:
    fault = enter(book, "passkey")
    assert book.find("passkey", UNPAIRED) is book.find("passkey", UNPAIRED) is fault
    assert (fault.struck, fault.times) == (0, 1)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 30))
def test_a_fault_strikes_as_often_as_it_was_told(times: int, tries: int) -> None:
    book = FaultBook(Clock())
    fault = enter(book, "http", times=times)
    struck = [book.take("http", Who(number)) for number in range(1, tries + 1)]
    assert struck == ([fault] * times + [None] * tries)[:tries]
    assert fault.struck == min(times, tries)
    assert (fault in book.active()) == (tries < times)


def test_without_an_end_a_fault_strikes_for_ever(book: FaultBook) -> None:
    fault = enter(book, "send-error", times=None)
    assert all(book.take("send-error", CLIENT) is fault for _ in range(100))
    assert (fault.struck, fault.times) == (100, None)


def test_a_fault_that_lasts_counts_each_connection_once(book: FaultBook, clock: Clock) -> None:
    fault = enter(book, "slow", seconds=10)
    assert [book.hold("slow", who) for who in (CLIENT, CLIENT, UNPAIRED, CLIENT)] == [fault] * 4
    assert book.hold("blackhole", CLIENT) is None
    assert (fault.struck, fault.times) == (2, None)
    clock.now += 10
    assert book.hold("slow", STRANGER) is None
    assert fault.struck == 2


def test_the_oldest_of_those_that_match_comes_first(book: FaultBook) -> None:
    other = enter(book, "failure", target="+4915100002", reason=403)
    first = enter(book, "failure", target="+4915100001", reason=402)
    second = enter(book, "failure", reason=503)
    assert [book.take("failure", CLIENT) for _ in range(3)] == [first, second, None]
    assert book.active() == [other]


def test_a_place_is_only_struck_by_a_fault_for_this_place(book: FaultBook) -> None:
    tls = enter(book, "hang", phase="tls")
    success = enter(book, "hang")
    assert book.take("hang", CLIENT, phase="upgrade") is None
    assert book.take("hang", CLIENT, phase="success") is success
    assert book.take("hang", STRANGER, phase="tls") is tls


def test_a_fault_is_over_when_its_time_is_up(book: FaultBook, clock: Clock) -> None:
    fault = enter(book, "blackhole", seconds=10)
    clock.now += 9.999
    assert book.find("blackhole", CLIENT) is fault
    clock.now += 0.001
    assert book.find("blackhole", CLIENT) is None
    assert book.active() == []
    assert book.clear(fault.id) == []


def test_a_fault_for_no_time_never_strikes(book: FaultBook) -> None:
    enter(book, "http", seconds=0)
    assert book.take("http", STRANGER) is None


def test_one_fault_or_all_can_be_cleared(book: FaultBook) -> None:
    first, second, third = (enter(book, "passkey") for _ in range(3))
    assert book.clear(second.id) == [second]
    assert book.clear(second.id) == []
    assert book.clear(99) == []
    assert book.active() == [first, third]
    assert book.clear() == [first, third]
    assert book.clear() == book.active() == []


def test_what_others_see_of_a_fault(book: FaultBook, clock: Clock) -> None:
    fault = enter(book, "failure", target="proxy:ada", times=2, seconds=60, reason=402, expire=120)
    clock.now += 0.5
    book.take("failure", CLIENT)
    assert fault.public(clock.now) == {
        "id": 1,
        "kind": "failure",
        "target": "proxy:ada",
        "reason": 402,
        "code": None,
        "expire": 120,
        "message": None,
        "times": 1,
        "seconds_left": 59.5,
        "struck": 1,
    }
    assert fault.public(clock.now + 1000)["seconds_left"] == 0
    assert make(book, "reset").public(clock.now)["seconds_left"] is None


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("enter"), st.sampled_from([None, 1, 2]), st.sampled_from([None, 1.0, 5.0])),
            st.tuples(st.just("take"), WHOS),
            st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 3.0])),
            st.tuples(st.just("clear"), st.integers(1, 5)),
        ),
        max_size=30,
    )
)
def test_whatever_happens_the_book_holds_what_a_plain_list_would(steps: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    book = FaultBook(clock)
    model: list[dict[str, Any]] = []
    for step, *details in steps:
        match step:
            case "enter":
                times, seconds = details
                fault = enter(book, "http", times=times, seconds=seconds)
                end = None if seconds is None else clock.now + seconds
                model.append({"id": fault.id, "times": times, "end": end})
            case "take":
                taken = book.take("http", details[0])
                expected = model[0] if model else None
                assert (taken and taken.id) == (expected and expected["id"])
                if expected and expected["times"] is not None:
                    expected["times"] -= 1
            case "wait":
                clock.now += details[0]
            case "clear":
                book.clear(details[0])
                model = [entry for entry in model if entry["id"] != details[0]]
        model = [
            entry
            for entry in model
            if entry["times"] != 0 and (entry["end"] is None or entry["end"] > clock.now)
        ]
        assert [fault.id for fault in book.active()] == [entry["id"] for entry in model]
