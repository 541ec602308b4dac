"""Accounts that exist in memory only, in all states, for those who look at the page: `World`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from support.http_api import StandInParent

from orchestrator.access.scopes import Principal
from orchestrator.accounts.orderers import STOPPED, token
from orchestrator.accounts.states import State
from orchestrator.control.view import AccountView, LastExit

Json = dict[str, Any]

CODE_SECONDS: Final = 20.0
"""How long a code is shown before the next one replaces it."""
LINK_SECONDS: Final = 160.0
_TICK: Final = 0.05
_BEAT: Final = 10.0
STEP_SECONDS: Final = 0.6
"""How long an account stays in each state on its way to be connected."""
_WORST: Final[tuple[tuple[str, float], ...]] = (
    ("connected", 0.78), ("pairing", 0.04), ("stopped", 0.04), ("backoff", 0.03), ("failed", 0.02),
    ("reconnecting", 0.02), ("logged_out", 0.015), ("restricted", 0.015), ("phone_offline", 0.01),
    ("banned", 0.01), ("lost", 0.01), ("starting", 0.005), ("connecting", 0.005), ("replaced", 0.005),
    ("outdated", 0.005), ("disabled", 0.005),
)  # fmt: skip
_TOWNS: Final = ("berlin", "lagos", "lima", "oslo", "porto", "quito", "seoul", "tunis", "vienna", "zagreb")
_JOBS: Final = ("support", "sales", "alerts", "orders", "booking", "billing", "care", "news")
_TAGS: Final = ("eu", "latam", "apac", "vip", "trial", "shop", "night")
_PROXIES: Final = (None, None, "socks5://10.1.0.4:1080", "http://proxy-eu.example:3128")


def names(count: int) -> list[str]:
    """Return so many names, always the same ones."""
    plain = [f"{job}-{town}" for job in _JOBS for town in _TOWNS]
    first = list(_JOBS[:3]) if count <= 3 else plain
    more = (f"{job}-{town}-{number}" for number in range(2, 999) for job in _JOBS for town in _TOWNS)
    return (first + [next(more) for _ in range(max(0, count - len(first)))])[:count]


def iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class More:
    """What an account's view does not tell.

    Attributes:
        tags: The account's tags.
        proxy: Where its connections go through.
        last_in: When the last message came in.
        last_out: When the last message went out.
        cpu: Percent of a core.
        history: The timeline.
    """

    tags: list[str]
    proxy: str | None
    last_in: float | None
    last_out: float | None
    cpu: float | None
    history: list[Json] = field(default_factory=list)


class World(StandInParent):
    """Accounts that live, as the service would tell of them.

    Args:
        count: How many.
        seed: The same number makes the same world.
        steady: Every account is connected.
        scanned: After how many seconds a person scans a code that an account shows; None: nobody does.

    Attributes:
        more: What the views do not tell, by account.
        maintenance: Since when the maintenance switch is on, None while it is off.
        watched: Until when somebody looks at an account's code.
        most_orders: How many orders were under way at once, at most.
    """

    def __init__(
        self, count: int, *, seed: int = 1, steady: bool = False, scanned: float | None = None
    ) -> None:
        super().__init__(())
        self.random = random.Random(seed)
        self.more: dict[str, More] = {}
        self.maintenance: float | None = None
        self._began = time.time()
        self.watched: dict[str, float] = {}
        self.most_orders = 0
        self._orders = 0
        self._scanned = scanned
        self._heard: list[Callable[[list[str], list[str]], None]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._link: set[str] = set()
        kinds = [kind for kind, share in _WORST for _ in range(max(1, round(share * count)))]
        if count < 2 * len(_WORST):
            kinds = ["connected"] * max(1, count // 2) + ["pairing", "failed", "backoff", "restricted"]
        self.random.shuffle(rest := kinds[: max(count, len(kinds))])
        if count <= 3:
            rest = ["connected", "connected", "pairing"]
        for number, name in enumerate(names(count)):
            kind = "connected" if steady else rest[number % len(rest)]
            self._make(name, kind, number)

    # How it begins

    def _make(self, name: str, kind: str, number: int) -> None:
        now = time.time()
        dice = self.random
        went = dice.choice((5, 40, 300, 3600, 20_000, 90_000, 400_000)) * (0.5 + dice.random())
        view = AccountView(
            name,
            "connected",
            iso(now - went),
            phone=f"+{dice.choice((1, 49, 55))}…{number % 100:02}",
            pid=4000 + number,
            uptime_s=went,
            restarts=dice.choice((0, 0, 0, 1, 4)),
            last_seen_at=iso(now - 4),
            phone_seen_at=iso(now - 600),
            memory_bytes=int(1e6 * (17 + 6 * dice.random())),
            cpu_s=went * 0.002,
            open_files=24,
            threads=11,
            isolation="full",
            stored=dice.randrange(9000),
            waiting=dice.choice((0, 0, 0, 0, 3, 170)),
            queued=dice.choice((0, 0, 0, 2, 41)),
        )
        gone: Json = {"pid": None, "uptime_s": None, "memory_bytes": None, "cpu_s": None, "isolation": None}
        changes: dict[str, Json] = {
            "connected": {},
            "pairing": {"state": State.PAIRING, "uptime_s": None, "reason": "waits for a scan"},
            "stopped": {"state": State.STOPPED, "reason": STOPPED, **gone},
            "disabled": {"state": State.DISABLED, "reason": "disabled in the configuration", **gone},
            "backoff": {
                "state": State.BACKOFF, "kind": "network", "reason": "the network is down: no route to host",
                "attempt": 1 + number % 7, "next_retry_at": iso(now + 20 + 90 * dice.random()), **gone,
                "last_exit": LastExit(iso(now - 30), "network", 11),
            },
            "failed": {
                "state": State.FAILED, "kind": "damaged", "attempt": 3, **gone,
                "reason": "the session is damaged: file is not a database",
                "last_exit": LastExit(iso(now - 30), "damaged", 21, "/var/lib/orchestrator/crash/x.txt"),
            },
            "reconnecting": {"state": State.RECONNECTING, "reason": "lost the connection; reconnecting"},
            "logged_out": {
                "state": State.FAILED, "kind": "logged_out", **gone,
                "reason": "logged out: the device was removed on the phone",
            },
            "restricted": {
                "restricted": dice.choice(("new", "all")), "restricted_until": iso(now + 7200),
                "reason": "WhatsApp restricts the account: messages to new chats wait",
            },
            "phone_offline": {
                "phone_unlinks_at": iso(now + 3 * 86_400), "phone_seen_at": iso(now - 11 * 86_400),
                "reason": "the phone was last seen 11 days ago",
            },
            "banned": {
                "state": State.BANNED, "kind": "temporary_ban", **gone, "next_retry_at": iso(now + 30_000),
                "reason": "banned for some time: sent too many messages to strangers",
            },
            "lost": {"lost": 2},
            "starting": {"state": State.STARTING, "reason": "waits for its turn", **gone},
            "connecting": {"state": State.CONNECTING, "uptime_s": None},
            "replaced": {
                "state": State.REPLACED, "kind": "replaced", **gone,
                "reason": "another client took the session over",
            },
            "outdated": {
                "state": State.OUTDATED, "kind": "outdated", "held": True, **gone,
                "next_retry_at": iso(now + 900), "reason": "WhatsApp refuses this version of the client",
            },
        }  # fmt: skip
        runs = kind not in ("pairing", "disabled")
        self.more[name] = More(
            sorted(dice.sample(_TAGS, dice.choice((0, 1, 1, 2, 3)))), dice.choice(_PROXIES),
            now - went * dice.random() if runs else None, now - went * dice.random() if runs else None,
            round(dice.random() * 2, 1) if "pid" not in changes[kind] else None,
        )  # fmt: skip
        self.phones[name] = f"+49151{number:06}"
        self.views[name] = view._replace(**changes[kind])
        self._tell_more(name)
        self._make_history(name, now)

    def _make_history(self, name: str, now: float) -> None:
        """Write a day of changes down: some of its own, and the fall that everybody had."""
        at, state, entries = now - 86_400 * 1.2, "connected", self.more[name].history
        fall = now - 5.3 * 3600
        moments = sorted([at + self.random.random() * 86_400 for _ in range(self.random.choice((0, 1, 3)))])
        for moment in [*moments, fall]:
            length = 180 + self.random.random() * 1500
            entries.append(_entry(moment, state, "reconnecting", "network", "the network is down"))
            entries.append(_entry(moment + length, "reconnecting", "connected"))
        view = self.views[name]
        if view.state != state:
            entries.append(
                _entry(now - 3600 * self.random.random() * 4, state, view.state, view.kind, view.reason)
            )
        entries.sort(key=lambda one: str(one["at"]))

    def _tell_more(self, name: str) -> None:
        """Put what is beside the view into it, as far as views have fields for it."""
        more = self.more[name]
        fields: Json = {
            "tags": tuple(more.tags), "proxy": more.proxy,
            "last_in_at": iso(more.last_in), "last_out_at": iso(more.last_out),
        }  # fmt: skip
        known = {key: value for key, value in fields.items() if key in AccountView._fields}
        self.views[name] = self.views[name]._replace(**known)

    # What changes

    def listen(self, heard: Callable[[list[str], list[str]], None]) -> Callable[[], None]:
        """Have something called with the names of accounts that have changed and of those that are gone."""
        self._heard.append(heard)
        return lambda: self._heard.remove(heard)

    def change(self, name: str, **fields: Any) -> None:  # noqa: ANN401 - whatever a view has
        """Change an account, and tell those who listen; `by` is who wants it."""
        before, by = self.views[name], fields.pop("by", None)
        if fields.get("state", before.state) != before.state:
            fields.setdefault("since", iso(time.time()))
            state, kind, reason = fields["state"], fields.get("kind"), fields.get("reason")
            self.more[name].history.append(_entry(time.time(), before.state, state, kind, reason, by))
        self.views[name] = before._replace(**fields)
        self._tell_more(name)
        self._tell([name], [])

    def _tell(self, changed: list[str], gone: list[str]) -> None:
        for heard in list(self._heard):
            heard(changed, gone)

    def step(self) -> str:
        """Have something happen to some account; return its name."""
        name = self.random.choice(list(self.views))
        view, now = self.views[name], time.time()
        what = self.random.random()
        if view.state == State.RECONNECTING or (view.state == State.BACKOFF and what < 0.5):
            self.change(name, state=State.CONNECTED, reason=None, kind=None, attempt=0, next_retry_at=None,
                        pid=view.pid or 9000, memory_bytes=19_000_000)  # fmt: skip
        elif view.state == State.CONNECTED and what < 0.04:
            self.change(name, state=State.RECONNECTING, reason="lost the connection; reconnecting")
        elif view.state == State.CONNECTED and what < 0.6:
            self.more[name].last_in = now
            self.change(name, stored=(view.stored or 0) + 1, waiting=(view.waiting or 0) + (what < 0.3))
        elif view.state == State.CONNECTED:
            self.more[name].last_out = now
            self.change(name, queued=max(0, (view.queued or 0) - 1), waiting=max(0, (view.waiting or 0) - 4))
        else:
            self.change(name, memory_bytes=int(1e6 * (17 + 6 * self.random.random())) if view.pid else None)
        return name

    async def live(self, changes: float, *, beats: bool = False) -> None:
        """Have codes replaced and, so many times a second, something happen, until cancelled.

        Args:
            changes: How often a second.
            beats: Whether processes report what they use.
        """
        started, done = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - started) * changes)
            for _ in range(due - done):
                self.step()
            done = due
            self._replace_codes()
            if beats:
                self._beat()
            await asyncio.sleep(_TICK)

    def _beat(self) -> None:
        """Have some processes report what they use, so that each does every few seconds."""
        running = [name for name, view in self.views.items() if view.pid is not None]
        for name in self.random.sample(running, min(len(running), 1 + int(len(running) * _TICK / _BEAT))):
            view, more = self.views[name], self.more[name]
            used = _BEAT * (more.cpu or 0.4) / 100
            memory = (view.memory_bytes or 18_000_000) + self.random.randrange(-40_000, 40_000)
            now = iso(time.time())
            self.change(name, cpu_s=(view.cpu_s or 0) + used, memory_bytes=memory, last_seen_at=now)

    def _replace_codes(self) -> None:
        now = time.time()
        for name in [name for name, view in self.views.items() if view.state == State.PAIRING]:
            code = self.codes.get(name)
            if code is None or code["until"] <= now:
                self.show_code(name, now)
            first = self.more[name].history[-1]["at"] if self.more[name].history else iso(now)
            shown = now - datetime.fromisoformat(str(first)).timestamp()
            if self._scanned is not None and shown >= self._scanned:
                self.scan(name)

    def show_code(self, name: str, now: float) -> None:
        """Have an account that waits for a scan show the next code."""
        letters = "ABCDEFGHJKLMNPQRSTVWXYZ123456789"
        if name in self._link:
            text, kind, until = "".join(self.random.choices(letters, k=8)), "link", now + LINK_SECONDS
        else:
            text = "2@" + ",".join("".join(self.random.choices(letters, k=44)) for _ in range(4))
            kind, until = "qr", now + CODE_SECONDS
        self.codes[name] = {"kind": kind, "text": text, "expires_at": iso(until), "until": until}
        self.change(name, qr_expires_at=iso(until))

    def scan(self, name: str) -> None:
        """Have a person scan the code of an account."""
        self.codes.pop(name, None)
        self.change(name, state=State.CONNECTED, reason=None, kind=None, qr_expires_at=None, qr_path=None,
                    pid=9001, memory_bytes=18_000_000, uptime_s=0.0)  # fmt: skip

    # What it is asked for

    async def ask(
        self,
        asker: Any,  # noqa: ANN401 - a principal, or the gateway itself
        command: str,
        /,
        *,
        seconds: float | None = 30.0,
        **arguments: Any,  # noqa: ANN401
    ) -> Json:
        name = arguments.get("name", "")
        match command:
            case "strips":
                return self._strips(asker, float(arguments.get("hours", 24)))
            case "facts":
                return self._facts()
            case "maintenance":
                if arguments.get("on") is not None:
                    self.maintenance = time.time() if arguments["on"] else None
                return self._switch()
            case "watching":
                until = time.time() + 60
                self.watched |= dict.fromkeys(arguments.get("names", ()), until)
                return {}
            case "settings" if name in self.views:
                return {"settings": self._settings(name)}
        if command in ("start", "stop", "restart", "repair"):
            self._orders += 1
            self.most_orders = max(self.most_orders, self._orders)
            await asyncio.sleep(_TICK)  # as long as the service takes to write it down
            self._orders -= 1
        result = await super().ask(asker, command, seconds=seconds, **arguments)
        match command:
            case "add":
                self.more[name] = More([*arguments.get("tags", ())], None, None, None, None)
                self.phones[name] = arguments.get("phone") or ""
                self._set_off(name, self._pair(name))
                self._tell([name], [])
            case "remove":
                self.more.pop(name, None)
                self._tell([], [name])
            case "start":
                self._set_off(name, self._connect(name))
            case "restart":
                self._set_off(name, self._connect(name))
            case "repair":
                self._link -= {name}
                if arguments.get("pairing") == "code":
                    self._link.add(name)
                self._set_off(name, self._pair(name))
            case "stop":
                self._set_off(name, None)
                self.codes.pop(name, None)
                self.change(
                    name,
                    state=State.STOPPED,
                    reason=STOPPED,
                    by=token("p1", of_page=True),
                    kind=None,
                    pid=None,
                    memory_bytes=None,
                    uptime_s=None,
                    qr_expires_at=None,
                    next_retry_at=None,
                )
                result = self._account(name)
            case "explain":
                count = arguments.get("entries", 20)
                result["timeline"] = self.more[name].history[-count:] if count else []
        return result

    def _set_off(self, name: str, way: Any) -> None:  # noqa: ANN401 - a coroutine, or None
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()
        if way is not None:
            self._tasks[name] = asyncio.ensure_future(way)

    async def _connect(self, name: str) -> None:
        if self.views[name].state == State.PAIRING:
            return
        plain: Json = {"reason": None, "kind": None, "next_retry_at": None, "attempt": 0, "held": False}
        self.change(name, state=State.STARTING, pid=None, memory_bytes=None, uptime_s=None, **plain)
        await asyncio.sleep(STEP_SECONDS)
        self.change(name, state=State.CONNECTING, pid=self.random.randrange(9000, 30_000))
        await asyncio.sleep(STEP_SECONDS)
        self.change(name, state=State.CONNECTED, memory_bytes=18_000_000, uptime_s=0.0)

    async def _pair(self, name: str) -> None:
        self.codes.pop(name, None)
        self.change(name, state=State.STARTING, reason=None, kind=None, pid=None, next_retry_at=None)
        await asyncio.sleep(STEP_SECONDS)
        self.change(name, state=State.PAIRING, pid=9002, reason="waits for a scan")
        self.show_code(name, time.time())

    def _strips(self, asker: Principal, hours: float) -> Json:
        slot = 300
        end = int(time.time() // slot + 1) * slot
        count = int(hours * 3600 // slot)
        begin = end - count * slot
        found = {}
        for name, more in self.more.items():
            if asker.sees(name):
                found[name] = _runs(more.history, self.views[name].state, begin, slot, count)
        return {"begin": begin, "slot": slot, "slots": count, "accounts": found}

    def _facts(self) -> Json:
        ways = []
        for way in sorted({more.proxy or "direct" for more in self.more.values()}):
            of = [self.views[name] for name, more in self.more.items() if (more.proxy or "direct") == way]
            words = {"connected": "connected", "backoff": "waiting"}
            ways.append(
                {
                    "way": way,
                    "state": "works" if any(one.state == "connected" for one in of) else "lost",
                    "members": [[one.name, words.get(one.state, "")] for one in of],
                    "probe_at": None,
                    "canary": None,
                }
            )
        states = [str(one.state) for one in self.views.values()]
        refused, memory = states.count("outdated"), [one.memory_bytes or 0 for one in self.views.values()]
        return {
            "service": {"version": "1", "started_at": int(self._began)},
            "library": {
                "version": "0.5.2", "refused": refused > 0, "accounts": refused,
                "probe_at": int(time.time()) + 600 if refused else None, "canary": None,
            },
            "ways": ways,
            "starting": {
                "queued": states.count("starting"), "dialing": states.count("connecting"), "parallel": 4,
            },
            "disk": {"free": 41_000_000_000, "total": 80_000_000_000, "low": False},
            "memory": {"accounts": sum(memory), "free": 9_100_000_000, "total": 16_500_000_000},
            "breakers": [{"what": "version", "probe_at": None, "canary": None}] if refused else [],
            "maintenance": self._switch(),
        }  # fmt: skip

    def _switch(self) -> Json:
        since = self.maintenance
        return {"on": since is not None, "since": since and int(since), "waiting": 0}

    def _settings(self, name: str) -> list[Json]:
        return [
            {"key": "phone", "value": self.views[name].phone, "origin": "account"},
            {"key": "tags", "value": self.more[name].tags, "origin": "account"},
            {"key": "proxy", "value": self.more[name].proxy, "origin": "defaults"},
            {"key": "backoff.base", "value": "5s", "origin": "built-in"},
            {"key": "pairing", "value": "always", "origin": "built-in"},
        ]


def _entry(
    at: float,
    before: str,
    after: str,
    kind: str | None = None,
    reason: str | None = None,
    by: str | None = None,
) -> Json:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "at": moment, "from": str(before), "to": str(after), "kind": kind, "reason": reason, "code": None,
        "attempt": 0, "delay": None, "version": None, "others": 0, **({} if by is None else {"by": by}),
    }  # fmt: skip


_ORDER: Final = ("connected", "disabled", "stopped", "starting", "connecting", "reconnecting", "pairing",
                 "backoff", "replaced", "outdated", "failed", "banned")  # fmt: skip


def _runs(history: list[Json], state: str, begin: int, slot: int, count: int) -> list[list[Any]]:
    """Return the worst state of each slot, as runs."""
    slots: list[str | None] = [None] * count
    end, now = float(begin + slot * count), str(state)
    for entry in [*reversed(history), None]:
        at = float(begin) if entry is None else datetime.fromisoformat(str(entry["at"])).timestamp()
        for number in range(max(0, int((at - begin) // slot)), min(count, int((end - begin) // slot) + 1)):
            before = slots[number]
            if before is None or _ORDER.index(now) > _ORDER.index(before):
                slots[number] = now
        end = at
        if entry is None or at < begin:
            break
        now = str(entry["from"])
    runs: list[list[Any]] = []
    for number, word in enumerate(slots):
        if not runs or runs[-1][1] != word:
            runs.append([number, word])
    return runs
