"""The course of one run: what is observed → what is said and done, and how it ends. Pure, with no clock.

    loading ─► dialling ─────────────► online ◄─► lost
                  │   ▲                   │
                  ▼   │ linked            ▼
                 codes       unlinking, leaving, closing     each ─► ended

Every phase but `online` has a deadline of its own, shorter than the parent's for the same: a run that limps
ends itself, with a reason. The library gives no event for much of what happens while codes are shown, so what
it prints and logs counts too; a verdict that such a line may still change waits a moment for it.
"""

from __future__ import annotations

from enum import Enum, auto

from orchestrator.accounts import durations, pipe
from orchestrator.accounts.acts import Fate
from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.pipe import Pairing
from orchestrator.worker import deadlines, events, outcomes, send_errors
from orchestrator.worker.actions import (
    AskLinkCode,
    Dial,
    DoAct,
    End,
    FetchMedia,
    HangUp,
    Rest,
    SaveTraceback,
    Say,
    ShowLinkCode,
    ShowQr,
    Step,
    Unlink,
)
from orchestrator.worker.checkup import Checkup
from orchestrator.worker.evidence import Evidence, Verdict


class Phase(Enum):
    """Where a run is."""

    LOADING = auto()
    DIALLING = auto()
    CODES = auto()
    ONLINE = auto()
    LOST = auto()
    UNLINKING = auto()
    LEAVING = auto()
    CLOSING = auto()
    ENDED = auto()


_REST = {
    Phase.DIALLING: Rest.EVENTS,
    Phase.LOST: Rest.EVENTS,
    Phase.ONLINE: Rest.LINK,
    Phase.LEAVING: Rest.LINK,
    Phase.CLOSING: Rest.LINK,
}
"""What the library may hold in a phase; in the others nobody has been logged in."""


class Course:
    """One run.

    Args:
        phone: Digits of the number it must be linked to, or None.
        remembered: Whether that is the number it had before, and not one that the configuration names.
        pairing: How to link a device that is not.
        in_database: Whether the session is in a database, and not in a file.

    Attributes:
        phase: Where it is.
    """

    def __init__(
        self, *, phone: str | None, pairing: Pairing, remembered: bool = False, in_database: bool = False
    ) -> None:
        self.phase = Phase.LOADING
        self._wanted = phone
        self._remembered = remembered
        self._pairing = pairing
        self._linked: str | None = None
        self._paired = False
        self._fresh = False
        self._now = 0.0
        self._steps: list[Step] = []
        self._phase_due: float | None = None
        self._code_due: float | None = None
        self._verdict_due: float | None = None
        self._verdict: Verdict | None = None
        self._round_since: float | None = None
        self._lost_why = ""
        self._lost_silently = False
        self._checkup = Checkup()
        self._said = Evidence(in_database=in_database)
        self._rest: Rest | None = None

    @property
    def rest(self) -> Rest:
        """What the library may hold that is to be taken from it, if the run ends now or has ended."""
        # What comes for a wrong phone is for somebody else.
        return self._rest or (Rest.NOTHING if self._is_wrong() else _REST.get(self.phase, Rest.NOTHING))

    @property
    def due(self) -> float | None:
        """The monotonic time at which `tick` has to be called, None if nothing is waited for."""
        times = (self._phase_due, self._code_due, self._verdict_due)
        return min((time for time in times if time is not None), default=None)

    def feed(self, event: events.Event, now: float) -> list[Step]:
        """Take in what was observed at that monotonic time; return what is to be done, in this order."""
        self._now, self._steps = now, []
        if isinstance(event, events.ActAsked | events.ActEnded | events.FetchAsked | events.FetchEnded):
            if self.phase is not Phase.ENDED:  # or the parent sees the end, and tells those who wait
                self._steps.append(_about_asking(event, self.phase))
        elif self.phase in (Phase.CLOSING, Phase.LEAVING):
            if (outcome := _on_the_way_out(event, leaves=self.phase is Phase.LEAVING)) is not None:
                self._end(outcome)
        elif self.phase is not Phase.ENDED:
            self._take(event)
        return self._steps

    def tick(self, now: float) -> list[Step]:
        """Take in that time has passed; return what is to be done, in this order."""
        self._now, self._steps = now, []
        if self._verdict_due is not None and now >= self._verdict_due:
            self._decide()
        elif self._phase_due is not None and now >= self._phase_due:
            self._overdue()
        elif self._code_due is not None and now >= self._code_due:
            self._end(outcomes.codes_lost(self._said.last_error() or "no further code came"))
        return self._steps

    # What was observed

    def _take(self, event: events.Event) -> None:
        match event:
            case events.Loaded(paired, phone) if self.phase is Phase.LOADING:
                self._paired, self._linked = paired, phone
                if paired and self._is_wrong():
                    self._end(self._another_number())
                    return
                self._enter(Phase.DIALLING, deadlines.DIAL_SECONDS)
                self._steps += [Say(pipe.Connecting(paired)), Dial()]
            case events.LoadFailed(outcome) | events.InboxFailed(outcome):
                self._end(outcome, Rest.NOTHING)  # the library waits for what cannot be stored
            case events.DiskFull():
                # What is on its way has the reserve for room; WhatsApp keeps the rest for whoever is away.
                self._end(outcomes.disk_full())
            case events.StopAsked():
                self._stop()
            case events.UnlinkAsked():
                self._leave()
            case events.StoreLost():
                self._end(outcomes.store_lost(), Rest.NOTHING)
            case events.ConnectEnded():
                self._connect_ended(event)
            case events.Unlinked(error):
                if self.phase is Phase.UNLINKING:
                    self._end(self._wrong_phone(unlinked=error is None))
            case events.Connected(phone):
                self._connected(phone)
            case (
                events.Disconnected()
                | events.KeepAliveTimeout()
                | events.KeepAliveRestored()
                | events.StreamError()
            ):
                self._link(event)
            case events.Checked(logged_in, callback):
                self._check(logged_in, callback)
            case (
                events.LoggedOut()
                | events.StreamReplaced()
                | events.TemporaryBan()
                | events.ConnectFailure()
                | events.ClientOutdated()
            ):
                self._last_sign(event)
            case (
                events.RefusalLogged() | events.SocketLost() | events.RedialFailed() | events.LinkingFailed()
            ):
                self._note(event)
            case events.Activity() | events.CaughtUp() | events.HungUp() | events.Loaded():
                pass
            case _:
                self._take_linking(event)

    def _take_linking(self, event: events.Event) -> None:
        match event:
            case events.Qr(text):
                self._qr(text)
            case events.LinkCodeIssued(code) if self.phase is Phase.CODES and self._round_since is not None:
                self._code_due = self._round_since + deadlines.FIRST_CODE_SECONDS + deadlines.CODE_GRACE
                left = self._round_since + deadlines.ROUND_SECONDS - self._now
                self._steps.append(ShowLinkCode(code, max(0.0, left)))
            case events.LinkCodeFailed(error) if self.phase is Phase.CODES:
                self._end(outcomes.link_code_failed(error))
            case events.LoginLine():
                self._login_line(event)
            case events.PairStatus(phone, error) if self.phase in (Phase.DIALLING, Phase.CODES):
                if error or not phone:
                    self._said.link_error = self._said.link_error or error
                    self._expect(events.LoginLine("error"))
                else:
                    self._was_linked(phone)

    def _leave(self) -> None:
        """Have WhatsApp unlink the device, and end."""
        if self.phase is Phase.ONLINE:
            self._enter(Phase.LEAVING, deadlines.UNLINK_SECONDS)
            self._steps.append(Unlink())
        elif self._said.refusal is not None and self._said.refusal.deleted:
            self._stop()
        else:
            self._end(outcomes.not_unlinked("the account was not connected"))

    def _stop(self) -> None:
        if self._said.refusal is not None and self._said.refusal.deleted:
            self._end(self._said.refused(self._said.refusal, paired=self._paired))
        elif self.phase is Phase.ONLINE:
            self._enter(Phase.CLOSING, deadlines.FINISH_SECONDS + deadlines.CLOSE_SECONDS)
            self._steps.append(HangUp())
        else:
            self._end(outcomes.stopped())

    # The codes

    def _qr(self, text: str) -> None:
        if self.phase not in (Phase.DIALLING, Phase.CODES):
            return
        first, dialed_by = self._round_since is None, self._phase_due or self._now
        if first:
            self._paired = False
            self._round_since = self._now
            self._enter(Phase.CODES, deadlines.ROUND_SECONDS + deadlines.ROUND_GRACE)
            self._said.socket = None
        seconds = deadlines.FIRST_CODE_SECONDS if first else deadlines.NEXT_CODE_SECONDS
        self._code_due = self._now + seconds + deadlines.CODE_GRACE
        if self._pairing == "qr":
            self._steps.append(ShowQr(text, seconds))
        elif first and self._wanted:
            # The service takes all this for connecting, until there is a code.
            self._code_due = min(self._now + deadlines.LINK_CODE_SECONDS, dialed_by)
            self._steps.append(AskLinkCode(self._wanted))
        elif first:
            self._end(Outcome(Kind.CONFIG, "pairing by code needs the account's phone in the configuration"))

    def _login_line(self, line: events.LoginLine) -> None:
        match line.word:
            case "success":
                if self.phase is Phase.CODES:
                    self._enter(Phase.DIALLING, deadlines.DIAL_SECONDS)
            case "err-client-outdated":
                self._end(outcomes.outdated())
            case "passkey-request" | "passkey-confirmation":
                self._end(outcomes.passkey())
            case "err-scanned-without-multidevice":
                pass  # a phone of long ago: the code is still valid, for another phone
            case _:
                self._expect(line)

    def _was_linked(self, phone: str) -> None:
        self._linked, self._paired, self._fresh = phone, True, True
        self._enter(Phase.DIALLING, deadlines.DIAL_SECONDS)
        self._steps.append(Say(pipe.Paired(phone)))

    # The link

    def _connected(self, phone: str | None) -> None:
        if self.phase is Phase.UNLINKING:
            return
        self._linked = phone or self._linked
        self._checkup.unsure, self._said.refusal = 0, None
        if self._is_wrong() and not self._fresh:
            self._end(self._another_number())
        elif self._is_wrong():
            self._enter(Phase.UNLINKING, deadlines.UNLINK_SECONDS)
            self._steps.append(Unlink())
        elif self.phase is not Phase.ONLINE:
            self._paired = True
            self._enter(Phase.ONLINE, None)
            self._steps.append(Say(pipe.Connected(self._linked or "")))

    def _link(self, event: events.Event) -> None:
        match event:
            case events.Disconnected():
                self._said.refusal = None  # one after which the library goes on
                self._lose("the connection was lost")
                self._lost_silently = False
                if self.phase is Phase.UNLINKING:
                    self._end(self._wrong_phone(unlinked=False))
            case events.KeepAliveTimeout():
                if self._lose("WhatsApp does not answer"):
                    self._lost_silently = True
            case events.KeepAliveRestored():
                if self.phase is Phase.LOST and self._lost_silently:
                    self._connected(None)
            case events.StreamError(code):
                self._said.stream_error = outcomes.quote(code)
                self._lose(f"WhatsApp ended the stream ({self._said.stream_error})")

    def _check(self, logged_in: bool, callback: int | None) -> None:
        """Take in what no event tells: a library that is logged out, and one that stands still."""
        if self._checkup.is_logged_out(online=self.phase is Phase.ONLINE, logged_in=logged_in):
            self._lose("the library is not logged in any more")
        if (waited := self._checkup.stands_still(callback, self._now)) is not None:
            # The library hands over one event after the other.
            self._steps.append(SaveTraceback())
            self._end(outcomes.callback_hangs(waited), Rest.NOTHING)

    def _lose(self, why: str) -> bool:
        if self.phase is not Phase.ONLINE:
            return False
        self._lost_why, self._lost_silently, self._said.dial_error = why, False, ""
        self._enter(Phase.LOST, deadlines.LOST_SECONDS)
        self._steps.append(Say(pipe.LinkLost(why)))
        return True

    def _note(self, event: events.Event) -> None:
        self._said.note(event)
        match event:
            case events.RefusalLogged(reason, deleted=deleted):
                # A device that is not linked gets no event. One that is logged out before connect() has got
                # round to telling events may get none either: neonize then waits, for ever, for the address
                # that the library has just deleted.
                silent = deleted or not self._paired
                if silent and reason not in outcomes.PASSING and self._verdict is None:
                    self._expect(event)
            case events.RedialFailed(error, for_good=True):
                self._end(self._said.raised(error))

    # The end

    def _last_sign(self, event: events.Event) -> None:
        match event:
            case events.LoggedOut(reason):
                self._end(outcomes.logged_out(reason, paired=self._paired))
            case events.StreamReplaced():
                self._end(outcomes.replaced())
            case events.TemporaryBan(code, expire):
                self._end(outcomes.banned(code, expire))
            case events.ConnectFailure(reason, message):
                if reason not in outcomes.PASSING:
                    self._end(outcomes.refused(reason, message))
            case events.ClientOutdated():
                self._end(outcomes.outdated())

    def _connect_ended(self, event: events.ConnectEnded) -> None:
        if event.error is None:
            self._end(outcomes.connect_returned())
        elif event.known and outcomes.hides_number(event.error):
            self._expect(event)  # the log has the number
        else:
            self._end(self._said.raised(event.error, known=event.known))

    def _expect(self, verdict: Verdict) -> None:
        """Decide by this in a moment, unless something better comes."""
        if self.phase in (Phase.DIALLING, Phase.CODES, Phase.ONLINE, Phase.LOST):
            self._verdict, self._verdict_due = verdict, self._now + deadlines.SETTLE_SECONDS

    def _decide(self) -> None:
        if self._verdict is not None:
            begun = self._round_since is not None
            self._end(self._said.outcome(self._verdict, paired=self._paired, begun=begun))

    def _overdue(self) -> None:
        match self.phase:
            case Phase.CODES:
                self._end(outcomes.pairing_expired())
            case Phase.LOST:
                self._end(outcomes.link_lost(deadlines.LOST_SECONDS, self._lost_why, self._said.dial_error))
            case Phase.UNLINKING:
                self._end(self._wrong_phone(unlinked=False))
            case Phase.LEAVING:
                waited = durations.words(deadlines.UNLINK_SECONDS)
                self._end(outcomes.not_unlinked(f"WhatsApp did not answer within {waited}"))
            case Phase.CLOSING:
                self._end(outcomes.stopped())
            case _:
                if self._said.refusal is not None:
                    self._end(self._said.refused(self._said.refusal, paired=self._paired))
                else:
                    self._steps.append(SaveTraceback())
                    self._end(outcomes.too_slow(deadlines.DIAL_SECONDS, self._said.last_error()))

    def _end(self, outcome: Outcome, rest: Rest | None = None) -> None:
        self._rest = rest or self.rest
        wrong = self.phase is Phase.UNLINKING or (self._fresh and self._is_wrong())
        if wrong and outcome.kind not in (Kind.WRONG_PHONE, Kind.STOPPED, Kind.CRASH):
            # Whatever came in between: this session must not be used, and no account but the other is ill.
            outcome = self._wrong_phone(unlinked=outcome.kind in (Kind.LOGGED_OUT, Kind.LOCKED))
        self._enter(Phase.ENDED, None)
        self._steps.append(End(outcome))

    def _wrong_phone(self, *, unlinked: bool) -> Outcome:
        return outcomes.wrong_phone(self._linked or "", self._wanted or "", unlinked=unlinked)

    def _another_number(self) -> Outcome:
        return outcomes.another_number(self._linked or "", self._wanted or "", remembered=self._remembered)

    # Helpers

    def _is_wrong(self) -> bool:
        return bool(self._wanted and self._linked and not outcomes.same_number(self._wanted, self._linked))

    def _enter(self, phase: Phase, seconds: float | None) -> None:
        self.phase = phase
        self._phase_due = None if seconds is None else self._now + seconds
        self._code_due = self._verdict_due = self._verdict = None


def _on_the_way_out(event: events.Event, *, leaves: bool) -> Outcome | None:
    """Return how a run ends that closes its link or, if it ``leaves``, has its device unlinked.

    Whether a device is unlinked is told by the answer, whatever happens to the link meanwhile.
    """
    match event:
        case events.LoggedOut(reason) | events.RefusalLogged(reason, deleted=True):
            # The library has thrown the session away, and whoever keeps its file must know.
            return outcomes.logged_out(reason, paired=True)
        case events.HungUp() | events.ConnectEnded() if not leaves:
            return outcomes.stopped()
        case events.Unlinked(None) if leaves:
            return outcomes.unlinked()
        case events.Unlinked(error) if leaves:
            return outcomes.not_unlinked(outcomes.quote(error or ""))
        case events.StoreLost():
            return outcomes.store_lost() if leaves else outcomes.stopped()
        case events.StopAsked() if leaves:
            return outcomes.not_unlinked("the service stopped before WhatsApp had answered")
    return None


def _about_asking(
    event: events.ActAsked | events.ActEnded | events.FetchAsked | events.FetchEnded, phase: Phase
) -> Step:
    """Return what is to be done about what the parent has asked for, or about what became of it.

    An attachment needs no link: it lies on a server that anybody may ask who knows its path.
    """
    match event:
        case events.ActAsked(id, ask) if phase is Phase.ONLINE:
            return DoAct(id, ask)
        case events.ActAsked(id):
            return Say(pipe.Acted(id, Fate.FAILED, None, send_errors.NOT_CONNECTED, None))
        case events.ActEnded(id, fate, code, about, result):
            return Say(pipe.Acted(id, fate, code, about, result))
        case events.FetchAsked(id) if phase is Phase.LOADING:
            return Say(pipe.Fetched(id, Fault.UNREACHABLE, "the account is only starting"))
        case events.FetchAsked(id, media):
            return FetchMedia(id, media)
        case events.FetchEnded(id, fault, about):
            return Say(pipe.Fetched(id, fault, about))
