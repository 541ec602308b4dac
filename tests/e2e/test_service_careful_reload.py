"""A wrong proxy for all accounts takes one of them away: the real library, the sandbox as WhatsApp."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from support.cli import bare
from support.service import QUICK, Accounts, Json, Service

from orchestrator.sandbox.process import SandboxProcess

NAMES = ("a", "b", "c", "d")


def test_a_wrong_proxy_for_all_accounts_takes_one_away(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    def configure(service: Service, proxy: str | None) -> None:
        defaults: Json = {"backoff": QUICK, **({} if proxy is None else {"proxy": proxy})}
        service.configure(NAMES, start={"parallel": 4, "spread": "0s"}, defaults=defaults)

    with closing(socket.socket()) as taken, Service(folder, sandbox, start=False) as service:
        taken.bind(("127.0.0.1", 0))  # nobody listens there: connections are refused
        wrong = f"socks5://ada:geheim@127.0.0.1:{taken.getsockname()[1]}"
        right = f"http://ada:geheim@127.0.0.1:{sandbox.port}"
        configure(service, None)
        service.start()
        for name in NAMES:
            service.pair(name, make_number())
        pids = {name: service.child(name) for name in NAMES}

        configure(service, wrong)
        said = service.command("reload", "--dry-run").stdout
        assert all(f"{name}: proxy: reconnects" in said for name in NAMES)
        refused = service.command("reload", "--probe", check=False)
        assert refused.returncode == 1
        assert f"WhatsApp cannot be reached through {wrong.replace('ada:geheim@', '')}" in refused.stderr
        assert {name: service.child(name) for name in NAMES} == pids

        assert "4 accounts reconnect, one after another" in service.command("reload").stdout

        def kept(found: Accounts) -> bool:
            return all("keeps its old settings" in (found[name]["reason"] or "") for name in NAMES[1:])

        service.until(kept, "the others keep their old settings")
        found = {one["name"]: one for one in service.accounts()}
        assert found["a"]["state"] != "connected"
        for name in NAMES[1:]:
            assert (found[name]["state"], found[name]["pid"]) == ("connected", pids[name])
            told = bare(service.command("explain", name).stdout)
            assert "a does not connect with its new settings" in told
            assert "`orchestrator reload`" in told

        configure(service, right)
        probed = service.command("reload", "--probe").stdout
        assert f"WhatsApp can be reached through http://127.0.0.1:{sandbox.port} for a, b, c" in probed

        def renewed(found: Accounts) -> bool:
            return all(
                found[name]["state"] == "connected" and found[name]["pid"] != pids[name] for name in NAMES
            )

        service.until(renewed, "all have their new proxy")
        assert all(f"127.0.0.1:{sandbox.port}" in one["proxy"] for one in service.accounts())
        assert "geheim" not in said + refused.stderr + probed + "\n".join(service.log)
