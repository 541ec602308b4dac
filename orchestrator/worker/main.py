"""What runs in a child's process, from its first moment to its exit. Importing it does not load neonize."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from orchestrator.accounts import pipe
from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.deadlines import FLUSH_SECONDS, OUTPUT_SECONDS
from orchestrator.accounts.failure import EXIT_CODES, Kind, Outcome
from orchestrator.accounts.proxy import ProxyError, environment_proxy, secrets
from orchestrator.messages.files import FileMessages
from orchestrator.messages.protocols import AccountMessages
from orchestrator.messages.remote import Channel, RemoteMessages
from orchestrator.store.codes import draw
from orchestrator.system import cores, memory, multiprocess_private, title
from orchestrator.system.os_errors import shortage
from orchestrator.system.redaction import redact
from orchestrator.worker import confining, events, outcomes, proxy, session_check, session_secrets
from orchestrator.worker.intake import Intake, open_inbox
from orchestrator.worker.last_call import LastCall
from orchestrator.worker.library import loading, package
from orchestrator.worker.library.lines import Scrubber, login_line
from orchestrator.worker.loop import Dialler, Loop, Tools
from orchestrator.worker.losses import Losses
from orchestrator.worker.machine import Course
from orchestrator.worker.media import account
from orchestrator.worker.output import Output, open_log
from orchestrator.worker.pipe import Connection, Link, ParentGone
from orchestrator.worker.queue import Inbox
from orchestrator.worker.seal import Seal
from orchestrator.worker.sending import beginning
from orchestrator.worker.sending.sender import Sender
from orchestrator.worker.spec import ChildSpec
from orchestrator.worker.tenure import Tenure
from orchestrator.worker.traceback_file import Trace

log = logging.getLogger(__name__)


def run(spec: ChildSpec, connection: Connection) -> NoReturn:
    """Run one account until its connection's life is over, and exit with that end's code.

    The last message is `Ended`, unless the parent is gone or the process dies.

    Args:
        spec: What to run.
        connection: The child's end of a duplex pipe.
    """
    os.umask(0o077)
    multiprocess_private.leave_helpers()
    cores.open_to_self()  # whoever made it may have closed it, and what follows writes there
    memory.stand_before_the_parent()
    # As a log would show it: everybody on the machine can list processes, and a name may be a phone number.
    title.show(redact(f"wa:{spec.name}"), redact(f"orchestrator: {spec.name}"))
    inbox = Inbox()
    _set_signals(inbox)
    last_call = LastCall()
    trace = Trace.open(spec.trace)
    scrubber = Scrubber(secrets(spec.proxy or environment_proxy(os.environ) or ""))
    if spec.dsn is not None:
        scrubber.add(spec.dsn)
        scrubber.add(parse_qs(urlsplit(spec.dsn).query)["password"][0])
    level = logging.getLevelNamesMapping().get(spec.log_level.upper(), logging.WARNING)
    open_log(spec.name, level, spec.log_format, scrubber)
    if trace.error is not None:
        log.warning("there will be no traceback should this process hang: %s", trace.error)
    # While there is no other thread, and before a byte comes from outside.
    confined = confining.confine(spec)
    output = Output(lambda line: _hear(line, inbox), last_call)
    try:
        output.catch()
    except RuntimeError as error:  # there is no thread to be had
        log.error("the process cannot begin: %s", shortage(error) or error)
        os._exit(EXIT_CODES[Kind.MACHINE])
    kind = Kind.CRASH
    try:
        link = Link(connection)
        outcome = _outcome(spec, confined, link, inbox, scrubber, trace, level, last_call)
        kind = outcome.kind
        ended = pipe.Ended(kind, scrubber.clean(outcome.text), outcome.code, outcome.expire)
        log.info("ended: %s: %s", kind, ended.text)
        link.post(ended)
        link.flush(FLUSH_SECONDS)
    except ParentGone:
        kind = Kind.STOPPED
    except BaseException:  # nothing may get past the exit: Go's threads would go on
        log.critical("an error at the end", exc_info=True)
    finally:
        output.flush(OUTPUT_SECONDS)
        os._exit(EXIT_CODES[kind])


def _outcome(
    spec: ChildSpec,
    confined: confining.Confined,
    link: Link,
    inbox: Inbox,
    scrubber: Scrubber,
    trace: Trace,
    level: int,
    last_call: LastCall,
) -> Outcome:
    try:
        intake = Intake(None, spec.keeps, inbox.put, spec.messages, _messages(spec))
        intake.taken = spec.taken
        intake.watcher = losses = Losses(intake, spec.keeps)
        sender = Sender(spec.messages, spec.sending, intake, lambda message: inbox.put(events.Told(message)))
        tenure = Tenure(spec.until)
        tools = Tools(
            load=lambda: _load(spec, confined, inbox, link, level, intake, losses, sender, tenure),
            render=draw.render,
            hide=scrubber.add,
            save_traceback=trace.save,
            fetch=_attachments(spec, intake, inbox),
            intake=intake,
            losses=losses,
            sender=sender,
        )
        course = Course(
            phone=spec.phone,
            remembered=spec.remembered,
            pairing=spec.pairing,
            in_database=spec.dsn is not None,
        )
        loop = Loop(course, link, inbox, _parent_sentinel(), tools, tenure)
        last_call.arm(loop.leave)
        outcome = loop.run()
        return outcomes.by_way(outcome, _way(spec))
    except ParentGone:
        raise
    except Exception as error:
        lack = shortage(error)
        if lack is not None:
            return Outcome(Kind.MACHINE, lack)
        log.exception("an error in the process")
        return outcomes.connect_raised(f"{type(error).__name__}: {error}", known=False)


def _messages(spec: ChildSpec) -> AccountMessages | None:
    """Return where the account's messages are kept, None if it has none."""
    if spec.messages is None:
        return None
    return FileMessages(spec.messages) if spec.storing is None else RemoteMessages(Channel(spec.storing))


def _attachments(spec: ChildSpec, intake: Intake, inbox: Inbox) -> Callable[[int, str], None]:
    """Have attachments fetched and deleted as the inbox wants; return what fetches one that is asked for."""
    if spec.messages is None:
        return lambda number, _: inbox.put(events.FetchEnded(number, Fault.UNKNOWN))
    kept = intake.messages or FileMessages(spec.messages)
    fetcher = account.fetcher(spec.messages, kept, spec.keeps, spec.proxy, inbox.put)
    intake.on_media, intake.on_clear = fetcher.arrived, fetcher.tidy
    return fetcher.ask


def _load(
    spec: ChildSpec,
    confined: confining.Confined,
    inbox: Inbox,
    link: Link,
    level: int,
    intake: Intake,
    losses: Losses,
    sender: Sender,
    tenure: Tenure,
) -> tuple[Dialler | None, events.Loaded | events.LoadFailed]:
    """Make the session ours, then load the library: nothing else may touch the session before."""
    try:
        if confined.outcome is not None:
            return None, events.LoadFailed(confined.outcome)
        proxy.find(spec.proxy, os.environ)
        if spec.pairing == "code" and not spec.phone:
            return None, _failed(
                Kind.CONFIG, "pairing by code needs the account's phone in the configuration"
            )
        session_check.hold(spec.lock)
        stored = _stored(spec)
        intake.inbox = open_inbox(spec.messages, spec.keeps, intake.messages)
        sent = _sent(spec, intake.messages)
        if spec.dsn is None:
            losses.look(partial(session_secrets.read, spec.database))
        elif isinstance(intake.messages, RemoteMessages):
            losses.settle(sent)
            losses.look(intake.messages.heard)
        sender.open(sent)
        link.post(pipe.Loading(confined.missing))
        why = _load_library(link, spec.library)
        if why is not None:
            return None, _failed(Kind.MACHINE, why)
        from orchestrator.worker.library.client import Client, ClientSettings

        settings = ClientSettings(
            spec.name,
            spec.database,
            spec.device_name,
            spec.proxy,
            level,
            rejects_calls=spec.keeps.calls == "reject",
            dsn=spec.dsn,
            hold=tenure.hold,
        )
        client = Client(settings, inbox.put, intake)
        losses.listen(client)
        sender.start(client)
        return client, events.Loaded(stored.paired, stored.phone)
    except session_check.SessionUnusable as error:
        return None, events.LoadFailed(error.outcome)
    except ProxyError as error:
        return None, _failed(Kind.CONFIG, str(error))
    except ParentGone:
        return None, events.LoadFailed(outcomes.stopped())
    except Exception as error:
        lack = shortage(error)
        if lack is not None:
            return None, _failed(Kind.MACHINE, f"neonize cannot be loaded: {lack}")
        log.exception("an error while loading")
        outcome = outcomes.connect_raised(f"{type(error).__name__}: {error}", known=False)
        return None, events.LoadFailed(outcome)


def _sent(spec: ChildSpec, messages: AccountMessages | None) -> beginning.Look:
    """Return what looks into the session for what an earlier process was sending."""
    if spec.dsn is None:
        return beginning.in_file(spec.database)
    return messages.left if isinstance(messages, RemoteMessages) else beginning.nowhere


def _stored(spec: ChildSpec) -> session_check.Stored:
    """Return what is known of the session: the service has looked if it is in a database.

    Raises:
        SessionUnusable: The session's file cannot be used.
    """
    if spec.dsn is None:
        return session_check.prepare(spec.database)
    return session_check.Stored(spec.stored is not None, spec.stored or None)


def _way(spec: ChildSpec) -> str | None:
    with contextlib.suppress(ProxyError):
        way = proxy.find(spec.proxy, os.environ)
        return None if way is None else str(way)
    return None


def _load_library(link: Link, seal: Seal | None) -> str | None:
    """Load neonize; return what keeps it from being loaded, with what to do, None if nothing does."""
    try:
        loading.prepare()
        loading.expect(seal)
        with package.without_shell():
            import orchestrator.worker.library.client  # noqa: F401 - this is what loads it

        # Only now, and only here: it starts Go's threads.
        loading.complete()
    except BaseException as error:  # a module may raise anything, and even want to exit
        if shortage(error) is None:
            link.post(pipe.NotLoaded())
        if isinstance(error, package.LibraryChangedError | package.LibraryAlteredError):
            return str(error)
        if shortage(error) is None:
            log.error("neonize cannot be loaded", exc_info=True)
        from orchestrator.worker.library.diagnosis import diagnose

        return diagnose(error).text
    return None


def _failed(kind: Kind, text: str) -> events.LoadFailed:
    return events.LoadFailed(Outcome(kind, text))


def _hear(line: str, inbox: Inbox) -> None:
    event = login_line(line)
    if event is not None:
        inbox.put(event)


def _set_signals(inbox: Inbox) -> None:
    """Undo what was inherited; SIGTERM means Stop, and the rest of what a terminal sends is the parent's."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(events.StopAsked()))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _parent_sentinel() -> int | None:
    # Of the real parent also where a fork server stands between.
    from multiprocess import parent_process

    parent: Any = parent_process()
    return None if parent is None else int(parent.sentinel)
