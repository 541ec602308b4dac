"""Makes the reader, and another one when it died. It is small, and made before the gateway is anything.

    gateway ── fork ── maker ── fork ── reader

The maker has loaded the definitions of WhatsApp's messages, which readers share with it. It reads nothing
that a stranger has sent. A reader that dies or hangs is one process; the next one is there after a fork.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from orchestrator.control.companions import GatewaySpec
from orchestrator.errors import OrchestratorError
from orchestrator.system.inotify import open_watch

ORDER: Final = b"reader %d %d"
"""Asks for a new reader: a number that the reply repeats, and a place, where the reader before is ended."""
MAX_REPLY: Final = 4096
"""Bytes of what the maker says."""
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class ReaderHandle:
    """The gateway's end of the process that makes readers.

    Attributes:
        pid: That process.
        control: Where it takes orders; closed, it ends, and the reader with it.
        watch: Tells what happens to the messages, see `inotify.open_watch`.
    """

    pid: int
    control: socket.socket = field(repr=False)
    watch: int | None = None


def start_reader(spec: GatewaySpec) -> ReaderHandle:
    """Start the process that makes readers. Call it first of all: before threads, asyncio and large imports.

    Args:
        spec: The gateway's.

    Raises:
        OSError: There is no process to be had.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _run(spec, theirs)
    theirs.close()
    # A confined process may make no watches.
    return ReaderHandle(pid, ours, open_watch(spec.messages))


def _run(spec: GatewaySpec, control: socket.socket) -> NoReturn:
    """Be the maker."""
    status = 1
    try:
        for one in _IGNORED:  # the gateway ends first, and what is on its way is read to the end
            signal.signal(one, signal.SIG_IGN)
        _close_all_but(control.fileno())
        _Maker(spec, control).run()
        status = 0
    except BaseException as error:  # noqa: BLE001 - this is the end of the process
        _complain(error)
    os._exit(status)


class _Maker:
    """The maker.

    Args:
        spec: The gateway's.
        control: Where orders come from.
    """

    def __init__(self, spec: GatewaySpec, control: socket.socket) -> None:
        self._spec = spec
        self._control = control
        self._readers: dict[int, int] = {}  # by place
        self._lack = self._prepare()

    def run(self) -> None:
        """Make a reader for each order, until the gateway is gone."""
        while order := self._control.recv(64).split():
            number, place = map(int, order[1:])
            self._reply(number, place, self._end(place))
        for place in list(self._readers):
            self._end(place)

    def _prepare(self) -> dict[str, Any] | None:
        """Load what readers need, and give up everything else; return why there can be none, if so."""
        from orchestrator.gateway import confining
        from orchestrator.gateway.reader import serving  # noqa: F401 - readers share it
        from orchestrator.worker.library import protobufs

        try:
            protobufs.load()
            confining.confine_maker(self._spec)
        except OrchestratorError as error:
            return {"error": str(error)[:1000], "key": error.key}
        gc.collect()
        gc.freeze()  # pages that nobody writes to are shared
        return None

    def _end(self, place: int) -> int | None:
        """End the reader of a place, if there is one; return the status with which it ended."""
        pid = self._readers.pop(place, None)
        if pid is None:
            return None
        os.kill(pid, signal.SIGKILL)  # no harm to one that is dead and not yet waited for
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _reply(self, order: int, place: int, ended: int | None) -> None:
        if self._lack is not None:
            self._say({"order": order, **self._lack})
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        kept, keepers = socket.socketpair()  # to whoever keeps the messages, if they are not in files
        with ours, theirs, kept, keepers:
            try:
                pid = os.fork()
            except OSError as error:
                why = f"there is no process to be had ({error.strerror})"
                self._say({"order": order, "error": why, "key": "machine_unfit"})
                return
            if pid == 0:
                _read(self._spec, theirs, kept)
            self._readers[place] = pid
            sockets = (ours, keepers) if self._spec.stored else (ours,)
            self._say({"order": order, "pid": pid, "ended": ended}, *(one.fileno() for one in sockets))

    def _say(self, reply: dict[str, Any], *descriptors: int) -> None:
        socket.send_fds(self._control, [json.dumps(reply).encode()], descriptors)


def _read(spec: GatewaySpec, sock: socket.socket, kept: socket.socket) -> NoReturn:
    """Be a reader."""
    from orchestrator.gateway import confining
    from orchestrator.gateway.reader import serving

    status = 1
    try:
        _close_all_but(sock.fileno(), *([kept.fileno()] if spec.stored else []))
        confining.confine_reader(spec)
        serving.serve(sock, spec.messages, kept if spec.stored else None)
        status = 0
    except BaseException as error:  # noqa: BLE001 - this is the end of the process
        _complain(error)
    os._exit(status)


def _close_all_but(*kept: int) -> None:
    """Close what this process has open beside its three first files: others wait for the end of those."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - of this process
        if (descriptor := int(name)) > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _complain(error: BaseException) -> None:
    """Write which error it was, and where: what it says may quote what a stranger has sent."""
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119
        trace = trace.tb_next
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"the gateway's reader ends: {type(error).__name__} in {place}\n")
        sys.stderr.flush()
