"""Accounts that go different ways out, with the real library: a way is down for its own accounts alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from support.proxies import ClosedProxy
from support.service import QUICK, Accounts, Json, Service

from orchestrator.sandbox.process import SandboxProcess

PATIENT: Json = {"base": "1h", "max": "1h"}
"""A back-off that is not to be waited for."""


@contextmanager
def dead_port() -> Iterator[int]:
    """A port on 127.0.0.1 where nobody listens, and nobody else will: connections are refused."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def ends(service: Service, name: str) -> list[str]:
    """Return when an account's tries have ended, oldest first."""
    return [entry["at"] for entry in service.timeline(name) if entry["to"] in ("backoff", "failed")]


def began(service: Service, name: str, state: str) -> str:
    """Return when an account first was in a state."""
    return str(next(entry["at"] for entry in service.timeline(name) if entry["to"] == state))


def test_broken_proxies_are_the_trouble_of_their_own_accounts(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(ClosedProxy("silence")).port for _ in range(2)]
        dead = [stack.enter_context(dead_port()) for _ in range(4)]
        shared, strict = stack.enter_context(dead_port()), stack.enter_context(ClosedProxy("password")).port
        accounts: dict[str, Json] = {
            f"silent{number}": {"proxy": f"http://ada:geheim@127.0.0.1:{port}", "backoff": QUICK}
            for number, port in enumerate(silent)
        }
        for number, port in enumerate(dead):
            accounts[f"dead{number}"] = {"proxy": f"socks5://ada:geheim@127.0.0.1:{port}"}
        for number in range(3):
            accounts[f"shared{number}"] = {"proxy": f"http://user{number}:geheim@127.0.0.1:{shared}"}
        accounts["wrong"] = {"proxy": f"socks5://ada:geh%40eim@127.0.0.1:{strict}"}
        accounts["wrong-too"] = {"proxy": f"http://ada:geh%40eim@127.0.0.1:{strict}"}
        accounts["direct"] = {}
        service = stack.enter_context(Service(folder, sandbox, start=False))
        given = {"start": {"parallel": 2, "spread": "0s"}, "defaults": {"backoff": PATIENT}}
        service.configure(accounts, **given)
        service.start()
        service.pair("direct", make_number())

        # All others have come before it; those that get no answer have kept it from nothing for long.
        for name in ("silent0", "silent1"):
            assert ([*ends(service, name)[1:2], "9999"])[0] > began(service, "direct", "pairing")

        def settled(found: Accounts) -> bool:
            others = [one for name, one in found.items() if not name.startswith(("silent", "direct"))]
            return all(one["state"] in ("backoff", "failed") for one in others) and all(
                one["held"] for name, one in found.items() if name.startswith("shared")
            )

        service.until(settled, "each is where its way has led it")
        found = {one["name"]: one for one in service.accounts()}
        for number, port in enumerate(dead):
            one = found[f"dead{number}"]
            assert (one["state"], one["held"], one["kind"]) == ("backoff", False, "network")
            assert f"the proxy socks5://127.0.0.1:{port} cannot be reached" in one["reason"]
        for number in range(3):
            name = f"shared{number}"
            assert f"lost the network together (the proxy http://127.0.0.1:{shared})" in found[name]["reason"]
            assert f"(the proxy http://127.0.0.1:{shared})" in service.command("explain", name).stdout
        for name, scheme in (("wrong", "socks5"), ("wrong-too", "http")):
            one = found[name]
            assert (one["state"], one["kind"], one["held"]) == ("failed", "config", False)
            text = f"the proxy {scheme}://127.0.0.1:{strict} refused the user or the password"
            assert text in one["reason"]
            assert len(ends(service, name)) == 1
        assert [entry["to"] for entry in service.timeline("direct")] == [
            "starting", "pairing", "connecting", "connected",
        ]  # fmt: skip
        told = [line for line in service.log if "lost the network together" in line and "WARNING" in line]
        assert told
        assert all(f"127.0.0.1:{shared}" in line for line in told)

        # While a way is lost, a new process of the account on another one is nobody's business.
        before = service.child("direct")
        service.command("restart", "direct")
        service.until(
            lambda found: found["direct"]["state"] == "connected" and found["direct"]["pid"] != before,
            "it is back",
        )

        # A mended configuration is tried at once, on its new way.
        through = f"http://USER:geheim@127.0.0.1:{sandbox.port}"
        for name in ("wrong", "dead0", "shared0"):
            accounts[name] = {"proxy": through.replace("USER", name)}
        service.configure(accounts, **given)
        service.command("reload")
        for name in ("wrong", "dead0", "shared0"):
            service.wait_for_state(name, "pairing")
        for name in ("shared1", "shared2"):
            assert service.about(name)["held"]
            assert len(service.timeline(name)) < 8

        everything = "\n".join([*service.log, service.command("list").stdout])
        for name in accounts:
            everything += service.command("explain", name).stdout
        assert not any(word in everything for word in ("geheim", "geh@eim", "geh%40eim"))


def test_a_proxy_of_the_environment_that_is_not_usable_is_told(sandbox: SandboxProcess, folder: Path) -> None:
    service = Service(folder, sandbox, {"a": {}, "b": {"proxy": f"http://b:pw@127.0.0.1:{sandbox.port}"}})
    service.environment = {**service.environment, "HTTPS_PROXY": "socks5://ada:geh%zzeim@127.0.0.1:1"}
    with service:
        service.wait_for_state("a", "failed")
        one = service.about("a")
        assert one["kind"] == "config"
        assert "HTTPS_PROXY in the service's environment: expected a proxy" in one["reason"]
        service.wait_for_state("b", "pairing")
        assert any("accounts without a proxy of their own cannot connect" in line for line in service.log)
        assert "eim" not in "".join(service.log)
