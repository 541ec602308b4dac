"""What the library has said of a run that goes wrong, and which end it speaks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.accounts.failure import Outcome
from orchestrator.worker import events, outcomes

Verdict: TypeAlias = events.LoginLine | events.ConnectEnded | events.RefusalLogged
"""What ends a run unless a better reason comes within a moment."""


@dataclass(slots=True)
class Evidence:
    """What the log and the events said last.

    Attributes:
        in_database: Whether the session is in a database, and not in a file.
        refusal: WhatsApp's last refusal, as the library has logged it.
        socket: How the socket was lost.
        stream_error: The last stream error, fit to be shown.
        dial_error: Why dialing again has failed.
        link_error: Why the device could not be linked.
    """

    in_database: bool = False
    refusal: events.RefusalLogged | None = None
    socket: events.SocketLost | None = None
    stream_error: str | None = None
    dial_error: str = ""
    link_error: str = ""

    def note(self, event: events.Event) -> None:
        """Take in what the log says."""
        match event:
            case events.RefusalLogged():
                self.refusal = event
            case events.SocketLost():
                self.socket = event
            case events.RedialFailed(error):
                self.dial_error = error
            case events.LinkingFailed(error):
                self.link_error = error

    def last_error(self) -> str:
        """Return the last error of the network; empty if there was none."""
        return self.dial_error or (self.socket.error if self.socket is not None else "")

    def outcome(self, verdict: Verdict, *, paired: bool, begun: bool) -> Outcome:
        """Tell how a run ends by what ends it and by everything that is known besides.

        Args:
            verdict: What ends it.
            paired: Whether its device is linked.
            begun: Whether a code was shown.
        """
        refusal = self.refusal
        if isinstance(verdict, events.RefusalLogged):
            refusal = refusal or verdict
        match verdict, refusal:
            case events.LoginLine("error"), _:
                return outcomes.linking_failed(self.link_error)
            case events.ConnectEnded(error), None | events.RefusalLogged(500 | 503):
                return self.raised(error or "")
            case _, events.RefusalLogged() as logged:
                return self.refused(logged, paired=paired)
        word = verdict.word if isinstance(verdict, events.LoginLine) else ""
        return self._codes_ended(begun=begun) if word == "timeout" else outcomes.linking_ended(word)

    def raised(self, error: str, *, known: bool = True) -> Outcome:
        """Tell how a run ends whose library raised an error; see `outcomes.connect_raised`."""
        return outcomes.connect_raised(error, known=known, in_database=self.in_database)

    def refused(self, refusal: events.RefusalLogged, *, paired: bool) -> Outcome:
        """Tell a refusal by the library's log alone."""
        if refusal.deleted:
            return outcomes.logged_out(refusal.reason, paired=paired)
        return outcomes.refusal(refusal.reason, refusal.code, refusal.expire)

    def _codes_ended(self, *, begun: bool) -> Outcome:
        """Tell the end of a round from a connection that broke: the library prints the same for both."""
        if self.stream_error is not None:
            return outcomes.codes_lost(f"stream error {self.stream_error}")
        if not begun:
            return outcomes.codes_lost(self.last_error() or "before there was one")
        if self.socket is not None and not self.socket.orderly:
            return outcomes.codes_lost(self.socket.error)
        return outcomes.pairing_expired()
