"""The course of a run: every end it can come to, its deadlines, and what holds for all that can happen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.accounts import pipe
from orchestrator.accounts.acts import Activity, Fate
from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.sending.asks import Typing
from orchestrator.worker import actions, events
from orchestrator.worker.actions import Rest, Step
from orchestrator.worker.deadlines import (
    CALLBACK_SECONDS,
    CLOSE_SECONDS,
    CODE_GRACE,
    DIAL_SECONDS,
    FINISH_SECONDS,
    LINK_CODE_SECONDS,
    LOST_SECONDS,
    ROUND_GRACE,
    ROUND_SECONDS,
    SETTLE_SECONDS,
    UNLINK_SECONDS,
)
from orchestrator.worker.loop import HEARTBEAT_SECONDS
from orchestrator.worker.machine import Course, Phase

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with other tests."""
NUMBER = "4915100001"
OTHER = "4915100002"
HELLO = Typing(f"{OTHER}@s.whatsapp.net", Activity.TYPING)
QR = "https://wa.me/settings/linked_devices#2@secret"
GOODBYE = events.SocketLost(orderly=True, error="received close frame: status = StatusNormalClosure")
RESET = events.SocketLost(orderly=False, error="connection reset by peer")

FRESH = events.Loaded(paired=False)
STORED = events.Loaded(paired=True, phone=NUMBER)
LINKED = (FRESH, events.Qr(QR), events.LoginLine("success"), events.PairStatus(NUMBER))
ONLINE = (STORED, events.Connected(NUMBER))


class Run:
    """A course with a clock, and all it wanted done."""

    def __init__(
        self,
        past: Iterable[events.Event] = (),
        *,
        phone: str | None = None,
        pairing: Literal["qr", "code"] = "qr",
    ) -> None:
        self.course = Course(phone=phone, pairing=pairing)
        self.now = 1000.0
        self.steps: list[Step] = []
        self.feed(*past)

    def feed(self, *observed: events.Event) -> list[Step]:
        new = [step for event in observed for step in self.course.feed(event, self.now)]
        self.steps += new
        return new

    def wait(self, seconds: float) -> list[Step]:
        """Let time pass, and tick whenever it is due."""
        until, new = self.now + seconds, []
        for _ in range(10):
            if self.course.due is None or self.course.due > until:
                break
            self.now = max(self.now, self.course.due)
            new += self.course.tick(self.now)
        else:
            raise AssertionError("a deadline that does not pass")
        self.now = until
        self.steps += new
        return new

    @property
    def outcome(self) -> Outcome | None:
        found = [step.outcome for step in self.steps if isinstance(step, actions.End)]
        assert len(found) <= 1
        return found[0] if found else None

    @property
    def kind(self) -> Kind | None:
        return self.outcome.kind if self.outcome else None

    @property
    def said(self) -> list[pipe.FromChild]:
        return [step.message for step in self.steps if isinstance(step, actions.Say)]


def settled(*past: events.Event, phone: str | None = None) -> Outcome:
    """Return the outcome that comes at once or when the dust has settled."""
    run = Run(past, phone=phone)
    run.wait(SETTLE_SECONDS)
    assert run.outcome is not None
    return run.outcome


# Good courses


def test_a_device_is_linked_and_goes_online() -> None:
    run = Run()
    assert run.feed(FRESH) == [actions.Say(pipe.Connecting(paired=False)), actions.Dial()]
    assert run.feed(events.Qr(QR)) == [actions.ShowQr(QR, 60.0)]
    run.wait(60)
    assert run.feed(events.Qr(f"{QR}2")) == [actions.ShowQr(f"{QR}2", 20.0)]
    assert run.feed(events.LoginLine("success")) == []
    assert run.feed(events.PairStatus(NUMBER)) == [actions.Say(pipe.Paired(NUMBER))]
    assert run.feed(events.Connected(NUMBER)) == [actions.Say(pipe.Connected(NUMBER))]
    assert run.course.due is None
    assert run.wait(10**6) == []


def test_a_stored_session_goes_online() -> None:
    run = Run(ONLINE)
    assert run.said == [pipe.Connecting(paired=True), pipe.Connected(NUMBER)]


def test_the_link_comes_and_goes() -> None:
    run = Run(ONLINE)
    lost = run.feed(events.Disconnected())
    assert [type(step.message) for step in lost if isinstance(step, actions.Say)] == [pipe.LinkLost]
    run.wait(LOST_SECONDS - 1)
    assert run.feed(events.Connected(NUMBER)) == [actions.Say(pipe.Connected(NUMBER))]
    assert run.wait(10**6) == []


def test_silence_is_a_lost_link_and_its_end_a_found_one() -> None:
    run = Run(ONLINE)
    assert len(run.feed(events.KeepAliveTimeout(), events.KeepAliveTimeout())) == 1
    assert run.feed(events.KeepAliveRestored()) == [actions.Say(pipe.Connected(NUMBER))]


def test_an_answered_ping_does_not_mend_a_connection_that_broke() -> None:
    run = Run(ONLINE)
    run.feed(events.KeepAliveTimeout(), events.Disconnected())
    assert run.feed(events.KeepAliveRestored()) == []
    assert run.course.phase is Phase.LOST


def test_a_library_that_is_not_logged_in_is_a_lost_link() -> None:
    run = Run(ONLINE)
    assert run.feed(events.Checked(False), events.Checked(True), events.Checked(False)) == []
    assert len(run.feed(events.Checked(False))) == 1
    assert run.course.phase is Phase.LOST


def beats(run: Run, *callbacks: int | None) -> list[Step]:
    """Let heartbeats pass, at each of which this call of the library's has not returned."""
    new: list[Step] = []
    for callback in callbacks:
        new += run.wait(HEARTBEAT_SECONDS) + run.feed(events.Checked(True, callback))
    return new


SOME = int(CALLBACK_SECONDS / HEARTBEAT_SECONDS)
"""Heartbeats that may find a callback running."""


@pytest.mark.parametrize("past", [(FRESH, events.Qr(QR)), ONLINE], ids=["codes", "online"])
def test_a_callback_that_never_returns_ends_the_run(past: tuple[events.Event, ...]) -> None:
    run = Run(past)
    assert beats(run, None, *[7] * SOME) == []
    *_, save, end = beats(run, 7)
    assert save == actions.SaveTraceback()
    assert isinstance(end, actions.End)
    assert run.outcome == Outcome(Kind.CRASH, "a callback of neonize has not returned for 30 s")


@pytest.mark.parametrize("before", [ONLINE, (STORED,), (FRESH, events.Qr(QR))])
def test_a_full_disk_ends_the_run(before: tuple[events.Event, ...]) -> None:
    run = Run(before)
    run.feed(events.DiskFull())
    assert run.outcome == Outcome(Kind.MACHINE, "the disk is full: make room")


def test_callbacks_that_are_slow_do_no_harm() -> None:
    run = Run(ONLINE)
    for number in range(20):
        assert beats(run, *[number] * SOME) == []
    assert beats(run, *[99] * SOME, None, *[99] * SOME) == []


def test_a_process_that_was_held_up_has_not_waited_for_its_callbacks() -> None:
    run = Run(ONLINE)
    beats(run, 7)
    run.wait(3600)
    assert beats(run, 7) == []


def test_a_log_in_that_does_not_come_is_looked_into() -> None:
    run = Run([STORED])
    assert run.wait(DIAL_SECONDS)[:-1] == [actions.SaveTraceback()]
    run = Run([STORED, events.RefusalLogged(409)])
    assert actions.SaveTraceback() not in run.wait(DIAL_SECONDS)


def test_connected_twice_is_said_once() -> None:
    run = Run(ONLINE)
    assert run.feed(events.Connected(NUMBER)) == []


def test_a_device_is_linked_by_code() -> None:
    run = Run([FRESH], phone=NUMBER, pairing="code")
    assert run.feed(events.Qr(QR)) == [actions.AskLinkCode(NUMBER)]
    run.wait(2)
    assert run.feed(events.LinkCodeIssued("ABCD-EFGH")) == [
        actions.ShowLinkCode("ABCD-EFGH", ROUND_SECONDS - 2)
    ]
    run.wait(58)
    assert run.feed(events.Qr(QR)) == []
    assert run.feed(events.LoginLine("success"), events.PairStatus(NUMBER)) != []


# Ends


@pytest.mark.parametrize(
    ("event", "kind", "code"),
    [
        (events.LoggedOut(401), Kind.LOGGED_OUT, 401),
        (events.LoggedOut(403), Kind.LOCKED, 403),
        (events.LoggedOut(406), Kind.LOCKED, 406),
        (events.LoggedOut(None), Kind.LOGGED_OUT, None),
        (events.StreamReplaced(), Kind.REPLACED, None),
        (events.TemporaryBan(101, 60.0), Kind.TEMPORARY_BAN, 101),
        (events.ClientOutdated(), Kind.OUTDATED, 405),
        (events.ConnectFailure(400), Kind.REFUSED, 400),
        (events.ConnectFailure(409), Kind.REFUSED, 409),
        (events.ConnectFailure(501), Kind.REFUSED, 501),
        (events.ConnectFailure(None), Kind.REFUSED, None),
        (events.ConnectFailure(405), Kind.OUTDATED, 405),
        (events.ConnectEnded(None), Kind.CRASH, None),
        (events.ConnectEnded("x", known=False), Kind.CRASH, None),
        (events.ConnectEnded("Bad Gateway"), Kind.NETWORK, None),
    ],
)
@pytest.mark.parametrize(
    "past",
    [(STORED,), ONLINE, (*ONLINE, events.Disconnected()), (*LINKED,)],
    ids=["dialling", "online", "lost", "linked"],
)
def test_the_last_sign_decides(
    past: tuple[events.Event, ...], event: events.Event, kind: Kind, code: int | None
) -> None:
    run = Run([*past, event])
    assert run.outcome is not None
    assert (run.outcome.kind, run.outcome.code) == (kind, code)
    assert run.course.due is None


@pytest.mark.parametrize(("reason", "kind"), [(401, Kind.LOGGED_OUT), (403, Kind.LOCKED), (406, Kind.LOCKED)])
@pytest.mark.parametrize(
    "past",
    [(STORED,), ONLINE, (*ONLINE, events.Disconnected()), (*LINKED,)],
    ids=["dialling", "online", "lost", "linked"],
)
def test_a_session_that_the_library_has_deleted_is_over_though_no_event_tells_of_it(
    past: tuple[events.Event, ...], reason: int, kind: Kind
) -> None:
    told = settled(*past, events.LoggedOut(reason))
    assert settled(*past, events.RefusalLogged(reason, deleted=True)) == told
    assert (told.kind, told.code) == (kind, reason)
    # A stop that comes before the dust has settled does not hide it.
    stopped = Run([*past, events.RefusalLogged(reason, deleted=True), events.StopAsked()]).outcome
    assert stopped == told
    # Nothing is deleted where there was nothing.
    assert settled(FRESH, events.RefusalLogged(reason, deleted=True)).kind is Kind.REFUSED


@pytest.mark.parametrize("reason", [500, 503])
def test_what_the_library_retries_is_no_end(reason: int) -> None:
    run = Run([STORED, events.RefusalLogged(reason), events.ConnectFailure(reason), events.Disconnected()])
    assert run.outcome is None
    run.wait(DIAL_SECONDS)
    assert run.kind is Kind.NETWORK


@pytest.mark.parametrize("what", ["ConnectFailure.Reason", "LoggedOut.Reason", "TemporaryBan.Code"])
@pytest.mark.parametrize("first", ["log", "error"])
@pytest.mark.parametrize(
    ("logged", "kind", "code", "expire"),
    [
        (events.RefusalLogged(418), Kind.REFUSED, 418, None),
        (events.RefusalLogged(402, 999, 60.0), Kind.TEMPORARY_BAN, 999, 60.0),
        (None, Kind.REFUSED, None, None),
    ],
)
def test_a_number_without_a_name_comes_from_the_log(
    what: str,
    first: str,
    logged: events.RefusalLogged | None,
    kind: Kind,
    code: int | None,
    expire: float | None,
) -> None:
    error = events.ConnectEnded(f"proto: required field neonize.{what} not set")
    order = [error] if logged is None else [logged, error] if first == "log" else [error, logged]
    outcome = settled(STORED, *order)
    assert (outcome.kind, outcome.code, outcome.expire) == (kind, code, expire)


@pytest.mark.parametrize("what", ["Receipt.Type", "GroupLinkChange.Type"])
def test_what_somebody_sends_is_no_refusal_of_whatsapp(what: str) -> None:
    error = events.ConnectEnded(f"proto: required field neonize.{what} not set")
    for refusal in ([], [events.RefusalLogged(503)]):
        assert Run([STORED, events.Connected(NUMBER), *refusal, error]).kind is Kind.NETWORK


# Ends while codes are shown


@pytest.mark.parametrize(
    ("observed", "kind"),
    [
        ([events.LoginLine("timeout")], Kind.PAIRING_EXPIRED),
        ([events.LoginLine("timeout"), GOODBYE], Kind.PAIRING_EXPIRED),
        ([GOODBYE, events.LoginLine("timeout")], Kind.PAIRING_EXPIRED),
        ([RESET, events.LoginLine("timeout")], Kind.NETWORK),
        ([events.LoginLine("timeout"), RESET], Kind.NETWORK),
        ([events.StreamError("516"), GOODBYE, events.LoginLine("timeout")], Kind.NETWORK),
        ([events.RefusalLogged(503), GOODBYE, events.LoginLine("timeout")], Kind.NETWORK),
        ([events.LoginLine("error"), events.LinkingFailed("HMAC")], Kind.NETWORK),
        ([events.LinkingFailed("HMAC"), events.LoginLine("error")], Kind.NETWORK),
        ([events.PairStatus(error="HMAC")], Kind.NETWORK),
        ([events.LoginLine("passkey-request")], Kind.PASSKEY),
        ([events.LoginLine("passkey-confirmation"), events.LoginLine("error")], Kind.PASSKEY),
        ([events.LoginLine("err-client-outdated")], Kind.OUTDATED),
        ([events.RefusalLogged(405), events.LoginLine("err-client-outdated")], Kind.OUTDATED),
        ([events.RefusalLogged(405)], Kind.OUTDATED),
        ([events.LoginLine("err-unexpected-state"), events.RefusalLogged(403)], Kind.REFUSED),
        ([events.RefusalLogged(401), events.LoginLine("err-unexpected-state")], Kind.REFUSED),
        ([events.LoggedOut(401)], Kind.REFUSED),
        (
            [events.RefusalLogged(402, 101, 60.0), events.LoginLine("err-unexpected-state")],
            Kind.TEMPORARY_BAN,
        ),
        ([events.LoginLine("err-unexpected-state")], Kind.NETWORK),
        ([events.LoginLine("a-word-of-tomorrow")], Kind.NETWORK),
    ],
)
def test_how_linking_ends(observed: list[events.Event], kind: Kind) -> None:
    assert settled(FRESH, events.Qr(QR), *observed).kind is kind


@pytest.mark.parametrize("lost", [GOODBYE, RESET])
def test_a_connection_that_ends_before_the_first_code_is_the_networks(lost: events.SocketLost) -> None:
    assert settled(FRESH, lost, events.LoginLine("timeout")).kind is Kind.NETWORK


def test_a_phone_of_long_ago_does_not_end_the_round() -> None:
    run = Run([FRESH, events.Qr(QR), events.LoginLine("err-scanned-without-multidevice")])
    run.wait(SETTLE_SECONDS)
    assert run.outcome is None


def test_a_whole_round_nobody_ends() -> None:
    run = Run([FRESH, events.Qr(QR)])
    for seconds in (60, 20, 20, 20, 20):
        assert run.wait(seconds) == []
        run.feed(events.Qr(QR))
    assert run.wait(20 + ROUND_GRACE - 0.1) == []
    run.wait(0.1)
    assert run.kind is Kind.PAIRING_EXPIRED


def test_a_code_that_does_not_follow() -> None:
    run = Run([FRESH, events.Qr(QR)])
    run.wait(60 + CODE_GRACE - 0.1)
    assert run.outcome is None
    run.wait(0.1)
    assert run.kind is Kind.NETWORK


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("info query returned status 429: rate-overlimit", Kind.REFUSED),
        ("info query timed out", Kind.NETWORK),
    ],
)
def test_no_pairing_code(error: str, kind: Kind) -> None:
    run = Run([FRESH, events.Qr(QR), events.LinkCodeFailed(error)], phone=NUMBER, pairing="code")
    assert run.kind is kind


def test_a_pairing_code_that_does_not_come() -> None:
    run = Run([FRESH, events.Qr(QR)], phone=NUMBER, pairing="code")
    run.wait(LINK_CODE_SECONDS)
    assert run.kind is Kind.NETWORK


def test_a_pairing_code_is_waited_for_no_longer_than_the_log_in_that_the_service_waits_for() -> None:
    run = Run([FRESH], phone=NUMBER, pairing="code")
    run.wait(DIAL_SECONDS - 1)
    run.feed(events.Qr(QR))
    run.wait(1)
    assert run.kind is Kind.NETWORK


def test_a_pairing_code_without_a_phone() -> None:
    assert Run([FRESH, events.Qr(QR)], pairing="code").kind is Kind.CONFIG


def test_the_log_in_after_linking_fails_for_good() -> None:
    assert Run([*LINKED, events.RedialFailed("no", for_good=True)]).kind is Kind.NETWORK


# Deadlines


@pytest.mark.parametrize(
    ("past", "seconds", "kind"),
    [
        ([STORED], DIAL_SECONDS, Kind.NETWORK),
        ([FRESH], DIAL_SECONDS, Kind.NETWORK),
        ([*LINKED], DIAL_SECONDS, Kind.NETWORK),
        ([FRESH, events.Qr(QR), events.LoginLine("success")], DIAL_SECONDS, Kind.NETWORK),
        ([*ONLINE, events.Disconnected()], LOST_SECONDS, Kind.NETWORK),
        ([*ONLINE, events.KeepAliveTimeout()], LOST_SECONDS, Kind.NETWORK),
        ([*ONLINE, events.StreamError("516")], LOST_SECONDS, Kind.NETWORK),
        ([*ONLINE, events.StopAsked()], FINISH_SECONDS + CLOSE_SECONDS, Kind.STOPPED),
    ],
)
def test_every_phase_ends(past: list[events.Event], seconds: float, kind: Kind) -> None:
    run = Run(past)
    assert run.wait(seconds - 0.1) == []
    run.wait(0.1)
    assert run.kind is kind


def test_further_bad_news_does_not_put_the_deadline_off() -> None:
    run = Run([*ONLINE, events.Disconnected()])
    for _ in range(8):
        run.wait(10)
        assert run.feed(events.Disconnected(), events.KeepAliveTimeout(), events.Activity()) == []
    run.wait(10)
    assert run.kind is Kind.NETWORK


def test_why_the_link_did_not_come_back_is_told() -> None:
    run = Run([*ONLINE, events.Disconnected(), events.RedialFailed("Bad Gateway")])
    run.wait(LOST_SECONDS)
    assert run.outcome is not None
    assert "Bad Gateway" in run.outcome.text


# Stop


@pytest.mark.parametrize("past", [(), (STORED,), (FRESH,), (FRESH, events.Qr(QR)), LINKED])
def test_without_a_link_a_stop_is_an_end(past: tuple[events.Event, ...]) -> None:
    assert Run([*past, events.StopAsked()]).kind is Kind.STOPPED


def test_without_a_link_that_is_up_the_library_is_not_asked_to_close_it() -> None:
    run = Run([*ONLINE, events.Disconnected(), events.StopAsked()])
    assert run.kind is Kind.STOPPED
    assert not any(isinstance(step, actions.HangUp) for step in run.steps)


@pytest.mark.parametrize("end", [events.HungUp(), events.ConnectEnded(None), events.ConnectEnded("x")])
def test_a_link_is_closed_in_good_order(end: events.Event) -> None:
    run = Run(ONLINE)
    assert run.feed(events.StopAsked()) == [actions.HangUp()]
    assert run.feed(events.Disconnected(), events.StopAsked(), events.Connected(NUMBER)) == []
    run.feed(end)
    assert run.kind is Kind.STOPPED


def test_a_log_out_while_stopping_is_not_lost() -> None:
    assert Run([*ONLINE, events.StopAsked(), events.LoggedOut(401)]).kind is Kind.LOGGED_OUT
    deleted = events.RefusalLogged(401, deleted=True)
    assert Run([*ONLINE, events.StopAsked(), deleted]).kind is Kind.LOGGED_OUT
    assert Run([*ONLINE, deleted, events.StopAsked()]).kind is Kind.LOGGED_OUT
    assert Run([*ONLINE, events.StopAsked(), events.RefusalLogged(401)]).kind is None


# What the library may still hold


@pytest.mark.parametrize(
    ("past", "rest"),
    [
        ((), Rest.NOTHING),
        ((STORED,), Rest.EVENTS),
        ((FRESH, events.Qr(QR)), Rest.NOTHING),
        (LINKED, Rest.EVENTS),
        (ONLINE, Rest.LINK),
        ((*ONLINE, events.Disconnected()), Rest.EVENTS),
        ((*ONLINE, events.KeepAliveTimeout()), Rest.EVENTS),
    ],
    ids=["loading", "dialling", "codes", "linked", "online", "lost", "silent"],
)
@pytest.mark.parametrize(
    "end",
    [
        None,
        events.StopAsked(),
        events.UnlinkAsked(),
        events.StreamReplaced(),
        events.LoggedOut(401),
        events.TemporaryBan(101, 60.0),
        events.ClientOutdated(),
        events.ConnectEnded("x", known=False),
    ],
)
def test_an_end_takes_what_the_library_holds(
    past: tuple[events.Event, ...], rest: Rest, end: events.Event | None
) -> None:
    run = Run(past)
    assert run.course.rest is rest
    if end is not None:
        run.feed(end)
        run.wait(UNLINK_SECONDS)
        assert run.course.rest is (rest if past else Rest.NOTHING)


def test_a_link_that_does_not_return_leaves_what_came_before() -> None:
    run = Run([*ONLINE, events.Disconnected()])
    run.wait(LOST_SECONDS)
    assert (run.kind, run.course.rest) == (Kind.NETWORK, Rest.EVENTS)


def test_a_library_that_stands_still_is_not_waited_for() -> None:
    run = Run(ONLINE)
    beats(run, *[7] * (SOME + 1))
    assert (run.kind, run.course.rest) == (Kind.CRASH, Rest.NOTHING)
    run = Run([*ONLINE, events.InboxFailed(Outcome(Kind.MACHINE, "x"))])
    assert (run.kind, run.course.rest) == (Kind.MACHINE, Rest.NOTHING)


def test_what_is_on_its_way_when_the_disk_is_full_has_room_and_is_taken() -> None:
    run = Run([*ONLINE, events.DiskFull()])
    assert (run.kind, run.course.rest) == (Kind.MACHINE, Rest.LINK)


def test_what_comes_for_the_wrong_phone_is_not_waited_for() -> None:
    run = Run([*LINKED, events.Connected(NUMBER), events.Unlinked(None)], phone=OTHER)
    assert (run.kind, run.course.rest) == (Kind.WRONG_PHONE, Rest.NOTHING)


# Unlinked, because the account is removed


@pytest.mark.parametrize(
    "answer", [events.Unlinked(None), events.LoggedOut(401), events.RefusalLogged(401, deleted=True)]
)
def test_a_device_that_is_unlinked_on_request_is_logged_out(answer: events.Event) -> None:
    run = Run(ONLINE)
    assert run.feed(events.UnlinkAsked()) == [actions.Unlink()]
    # The link goes with the device, and the library's own call ends.
    assert run.feed(events.Disconnected(), events.ConnectEnded(None), events.UnlinkAsked()) == []
    run.feed(answer)
    assert run.kind is Kind.LOGGED_OUT


def test_a_device_that_cannot_be_unlinked_is_still_linked() -> None:
    run = Run([*ONLINE, events.UnlinkAsked(), events.Unlinked("the server is busy")])
    assert run.kind is Kind.STOPPED
    assert run.outcome is not None
    assert "busy" in run.outcome.text


def test_unlinking_on_request_takes_no_longer_than_it_may() -> None:
    run = Run([*ONLINE, events.UnlinkAsked()])
    assert not run.outcome
    run.wait(UNLINK_SECONDS)
    assert run.kind is Kind.STOPPED
    assert run.outcome is not None
    assert "did not answer" in run.outcome.text


@pytest.mark.parametrize("past", [(), (STORED,), (FRESH, events.Qr(QR)), (*ONLINE, events.Disconnected())])
def test_without_a_link_nothing_can_be_unlinked(past: tuple[events.Event, ...]) -> None:
    run = Run([*past, events.UnlinkAsked()])
    assert run.kind is Kind.STOPPED
    assert not any(isinstance(step, actions.Unlink) for step in run.steps)


def test_a_stop_while_unlinking_is_an_end() -> None:
    assert Run([*ONLINE, events.UnlinkAsked(), events.StopAsked()]).kind is Kind.STOPPED


# The wrong phone


def test_the_wrong_phone_is_unlinked_and_never_online() -> None:
    run = Run([FRESH, events.Qr(QR), events.PairStatus(OTHER)], phone=NUMBER)
    assert run.feed(events.Connected(OTHER)) == [actions.Unlink()]
    run.feed(events.Unlinked(None))
    assert run.kind is Kind.WRONG_PHONE
    assert run.outcome is not None
    assert "unlinked again" in run.outcome.text
    assert OTHER not in run.outcome.text
    assert not any(isinstance(message, pipe.Connected) for message in run.said)


@pytest.mark.parametrize("known", [True, False])
def test_a_stored_session_of_another_number_is_kept_and_stays_linked(*, known: bool) -> None:
    run = Run([events.Loaded(paired=True, phone=OTHER if known else None)], phone=NUMBER)
    if not known:
        assert run.outcome is None
        run.feed(events.Connected(OTHER))
    assert run.kind is Kind.CONFIG
    assert run.outcome is not None
    assert OTHER not in run.outcome.text
    assert not any(isinstance(step, actions.Unlink) for step in run.steps)


@pytest.mark.parametrize(
    ("event", "unlinked"),
    [
        (events.Unlinked("timed out"), False),
        (events.Disconnected(), False),
        (events.StreamReplaced(), False),
        (events.LoggedOut(401), True),
    ],
)
def test_the_wrong_phone_stays_wrong_whatever_comes(event: events.Event, *, unlinked: bool) -> None:
    run = Run([*LINKED, events.Connected(NUMBER), event], phone=OTHER)
    assert run.kind is Kind.WRONG_PHONE
    assert run.outcome is not None
    assert ("unlinked again" in run.outcome.text) is unlinked


def test_unlinking_takes_no_longer_than_it_may() -> None:
    run = Run([*LINKED, events.Connected(NUMBER)], phone=OTHER)
    run.wait(UNLINK_SECONDS)
    assert run.kind is Kind.WRONG_PHONE


def test_linked_to_the_wrong_phone_and_never_online() -> None:
    run = Run(LINKED, phone=OTHER)
    run.wait(DIAL_SECONDS)
    assert run.kind is Kind.WRONG_PHONE


def test_the_right_phone_in_whatsapps_own_form() -> None:
    run = Run([events.Loaded(paired=True), events.Connected("551187654321")], phone="5511987654321")
    assert pipe.Connected("551187654321") in run.said


# What is done at once


def test_something_is_done_while_there_is_a_link() -> None:
    run = Run(ONLINE)
    assert run.feed(events.ActAsked(7, HELLO)) == [actions.DoAct(7, HELLO)]
    done = events.ActEnded(7, Fate.DONE, result='{"link": "x"}')
    assert run.feed(done) == [actions.Say(pipe.Acted(7, Fate.DONE, None, "", '{"link": "x"}'))]


@pytest.mark.parametrize(
    "past",
    [(), (FRESH,), (FRESH, events.Qr(QR)), (*ONLINE, events.Disconnected()), (*ONLINE, events.StopAsked())],
)
def test_without_a_link_it_is_refused_at_once(past: tuple[events.Event, ...]) -> None:
    run = Run(past)
    (step,) = run.feed(events.ActAsked(7, HELLO))
    assert step == actions.Say(pipe.Acted(7, Fate.FAILED, None, "the account is not connected", None))


def test_what_became_of_it_is_told_also_while_the_link_is_closed() -> None:
    run = Run([*ONLINE, events.ActAsked(7, HELLO), events.StopAsked()])
    (step,) = run.feed(events.ActEnded(7, Fate.UNKNOWN, 429, "why"))
    assert step == actions.Say(pipe.Acted(7, Fate.UNKNOWN, 429, "why", None))


# Files


@pytest.mark.parametrize(
    "past",
    [
        (FRESH,),
        (FRESH, events.Qr(QR)),
        ONLINE,
        (*ONLINE, events.Disconnected()),
        (*ONLINE, events.StopAsked()),
        (*ONLINE, events.UnlinkAsked()),
    ],
)
def test_a_file_is_fetched_with_and_without_a_link(past: tuple[events.Event, ...]) -> None:
    run = Run(past)
    assert run.feed(events.FetchAsked(7, "17")) == [actions.FetchMedia(7, "17")]
    assert run.feed(events.FetchEnded(7, None)) == [actions.Say(pipe.Fetched(7, None, ""))]
    gone = events.FetchEnded(8, Fault.EXPIRED, "x")
    assert run.feed(gone) == [actions.Say(pipe.Fetched(8, Fault.EXPIRED, "x"))]


def test_a_file_is_not_fetched_before_the_library_is_there_nor_after_the_end() -> None:
    run = Run(())
    (step,) = run.feed(events.FetchAsked(7, "17"))
    assert isinstance(step, actions.Say)
    assert isinstance(step.message, pipe.Fetched)
    assert step.message.fault is Fault.UNREACHABLE
    run = Run([*ONLINE, events.LoggedOut(401)])
    assert run.feed(events.FetchAsked(7, "17")) == []
    assert run.feed(events.FetchEnded(7, None)) == []


# Whatever happens

ANY_EVENT = st.sampled_from(
    [
        FRESH,
        STORED,
        events.LoadFailed(Outcome(Kind.CONFIG, "x")),
        events.Qr(QR),
        events.LinkCodeIssued("ABCD-EFGH"),
        events.LinkCodeFailed("x"),
        *(events.LoginLine(word) for word in ("success", "timeout", "error", "passkey-request", "err-x")),
        events.PairStatus(NUMBER),
        events.PairStatus(OTHER),
        events.PairStatus(error="x"),
        events.Connected(NUMBER),
        events.Connected(OTHER),
        events.Connected(),
        events.Disconnected(),
        events.KeepAliveTimeout(),
        events.KeepAliveRestored(),
        events.StreamError("516"),
        events.Activity(),
        events.Checked(True),
        events.Checked(False),
        events.Checked(True, 1),
        events.LoggedOut(401),
        events.LoggedOut(403),
        events.StreamReplaced(),
        events.TemporaryBan(101, 60.0),
        events.ConnectFailure(400),
        events.ConnectFailure(503),
        events.ClientOutdated(),
        events.ConnectEnded(None),
        events.ConnectEnded("x"),
        events.ConnectEnded("proto: required field neonize.ConnectFailure.Reason not set"),
        events.RefusalLogged(401),
        events.RefusalLogged(403, deleted=True),
        events.RefusalLogged(402, 101, 60.0),
        events.RefusalLogged(503),
        GOODBYE,
        RESET,
        events.RedialFailed("x"),
        events.RedialFailed("x", for_good=True),
        events.LinkingFailed("x"),
        events.StopAsked(),
        events.ActAsked(1, HELLO),
        events.ActEnded(1, Fate.DONE, result="{}"),
        events.ActEnded(1, Fate.UNKNOWN, 403, "x"),
        events.FetchAsked(1, "17"),
        events.FetchEnded(1, None),
        events.FetchEnded(1, Fault.EXPIRED, "x"),
        events.HungUp(),
        events.Unlinked(None),
        events.Unlinked("x"),
    ]
)
# Ends are rare in it, or the courses would all be short.
HAPPENINGS = st.lists(
    st.one_of(
        ANY_EVENT,
        st.sampled_from(
            [events.Qr(QR), events.PairStatus(NUMBER), events.Connected(NUMBER), events.Disconnected()]
        ),
        st.floats(0, 100),
    ),
    max_size=30,
)


def wanders(happenings: list[events.Event | float], phone: str | None, pairing: Literal["qr", "code"]) -> Run:
    run = Run(phone=phone, pairing=pairing)
    for happening in happenings:
        if isinstance(happening, float):
            run.wait(happening)
        else:
            run.feed(happening)
        check(run, happenings)
    return run


def check(run: Run, happenings: list[events.Event | float]) -> None:
    phase, outcome = run.course.phase, run.outcome
    assert (phase is Phase.ENDED) == (outcome is not None)
    if outcome is not None:
        assert isinstance(run.steps[-1], actions.End)
        assert run.course.due is None
        seen = {type(one) for one in happenings}
        if outcome.kind in (Kind.LOGGED_OUT, Kind.LOCKED):
            assert events.LoggedOut in seen or events.RefusalLogged(403, deleted=True) in happenings
        if outcome.kind is Kind.STOPPED:
            assert events.StopAsked in seen
        for secret in (NUMBER, OTHER, QR, "ABCD-EFGH"):
            assert secret not in outcome.text
    elif phase not in (Phase.LOADING, Phase.ONLINE):
        assert run.course.due is not None
        assert run.course.due >= run.now


PAIRINGS: st.SearchStrategy[Literal["qr", "code"]] = st.sampled_from(["qr", "code"])


@settings(CALM, max_examples=2000)
@given(HAPPENINGS, st.sampled_from([None, NUMBER]), PAIRINGS)
def test_whatever_happens(
    happenings: list[events.Event | float], phone: str | None, pairing: Literal["qr", "code"]
) -> None:
    run = wanders([FRESH, *happenings], phone, pairing)
    online = False
    for message in run.said:
        if isinstance(message, pipe.Connected):
            assert not online, "said twice"
            assert phone is None or message.phone in (phone, "")
            online = True
        elif isinstance(message, pipe.LinkLost):
            assert online, "lost what was not there"
            online = False
    if run.kind is Kind.WRONG_PHONE:
        assert phone is not None


@settings(CALM, max_examples=500)
@given(HAPPENINGS, st.sampled_from([None, NUMBER]), PAIRINGS)
def test_silence_ends_every_phase_but_online(
    happenings: list[events.Event | float], phone: str | None, pairing: Literal["qr", "code"]
) -> None:
    run = wanders([STORED, *happenings], phone, pairing)
    if run.course.phase is not Phase.ONLINE:
        run.wait(ROUND_SECONDS + ROUND_GRACE)
        assert run.course.phase is Phase.ENDED


@settings(CALM, max_examples=500)
@given(HAPPENINGS, PAIRINGS)
def test_a_stop_is_always_obeyed_in_time(
    happenings: list[events.Event | float], pairing: Literal["qr", "code"]
) -> None:
    run = wanders(happenings, NUMBER, pairing)
    run.feed(events.StopAsked())
    run.wait(FINISH_SECONDS + CLOSE_SECONDS)
    assert run.course.phase is Phase.ENDED
