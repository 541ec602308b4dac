"""Whether WhatsApp can be reached on every way that an account takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from orchestrator.accounts.proxy import Proxy, ProxyError, environment_proxy, parse, parse_environment
from orchestrator.service.doctor.check import Check, Finding, fail, ok, uncheckable, warn
from orchestrator.service.doctor.context import Context
from orchestrator.service.doctor.reach import Unreachable, reach
from orchestrator.store import realm


def find(context: Context) -> Iterator[Finding]:
    """Try every way to WhatsApp that an account takes, each once."""
    paths = context.paths.or_none()
    said = realm.about_world(paths.world) if paths is not None else None
    if said is not None and said != realm.WARNING:
        yield warn(said)
    elif realm.is_sandbox():
        yield warn(realm.WARNING, realm.ADVICE)
    ways: dict[Proxy | None, list[str]] = {}
    unusable: dict[str, list[str]] = {}
    settings = context.settings.or_none()
    enabled = [account for account in settings.accounts.values() if account.enabled] if settings else []
    named = environment_proxy(os.environ)
    users: list[tuple[str | None, list[str]]] = [(one.proxy, [one.name]) for one in enabled]
    for url, names in users or [(None, [])]:
        try:
            way = parse(url) if url is not None else None if named is None else parse_environment(named)
        except ProxyError as error:
            unusable.setdefault(str(error), []).extend(names)
        else:
            ways.setdefault(way, []).extend(names)
    for text, names in unusable.items():
        yield fail(f"cannot be reached{_whose(names)}: {text}")
    with ThreadPoolExecutor(max_workers=16) as pool:
        yield from pool.map(_try, ways.items())


def _try(way: tuple[Proxy | None, list[str]]) -> Finding:
    proxy, names = way
    try:
        seconds = reach(proxy)
    except Unreachable as error:
        return fail(f"cannot be reached{_whose(names)}: {error}")
    except Exception as error:  # noqa: BLE001 - the other ways are worth their while
        return uncheckable(error)
    how = "directly" if proxy is None else f"through {proxy}"
    return ok(f"can be reached {how}{_whose(names)}, in {seconds:.2f} s")


def _whose(names: list[str]) -> str:
    return f" for {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" if names else ""


CHECK = Check("whatsapp", "WhatsApp", "Whether WhatsApp can be reached, with each account's proxy.", find)
