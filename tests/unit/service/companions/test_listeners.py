"""Where the gateway listens, on real sockets."""

from __future__ import annotations

import functools
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_port

from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import Http, Listen, Systemd, Tcp, Unix
from orchestrator.service.companions import gateway
from orchestrator.service.companions.listeners import Listener, Listeners
from orchestrator.system import sd_listen


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as name:
        yield Path(name)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners((), lambda: 1)
    yield made
    made.close()


def test_tcp_and_ipv6_and_unix_are_listened_on(listeners: Listeners, folder: Path) -> None:
    wanted: list[Listen] = [
        Tcp("127.0.0.1", free_port()),
        Tcp("::1", free_port("::1")),
        Unix(folder / "api.sock"),
    ]
    assert listeners.open(wanted)
    assert not listeners.problems
    assert [one.address for one in listeners.all()] == [str(one) for one in wanted]
    assert [one.kind for one in listeners.all()] == ["tcp", "tcp", "unix"]
    for one in listeners.all():
        with socket.socket(one.socket.family) as client:
            client.connect(str(folder / "api.sock") if one.kind == "unix" else one.socket.getsockname())
            one.socket.accept()[0].close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_others_reach_is_opened_once_there_is_a_token(host: str) -> None:
    tokens = [0]
    made = Listeners((), lambda: tokens[0])
    outside, inside = Tcp(host, free_port()), Tcp("127.0.0.1", free_port())
    try:
        assert made.open([outside, inside])
        assert [one.address for one in made.all()] == [str(inside)]
        (problem,) = made.problems
        assert f"the gateway cannot listen on {outside}" in problem
        assert "there is no token" in problem
        assert not made.open([outside, inside])
        tokens[0] = 1
        assert made.open([outside, inside])
        assert not made.problems
        tokens[0] = 0
        assert not made.open([outside, inside]), "what is open stays open: nobody is let in without a token"
    finally:
        made.close()


def test_nothing_is_opened_again_unless_it_changed(listeners: Listeners, folder: Path) -> None:
    first, second = Tcp("127.0.0.1", free_port()), Unix(folder / "api.sock")
    listeners.open([first, second])
    before = {one.address: (one.number, one.socket) for one in listeners.all()}
    assert not listeners.open([second, first])
    assert {one.address: (one.number, one.socket) for one in listeners.all()} == before
    assert listeners.open([second])
    (left,) = listeners.all()
    assert (left.number, left.socket) == before[left.address]
    assert listeners.open([first, second])
    assert {one.number for one in listeners.all()} != {number for number, _ in before.values()}


def test_a_unix_socket_is_for_its_owner_and_takes_the_place_of_a_stale_one_only(
    listeners: Listeners, folder: Path
) -> None:
    path = folder / "api.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    assert listeners.open([Unix(path)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = Listeners()
    other.open([Unix(path)])
    assert "another service" in other.problems[0]
    other.close()
    assert path.exists()
    listeners.close()
    assert not path.exists()
    path.write_text("mine")
    listeners.open([Unix(path)])
    assert "another file" in listeners.problems[0]
    assert path.read_text() == "mine"


def test_a_socket_that_somebody_removed_is_made_anew(listeners: Listeners, folder: Path) -> None:
    path = folder / "api.sock"
    listeners.open([Unix(path)])
    (before,) = listeners.all()
    path.unlink()
    assert listeners.open([Unix(path)])
    (after,) = listeners.all()
    assert after.number != before.number
    assert path.exists()


def test_who_looks_at_the_sockets_does_not_mind_that_another_thread_closes_one(
    listeners: Listeners, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Listen] = [Unix(folder / "one.sock"), Unix(folder / "two.sock")]
    listeners.open(wanted)

    class Meanwhile(Listener):
        def __init__(self, *values: Any) -> None:  # noqa: ANN401
            listeners.open([])
            super().__init__(*values)

    monkeypatch.setattr("orchestrator.service.companions.listeners.Listener", Meanwhile)
    assert [one.address for one in listeners.all()] == [str(one) for one in wanted]


def test_what_cannot_be_opened_is_said_once_and_tried_again(
    listeners: Listeners, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        for _ in range(3):
            assert not listeners.open([Tcp("127.0.0.1", port)])
    assert "another program" in listeners.problems[0]
    assert len(caplog.records) == 1
    assert listeners.open([Tcp("127.0.0.1", port), Tcp("192.0.2.1", port), Unix(folder / "no" / "api.sock")])
    assert len(listeners.problems) == 2
    assert "does not have that address" in listeners.problems[0]


def test_systemd_hands_over_what_listens_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listening, socket.socket(socket.AF_UNIX) as unbound:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        first = max(listening.fileno(), unbound.fileno()) + 10
        os.dup2(listening.fileno(), first)
        os.dup2(unbound.fileno(), first + 1)
        monkeypatch.setattr(sd_listen, "FIRST", first)
        environ = {"LISTEN_FDS": "3", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "a", "HOME": "/"}
        given = sd_listen.take(environ)
        assert environ == {"HOME": "/"}
        assert [one.getsockname() for one in given] == [listening.getsockname()]
        assert not given[0].get_inheritable()
        listeners = Listeners(given)
        assert listeners.open([Systemd()])
        (one,) = listeners.all()
        assert one.kind == "systemd"
        assert one.address == f"127.0.0.1:{listening.getsockname()[1]}"
        assert listeners.open([])
        assert "does not name them" in listeners.problems[0]
        assert listeners.open([Systemd()])
        assert not listeners.problems
        settings = Settings(Path("/c"), Path("/s"), Path("/q"), http=Http(listen=(Systemd(),)))
        handed = gateway.of(settings, listeners.given).http
        assert handed == Http(listen=(Tcp("127.0.0.1", listening.getsockname()[1]),))
        listeners.close()
    with socket.socket() as open_to_all:
        open_to_all.bind(("0.0.0.0", 0))
        open_to_all.listen()
        for tokens, opened in ((0, False), (1, True)):
            exposed = Listeners([open_to_all.dup()], functools.partial(int, tokens))
            assert exposed.open([Systemd()]) == opened
            assert opened or "there is no token" in exposed.problems[0]
            exposed.close()
    nobody = Listeners()
    nobody.open([Systemd()])
    assert "systemd has handed over no socket" in nobody.problems[0]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "-1", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "²", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_sockets_for_another_process_are_none_of_ours(environ: dict[str, str]) -> None:
    assert sd_listen.take(environ) == []
    assert not environ
