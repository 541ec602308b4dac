"""How each kind of fault is made. Every function returns when nothing but the service stands in the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.chance import Value
from benchmarks.soak import processes
from benchmarks.soak.kinds import PHASES
from benchmarks.soak.observation import Attention, Finding
from benchmarks.soak.world import GATEWAY, TROUBLED, Skipped, World
from orchestrator.errors import ExitCode
from orchestrator.store.sessions import files as session_files

Names = Sequence[str]
Values = Mapping[str, Value]
Do = Callable[[World, Names, Values], None]

ORPHAN_SECONDS = 10.0
"""Seconds within which nothing may be left of a service that was killed: 2 on an idle machine."""
GATEWAY_SECONDS = 30.0
"""Seconds for which a fault waits for a gateway that it can strike."""
FROZEN_SECONDS = 1.0
"""Seconds after which whoever has stopped a process lets it go on, once its parent is gone."""
_POLL = 0.05


# WhatsApp and the network


def _reset(world: World, names: Names, _: Values) -> None:
    world.fault("reset", world.numbers[names[0]])


def _close(world: World, names: Names, _: Values) -> None:
    world.fault("close", world.numbers[names[0]])


def _stream_error(world: World, names: Names, values: Values) -> None:
    world.fault("stream-error", world.numbers[names[0]], code=values["code"])


def _unreachable(world: World, names: Names, values: Values) -> None:
    world.fault("refuse", f"proxy:{names[0]}", seconds=values["seconds"])
    world.pause(values["seconds"])


def _http(world: World, names: Names, values: Values) -> None:
    waits = world.fault("http", f"proxy:{names[0]}", times=values["times"], status=503)
    _meet(world, names, waits)


def _hang(world: World, names: Names, values: Values) -> None:
    world.fault("hang", f"proxy:{names[0]}", phase=PHASES[int(values["phase"])])
    # A new process meets it: of one that is online the library would try for longer.
    _kill(world, names)


def _silence(world: World, names: Names, values: Values) -> None:
    seconds = float(values["seconds"])
    world.fault("blackhole", world.numbers[names[0]], seconds=seconds)
    world.silence([*names], seconds)
    world.pause(seconds)


def _slow(world: World, names: Names, values: Values) -> None:
    world.fault("slow", world.numbers[names[0]], seconds=values["seconds"], delay=values["late"])
    world.pause(values["seconds"])


def _refuse_login(world: World, names: Names, values: Values) -> None:
    told = {key: value for key, value in values.items() if key != "delay"}
    waits = world.fault("failure", world.numbers[names[0]], **told)
    _meet(world, names, waits)


def _meet(world: World, names: Names, waits: int) -> None:
    """Have an account dial, so that it meets the fault that waits for it; or nobody may meet it later."""
    try:
        _reset(world, names, {})
    except BaseException:
        world.sandbox.client.clear_faults(waits)
        raise


def _ban(world: World, names: Names, values: Values) -> None:
    world.expect_ban(names[0], float(values["expire"]))
    _refuse_login(world, names, {"reason": 402, **values})


def _logout(world: World, names: Names, _: Values) -> None:
    with world.part(names[0], "logged_out"):
        world.fault("logged-out", world.numbers[names[0]])


def _logout_at_login(world: World, names: Names, _: Values) -> None:
    with world.part(names[0], "logged_out"):
        _refuse_login(world, names, {"reason": 401})


def _locked(world: World, names: Names, values: Values) -> None:
    with world.part(names[0], "locked"):
        _refuse_login(world, names, values)


def _replaced(world: World, names: Names, _: Values) -> None:
    world.fault("replaced", world.numbers[names[0]])


def _reset_all(world: World, _: Names, __: Values) -> None:
    world.fault("reset", "all")


def _outage(world: World, _: Names, values: Values) -> None:
    world.fault("refuse", "all", seconds=values["seconds"])
    world.pause(values["seconds"])


def _silence_all(world: World, names: Names, values: Values) -> None:
    seconds = float(values["seconds"])
    world.fault("blackhole", "all", seconds=seconds)
    world.silence([*names], seconds)
    world.pause(seconds)


def _kill_sandbox(world: World, _: Names, values: Values) -> None:
    world.restart_sandbox(values["seconds"])


# The machine


def _signal(world: World, name: str, number: signal.Signals) -> None:
    account = (world.latest.accounts or {}).get(name)
    if account is None or account.pid is None:
        raise Skipped(f"{name} has no process")
    try:
        os.kill(account.pid, number)
    except ProcessLookupError:
        raise Skipped(f"the process of {name} is gone") from None


def _kill(world: World, names: Names) -> None:
    _signal(world, names[0], signal.SIGKILL)


def _kill_child(world: World, names: Names, _: Values) -> None:
    _kill(world, names)


def _kill_children(world: World, names: Names, _: Values) -> None:
    for name in names:
        with contextlib.suppress(Skipped):
            _signal(world, name, signal.SIGKILL)


def _stop_child(world: World, names: Names, _: Values) -> None:
    _signal(world, names[0], signal.SIGSTOP)


def _pause_child(world: World, names: Names, values: Values) -> None:
    _signal(world, names[0], signal.SIGSTOP)
    world.pause(values["seconds"])
    with contextlib.suppress(Skipped):
        _signal(world, names[0], signal.SIGCONT)


def _kill_fork_server(world: World, names: Names, _: Values) -> None:
    own = world.service.running_pid
    servers = [
        one.pid for one in processes.marked(world.mark) if one.parent == own and "forkserver" in one.command
    ]
    if not servers:
        raise Skipped("there is no fork server")
    for pid in servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    world.order("restart", names=[*names])


def _gateway(world: World, number: signal.Signals) -> None:
    deadline = time.monotonic() + GATEWAY_SECONDS
    while True:  # the service may have been killed just now
        own = world.service.running_pid
        found = [
            one.pid for one in processes.marked(world.mark) if one.parent == own and GATEWAY in one.command
        ]
        if found:
            break
        if time.monotonic() > deadline:
            raise Skipped("there is no gateway")
        world.pause(_POLL)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill_gateway(world: World, _: Names, __: Values) -> None:
    _gateway(world, signal.SIGKILL)


def _stop_gateway(world: World, _: Names, __: Values) -> None:
    _gateway(world, signal.SIGSTOP)


def _receiver_away(world: World, _: Names, values: Values) -> None:
    receiver = world.receivers[TROUBLED]
    receiver.die()
    world.pause(values["seconds"])
    receiver.come_back()


def _receiver_fails(world: World, _: Names, values: Values) -> None:
    receiver = world.receivers[TROUBLED]
    receiver.status = int(values["status"])
    world.pause(values["seconds"])
    receiver.status = 204


def _receiver_hangs(world: World, _: Names, values: Values) -> None:
    receiver = world.receivers[TROUBLED]
    receiver.hangs = True
    world.pause(values["seconds"])
    receiver.hangs = False


def _kill_service(world: World, _: Names, values: Values) -> None:
    world.kill_service()
    _nothing_left(world)
    before = _sessions(world)
    world.pause(values["seconds"])
    if _sessions(world) != before:
        world.found(Finding("written to", None, "a session, while no process of the service was there"))
    world.start_service()


def _stop_service(world: World, _: Names, values: Values) -> None:
    end_service(world)
    world.pause(values["seconds"])
    world.start_service()


def end_service(world: World) -> None:
    """Stop the service in good order, and see that nothing is left of it."""
    code = world.stop_service()
    if code != ExitCode.DONE:
        world.found(Finding("stop", None, f"the service ended with exit code {code}"))
    _nothing_left(world)
    if left := [path.name for path in world.service.paths.qr.iterdir()]:
        world.found(Finding("picture left", None, f"by a service that has stopped: {left}"))


def _nothing_left(world: World) -> None:
    """Wait until all processes have ended by themselves; say which have not in time, and end them."""
    clock = Attention(time.monotonic)
    while True:
        left = list(processes.marked(world.mark))
        now = clock.look()
        if not left:
            world.orphan_seconds.append(now)
            return
        for one in left:
            if one.state == "T" and now > FROZEN_SECONDS:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGCONT)
        if now > ORPHAN_SECONDS:
            pids = [one.pid for one in left]
            world.found(Finding("orphan", None, f"{ORPHAN_SECONDS:.0f} s after the service's end: {pids}"))
            world.end_processes()
            return
        time.sleep(_POLL)


def _sessions(world: World) -> dict[str, str]:
    """Return the digests of all session files."""
    return {
        f"{name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for name in world.names
        for file in session_files(world.service.paths.session(name))
        if file.exists()
    }


# The operator


def _stop_start(world: World, names: Names, values: Values) -> None:
    world.wish(names[0], None)
    world.order("stop", names=[*names])
    world.wish(names[0], "stopped")
    world.pause(values["seconds"])
    world.wish(names[0], "run")
    world.order("start", names=[*names])


def _restart(world: World, names: Names, _: Values) -> None:
    world.order("restart", names=[*names])


def _restart_all(world: World, _: Names, __: Values) -> None:
    world.order("restart", all=True)


def _repair(world: World, names: Names, _: Values) -> None:
    with world.part(names[0], "repair"):
        world.order("repair", name=names[0])


def _change(world: World, names: Names, _: Values) -> None:
    world.configure(names[0], device_name=f"Soak {len(world.records)}")


def _disable(world: World, names: Names, values: Values) -> None:
    world.wish(names[0], None)
    world.configure(names[0], enabled=False)
    world.wish(names[0], "disabled")
    world.pause(values["seconds"])
    world.wish(names[0], "run")
    world.configure(names[0], enabled=True)


def _remove_add(world: World, names: Names, _: Values) -> None:
    (name,) = names
    with world.config_lock:
        world.wish(name, None)
        with world.part(name, "removed"):
            _insist(world, ExitCode.NO_SUCH_ACCOUNT, "remove", name, "--yes", "--no-unlink")
        world.wish(name, "removed")
        world.wish(name, None)
        _insist(world, None, "add", name, "--proxy", world.proxy(name))
        world.write_config()  # as it was, but for the order
        world.order("reload")
    world.wish(name, "run")


def _insist(world: World, done_before: int | None, *arguments: str) -> None:
    """Give a command until it is done: the service may be killed at any moment."""
    for _ in range(5):
        done = world.command(*arguments)
        if done.returncode in (ExitCode.DONE, done_before):
            return
        if "Traceback" in done.stderr:
            break
        if arguments[0] == "add" and "already" in done.stderr:
            return
        world.order("ping")
    world.found(Finding("command", None, f"{arguments[0]}: {done.returncode}: {done.stderr[-300:]}"))


def _bad_reload(world: World, _: Names, __: Values) -> None:
    if not world.reload_fails():
        world.found(Finding("command", None, "a reload with a configuration that is not valid succeeded"))


DO: dict[str, Do] = {
    "reset": _reset,
    "close": _close,
    "stream-error": _stream_error,
    "unreachable": _unreachable,
    "http-503": _http,
    "hang": _hang,
    "silence": _silence,
    "slow": _slow,
    "unavailable": _refuse_login,
    "refused": _refuse_login,
    "go-crash": _refuse_login,
    "logout": _logout,
    "logout-at-login": _logout_at_login,
    "locked": _locked,
    "ban": _ban,
    "replaced": _replaced,
    "kill-child": _kill_child,
    "stop-child": _stop_child,
    "pause-child": _pause_child,
    "kill-fork-server": _kill_fork_server,
    "stop-start": _stop_start,
    "restart": _restart,
    "repair": _repair,
    "change": _change,
    "disable": _disable,
    "remove-add": _remove_add,
    "bad-reload": _bad_reload,
    "kill-children": _kill_children,
    "reset-all": _reset_all,
    "outage": _outage,
    "silence-all": _silence_all,
    "kill-gateway": _kill_gateway,
    "stop-gateway": _stop_gateway,
    "receiver-away": _receiver_away,
    "receiver-fails": _receiver_fails,
    "receiver-hangs": _receiver_hangs,
    "kill-sandbox": _kill_sandbox,
    "kill-service": _kill_service,
    "stop-service": _stop_service,
    "restart-all": _restart_all,
}
"""What makes each kind."""
