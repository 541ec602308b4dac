"""The loop of a child: hears the library and the parent, lets the course decide, and carries it out.

Nothing in it waits for anything but news: what may block (loading, connecting, closing) is done in threads,
so that it can stop, give up, or notice that the parent is gone at any time.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from orchestrator.accounts import deadlines, durations, pipe
from orchestrator.accounts.failure import Outcome
from orchestrator.messages import loss
from orchestrator.sending import asks
from orchestrator.sending.asks import Ask
from orchestrator.worker import actions, events, session_secrets
from orchestrator.worker.actions import Rest, Step
from orchestrator.worker.catching_up import CatchingUp
from orchestrator.worker.deadlines import CLOSE_SECONDS, FINISH_SECONDS
from orchestrator.worker.intake import Intake
from orchestrator.worker.losses import Losses
from orchestrator.worker.machine import Course, Phase
from orchestrator.worker.pipe import Link, ParentGone
from orchestrator.worker.queue import Inbox
from orchestrator.worker.sending.sender import Sender
from orchestrator.worker.tenure import Tenure

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = deadlines.HEARTBEAT.inner
"""Seconds between two signs of life."""
MEMORY_SECONDS = 60.0
"""Seconds for which a reading of the memory is good, unless the phase changes: the kernel walks all pages for
it, which takes 2.3 ms."""
PING_SECONDS = 40.0
"""A ping is sent every 20 to 30 s, and one that is not answered within 10 s is an event: while there is none,
WhatsApp has answered within this time."""

_FROM_WHATSAPP = (
    events.Qr,
    events.PairStatus,
    events.Connected,
    events.KeepAliveRestored,
    events.StreamError,
    events.Activity,
    events.CaughtUp,
    events.LoggedOut,
    events.StreamReplaced,
    events.TemporaryBan,
    events.ConnectFailure,
    events.ClientOutdated,
)

_NO_CLEARING = frozenset({Phase.LOADING, Phase.CLOSING, Phase.LEAVING, Phase.ENDED})
"""Phases in which the inbox is not open yet, or what the library still holds comes first."""


class Dialler(Protocol):
    """What the loop needs of the client; see `client.Client`."""

    @property
    def logged_in(self) -> bool:
        """Whether the library takes the account for logged in."""

    @property
    def oldest_callback(self) -> int | None:
        """The number of the library's oldest call into Python that has not returned, None if all have."""

    def phone(self) -> str | None:
        """Return the digits of the number the device is linked to, if it is."""

    def own_addresses(self) -> list[str]:
        """Return the addresses of the linked device: the one with the number first, then the hidden one."""

    def dial(self) -> None:
        """Connect."""

    def ask_link_code(self, phone: str) -> None:
        """Have WhatsApp wait for a code from that phone."""

    def act(self, number: int, ask: Ask) -> None:
        """Do something in a chat, for the order of that number."""

    def unlink(self) -> None:
        """Have WhatsApp unlink this device."""

    def hang_up(self, seconds: float) -> None:
        """Close the link in good order and take what the library still holds, within so many seconds."""

    def leave(self, seconds: float, *, closes: bool) -> bool:
        """Do the same and wait for it; `closes` says whether there is a link."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """What the loop works with.

    Attributes:
        load: Makes the session ours and loads the library; may take seconds. Returns the client, and what
            begins the course.
        render: Draws a QR code that is valid until that Unix time.
        hide: Keeps a secret out of the log from now on.
        save_traceback: Writes down where all threads are.
        fetch: Fetches an attachment: the number of the question, and the attachment's identifier.
        intake: Where messages go.
        losses: Looks for messages that are missing.
        sender: Sends what is in the outbox.
    """

    load: Callable[[], tuple[Dialler | None, events.Loaded | events.LoadFailed]]
    render: Callable[[str, float], bytes]
    hide: Callable[[str], None]
    save_traceback: Callable[[], None]
    fetch: Callable[[int, str], None]
    intake: Intake
    losses: Losses
    sender: Sender


class Loop:
    """Runs one course to its end.

    Args:
        course: What decides.
        link: The way to the parent.
        inbox: Where events come in.
        sentinel: A descriptor that is readable once the parent is gone, or None.
        tools: What it works with.
        tenure: Until when the process may run.
    """

    def __init__(
        self,
        course: Course,
        link: Link,
        inbox: Inbox,
        sentinel: int | None,
        tools: Tools,
        tenure: Tenure | None = None,
    ) -> None:
        self._course = course
        self._link = link
        self._inbox = inbox
        self._sentinel = sentinel
        self._tools = tools
        self._tenure = tenure or Tenure(None)
        self._client: Dialler | None = None
        self._outcome: Outcome | None = None
        self._last_seen: float | None = None
        self._memory = 0
        self._memory_at = (float("-inf"), course.phase)
        self._catching_up = CatchingUp()
        self._may_send = False
        self._next_beat = self._next_clearing = time.monotonic()

    def run(self) -> Outcome:
        """Return how the run ended, once the library has handed over what it held.

        Raises:
            ParentGone: The parent is.
        """
        try:
            outcome = self._run()
        finally:
            self._tools.sender.stop()
            self.leave(CLOSE_SECONDS)
            self._tools.sender.close(deadlines.OUTBOX_SECONDS)
        for event in self._inbox.take():
            if isinstance(event, events.Told):
                self._link.post(event.message)
        self._post_heartbeat()  # what came last counts, too
        return outcome

    def _run(self) -> Outcome:
        threading.Thread(target=self._load, name="load", daemon=True).start()
        # The kernel's own interface: a selector would run fifteen functions more in each child.
        poll, link = select.poll(), self._link.fileno()
        poll.register(self._inbox.fileno(), select.POLLIN)
        poll.register(link, select.POLLIN)
        if self._sentinel is not None:
            poll.register(self._sentinel, select.POLLIN)
        while self._outcome is None:
            poll.modify(link, select.POLLIN | (select.POLLOUT if self._link.has_more else 0))
            ready = {descriptor for descriptor, _ in poll.poll(math.ceil(self._patience() * 1000))}
            self._turn(self._hear(heard=link in ready, gone=self._sentinel in ready))
        return self._outcome

    def _hear(self, *, heard: bool, gone: bool) -> list[pipe.FromParent]:
        """Return what the parent has said, if the process may still run; otherwise end the process.

        A process that got no time to run, as on a busy machine, has not heard yet that it may run longer. One
        whose time is over ends before it answers WhatsApp, dials, or closes anything.

        Args:
            heard: Whether the parent has said something, or is gone.
            gone: Whether the parent is gone.

        Raises:
            ParentGone: The parent is.
        """
        said: list[pipe.FromParent] = []
        if heard:
            try:
                said = self._link.receive()
            except ParentGone:
                gone = True
        for message in said:
            if isinstance(message, pipe.Extend):
                self._tenure.extend(message.until)
        self._tenure.check()
        if gone:
            raise ParentGone
        return said

    def leave(self, seconds: float) -> None:
        """Lose nothing that WhatsApp takes for delivered, however the run ends; from any thread."""
        rest = self._course.rest
        if rest is Rest.NOTHING or self._client is None:
            return
        if self._client.leave(seconds, closes=rest is Rest.LINK):
            self._tools.losses.end()
        else:
            log.info("not all was closed and handed over within %s", durations.words(seconds))

    def _patience(self) -> float:
        due = self._course.due
        at = min(one for one in (due, self._catching_up.due, self._next_beat) if one is not None)
        return self._tenure.limit(max(0.0, at - time.monotonic()))

    def _turn(self, said: list[pipe.FromParent]) -> None:
        self._link.pump()
        for message in said:
            match message:
                case pipe.Stop():
                    self._inbox.put(events.StopAsked())
                case pipe.StoreLost():
                    self._inbox.put(events.StoreLost())
                case pipe.Unlink():
                    self._inbox.put(events.UnlinkAsked())
                case pipe.Act(id, body):
                    self._inbox.put(events.ActAsked(id, asks.from_text(body)))
                case pipe.Send() | pipe.TakeBack() | pipe.Secrets():
                    self._tools.sender.order(message)
                case pipe.Fetch(id, media):
                    self._inbox.put(events.FetchAsked(id, media))
                case pipe.Taken(seq):
                    self._tools.intake.taken = seq
                case pipe.Extend():
                    pass  # see `_hear`
        for event in self._inbox.take():
            self._feed(event)
        now = time.monotonic()
        if self._course.due is not None and now >= self._course.due:
            self._do(self._course.tick(now))
        self._watch_link()
        if now >= self._next_beat and self._outcome is None:
            self._next_beat = now + HEARTBEAT_SECONDS
            self._beat(now)

    def _feed(self, event: events.Event) -> None:
        losses = self._tools.losses
        match event:  # what the course need not know
            case events.PhoneSeen(at):
                self._link.post(pipe.PhoneSeen(at))
                return
            case events.SecretMissing():
                self._tools.sender.secret_missing()
                return
            case events.Told(message):
                self._link.post(message)
                return
            case events.Repeated(id, sender, chat):
                losses.repeated(chat, sender, id)
                return
            case events.HistoryCopied():
                losses.copied()
                return
            case events.CaughtUp():
                losses.caught_up()
                self._catching_up.caught_up()
            case events.KeepAliveRestored():
                self._catching_up.caught_up()  # the link is the one of before
            case events.Loaded():
                self._next_beat = time.monotonic()  # only now is it known what is in the inbox
        if isinstance(event, _FROM_WHATSAPP):
            self._last_seen = time.time()
        elif isinstance(event, events.KeepAliveTimeout) and event.last_success is not None:
            self._last_seen = max(self._last_seen or 0.0, event.last_success)
        if isinstance(event, events.Connected) and self._client is not None:
            event = dataclasses.replace(event, phone=self._client.phone())
        self._do(self._course.feed(event, time.monotonic()))

    def _beat(self, now: float) -> None:
        logged_in = self._client is not None and self._client.logged_in
        callback = None if self._client is None else self._client.oldest_callback
        self._do(self._course.feed(events.Checked(logged_in, callback), now))
        if self._course.phase is Phase.ONLINE and logged_in:
            self._last_seen = max(self._last_seen or 0.0, time.time() - PING_SECONDS)
        read_at, phase = self._memory_at
        if now - read_at >= MEMORY_SECONDS or phase is not self._course.phase:
            self._memory, self._memory_at = proportional_memory(), (now, self._course.phase)
        self._post_heartbeat()
        self._tools.losses.beat(online=self._course.phase is Phase.ONLINE)
        self._clear(now)

    def _clear(self, now: float) -> None:
        """Have old messages deleted where that is due, whether there is a link or not."""
        if now < self._next_clearing or self._course.phase in _NO_CLEARING:
            return
        intake = self._tools.intake
        try:
            threading.Thread(target=self._delete_old, name="clear", daemon=True).start()
        except RuntimeError:  # there is no thread to be had: the next heartbeat tries again
            log.warning("old messages are not deleted yet: the system gives no thread")
        else:
            self._next_clearing = now + intake.clears_every

    def _delete_old(self) -> None:
        intake = self._tools.intake
        intake.clear()
        self._tools.sender.clear(intake.keep)

    def _post_heartbeat(self) -> None:
        intake = self._tools.intake
        self._link.post(
            pipe.Heartbeat(
                self._last_seen,
                self._memory,
                open_files(),
                intake.stored,
                intake.lost,
                intake.refused,
                self._tools.sender.waiting,
                intake.last_in_at,
                self._tools.sender.last_out_at,
            )
        )

    def _do(self, wanted: list[Step]) -> None:
        self._watch_link()
        for step in wanted:
            match step:
                case actions.Say(message):
                    self._link.post(message)
                case actions.End(outcome):
                    self._outcome = outcome
                case actions.SaveTraceback():
                    self._tools.save_traceback()
                case actions.FetchMedia(id, media):
                    self._tools.fetch(id, media)
                case actions.ShowQr(text, seconds):
                    self._show_qr(text, seconds)
                case actions.ShowLinkCode(code, seconds):
                    self._tools.hide(code)
                    self._tools.hide(code.replace("-", ""))
                    self._link.post(pipe.LinkCode(code, time.time() + seconds))
                case _:
                    self._instruct(step)

    def _instruct(self, step: Step) -> None:
        assert self._client is not None, "the course began without a client"
        match step:
            case actions.Dial():
                self._client.dial()
            case actions.AskLinkCode(phone):
                self._client.ask_link_code(phone)
            case actions.DoAct(id, ask):
                self._client.act(id, ask)
            case actions.Unlink():
                self._client.unlink()
            case actions.HangUp():
                self._tools.sender.stop()
                self._hang_up(self._client)

    def _watch_link(self) -> None:
        """Tell the sender whether the account may send, if that has changed."""
        is_online = self._course.phase is Phase.ONLINE
        may_send = self._catching_up.may_send(time.monotonic(), online=is_online)
        if may_send == self._may_send:
            return
        self._may_send = may_send
        if may_send and self._client is not None:
            own = self._client.own_addresses()
            if own:
                device, number = loss.device_of(own[0]), session_secrets.number_of(own[0])
                self._tools.sender.online(device, number)
            else:
                self._tools.sender.online("")
        else:
            self._tools.sender.offline()

    def _hang_up(self, client: Dialler) -> None:
        """Close the link as soon as what is being sent has been taken, or not in time."""

        def finish() -> None:
            self._tools.sender.finish(FINISH_SECONDS)
            client.hang_up(CLOSE_SECONDS)

        try:
            threading.Thread(target=finish, name="finish", daemon=True).start()
        except RuntimeError:  # there is no thread to be had
            client.hang_up(CLOSE_SECONDS)

    def _show_qr(self, text: str, seconds: float) -> None:
        self._tools.hide(text)
        issued_at = time.time()
        expires_at = issued_at + seconds
        png = self._tools.render(text, expires_at)
        self._link.post(pipe.Code(text, png, issued_at, expires_at))

    def _load(self) -> None:
        # Assigned before the event that makes the loop use it.
        self._client, begin = self._tools.load()
        self._inbox.put(begin)


def open_files() -> int | None:
    """Return how many files this process has open, None if that cannot be told."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - and one to look
    except OSError:
        return None


def proportional_memory() -> int:
    """Return the bytes of memory that are this process's own, with its share of what others use too (PSS)."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
