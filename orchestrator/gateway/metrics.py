"""What Prometheus is told: numbers of accounts, consumers and processes, from one look at each of them.

Labels are names that the configuration has given, and words of ours. No number, text or address of anybody is
in them, and no label grows with what strangers do.
"""

from __future__ import annotations

import asyncio
import bisect
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from orchestrator.accounts.states import State
from orchestrator.consumers.outcomes import Attempt, Delivered, Endpoint, Outcome
from orchestrator.control.attention import stays
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.recent import Recent
from orchestrator.system.clock import unix

Json: TypeAlias = dict[str, Any]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The form of the answer."""
BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)
"""Upper ends in seconds. A delivery takes milliseconds; one that is retried takes up to three days."""
MAX_PULLS: Final = 100
"""Pulls that are named."""
_OTHER: Final = "other"
"""A state that only a service of another version knows."""
_STATES: Final = frozenset(State)
_AT_REST: Final = frozenset({State.DISABLED, State.STOPPED})
"""States in which nobody wants the account to be connected."""


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        found, so_far = [], 0
        for end, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((end, float(so_far)))
        return found


class Times:
    """How long events take from the inbox to each consumer, and how their deliveries went lately.

    Args:
        wall: Returns Unix seconds.
        clock: Returns seconds that never go back.

    Attributes:
        clock: The same: by it the last minutes are counted.
        by_consumer: The times since the start.
        recent: The last minutes.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self.clock = clock
        self.by_consumer: dict[str, _Histogram] = {}
        self.recent: dict[str, Recent] = {}

    def watch(self, endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
        """Return the endpoints so that each delivery is measured. Consumers that are gone are forgotten."""
        self.by_consumer = {name: self.by_consumer.get(name, _Histogram()) for name in endpoints}
        self.recent = {name: self.recent.get(name, Recent()) for name in endpoints}
        return {name: _Timed(one, self, name) for name, one in endpoints.items()}

    def delivered(self, consumer: str, stored_at: float) -> None:
        """Take note of a delivery.

        Args:
            consumer: Who has the event.
            stored_at: When the event was stored, in Unix seconds.
        """
        histogram = self.by_consumer.get(consumer)
        if histogram is not None:  # a try may end after its consumer was removed
            seconds = max(0.0, self._wall() - stored_at)
            histogram.observe(seconds)
            self.recent[consumer].delivered(seconds, self.clock())

    def failed(self, consumer: str, why: str) -> None:
        """Take note of a try that failed.

        Args:
            consumer: Who does not have the event.
            why: In words of ours.
        """
        recent = self.recent.get(consumer)
        if recent is not None:
            recent.failed(why, self._wall())


class _Timed:
    """An endpoint whose deliveries are measured."""

    def __init__(self, endpoint: Endpoint, times: Times, consumer: str) -> None:
        self._endpoint = endpoint
        self._times = times
        self._consumer = consumer

    async def deliver(self, attempt: Attempt) -> Outcome:
        """See `Endpoint.deliver`."""
        outcome = await self._endpoint.deliver(attempt)
        if isinstance(outcome, Delivered):
            self._times.delivered(self._consumer, attempt.event.at)
        else:
            self._times.failed(self._consumer, outcome.why)
        return outcome


class Metrics:
    """Writes the answer to a scrape.

    Args:
        accounts: Returns the accounts as they were last described.
        figures: Returns what is known of the consumers; see `Dispatcher.figures`.
        times: How long deliveries took.
        about: Asks the service about its processes; see the command ``companions``.
        sends: Returns how many messages accounts were given to send, by account and state.
        wall: Returns Unix seconds.
    """

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, AccountView]],
        figures: Callable[[], Iterable[Json]],
        times: Times,
        about: Callable[[], Awaitable[Json]],
        sends: Callable[[], Mapping[tuple[str, str], int]] = dict,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._figures = figures
        self._times = times
        self._about = about
        self._sends = sends
        self._wall = wall
        self._started_at = wall()

    async def render(self, sees: frozenset[str] | None = None) -> bytes:
        """Return all metrics as text. Others get their turn in between: 500 accounts take some 80 ms.

        Args:
            sees: The accounts that the client may see; None for all. Consumers of other accounts, and the
                service's processes, are shown to those only who may see all.
        """
        try:
            about = await self._about()
        except OrchestratorError:
            about = None
        views = [one for name, one in sorted(self._accounts().items()) if sees is None or name in sees]
        figures = [one for one in self._figures() if sees is None or _is_within(one.get("accounts"), sees)]
        now = self._wall()
        sends = {key: count for key, count in self._sends().items() if sees is None or key[0] in sees}
        families = [
            *account_families(views, sees),
            send_family(sends),
            *consumer_families(figures, self._times, now),
        ]
        if sees is None:
            families += process_families(about, self._started_at, own_memory())
            families += [*shard_families(about or {}), *store_families(about or {})]
        written = []
        for one in families:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Collected(one))
            written.append(generate_latest(registry))
            await asyncio.sleep(0)
        return b"".join(written)


class _Collected:
    """One family, as the library collects it."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


# Accounts

_ACCOUNT: Final = ("account",)


def account_families(views: Sequence[AccountView], sees: frozenset[str] | None = None) -> list[Metric]:
    """Return the metrics of accounts.

    Args:
        views: The accounts.
        sees: The names of accounts of which the client may know; None for all.
    """
    state = GaugeMetricFamily(
        "orchestrator_account_state",
        "1 for the state that the account is in; there is no series for the others.",
        labels=("account", "state"),
    )
    for view in views:
        state.add_metric((view.name, view.state if view.state in _STATES else _OTHER), 1)
    gauges: tuple[tuple[str, str, Callable[[AccountView], float | None]], ...] = (
        ("up", "Whether the account is connected.", lambda one: one.state == State.CONNECTED),
        (
            "wanted",
            "Whether the account is to be connected: not disabled, and not stopped by an operator.",
            lambda one: one.state not in _AT_REST,
        ),
        ("needs_person", "Whether the account stays as it is until somebody acts.", stays),
        ("state_timestamp_seconds", "When the state changed last.", lambda one: unix(one.since)),
        ("last_seen_timestamp_seconds", "When WhatsApp was last heard.", lambda one: unix(one.last_seen_at)),
        (
            "phone_seen_timestamp_seconds",
            "When the account's own phone last gave a sign.",
            lambda one: unix(one.phone_seen_at),
        ),
        (
            "phone_offline",
            "Whether the account's own phone gave no sign for so long that WhatsApp may unlink the account.",
            lambda one: one.phone_unlinks_at is not None,
        ),
        (
            "phone_shared",
            "Whether another account that the client sees is linked to the same phone.",
            lambda one: any(sees is None or other in sees for other in one.same_phone),
        ),
        ("memory_bytes", "Memory of the account's process.", lambda one: one.memory_bytes),
        ("open_files", "Open files of the account's process.", lambda one: one.open_files),
        ("threads", "Threads of the account's process.", lambda one: one.threads),
        ("messages_stored", "Entries in the account's inbox.", lambda one: one.stored),
        ("outbox_waiting", "Messages in the account's outbox that wait to be sent.", lambda one: one.queued),
        (
            "restricted",
            "Whether WhatsApp currently takes no messages to people whom the account does not know, or none.",
            lambda one: one.restricted is not None,
        ),
        (
            "messages_lost",
            "Entries in the account's inbox about messages that were lost.",
            lambda one: one.lost,
        ),
    )
    counters: tuple[tuple[str, str, Callable[[AccountView], float | None]], ...] = (
        ("restarts", "Processes of the account that came after its first.", lambda one: one.restarts),
        ("cpu_seconds", "CPU time of the account's process.", lambda one: one.cpu_s),
        (
            "messages_refused",
            "Messages that were not kept, because they are not allowed.",
            lambda one: one.refused,
        ),
    )
    found: list[Metric] = [state]
    for kind, known in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, text, value in known:
            family = kind(f"orchestrator_account_{name}", text, labels=_ACCOUNT)
            for view in views:
                if (number := value(view)) is not None:
                    family.add_metric((view.name,), number)
            found.append(family)
    return found


def send_family(sends: Mapping[tuple[str, str], int]) -> Metric:
    """Return the metric of what accounts were given to send.

    Args:
        sends: How many messages, by account and by the state of the row when the client got its answer.
    """
    family = CounterMetricFamily(
        "orchestrator_account_sends",
        "Messages that the account was given to send through the gateway, by their state in the answer.",
        labels=("account", "state"),
    )
    for labels, count in sorted(sends.items()):
        family.add_metric(labels, count)
    return family


# Consumers

_CONSUMER: Final = ("consumer",)


def consumer_families(figures: Sequence[Json], times: Times, now: float) -> list[Metric]:
    """Return the metrics of webhooks, bots and pulls.

    Args:
        figures: What is known of them.
        times: How long deliveries took.
        now: Unix seconds.
    """
    info = GaugeMetricFamily(
        "orchestrator_consumer_info",
        "1 for each consumer: a webhook, a bot, or a pull by name.",
        labels=("consumer", "kind"),
    )
    # Clients name pulls as they like, and the gateway pushes nothing to them that could be counted.
    pulls = [one for one in figures if one.get("kind") == "pull"]
    figures = [one for one in figures if one.get("kind") != "pull"]
    for one in (*figures, *pulls[:MAX_PULLS]):
        info.add_metric((str(one["name"]), str(one.get("kind"))), 1)
    gauges: tuple[tuple[str, str, Callable[[Json], float | None]], ...] = (
        ("events_waiting", "Events that the consumer has not had yet.", _number("waiting")),
        ("events_retrying", "Events that failed and are tried again.", _number("retrying")),
        ("deliveries_in_flight", "Deliveries that are on their way.", _number("in_flight")),
        ("dead_letters", "Events that were given up, and can be delivered by hand.", _number("dead")),
        (
            "oldest_event_waiting_seconds",
            "Age of the oldest event that the consumer has not had yet.",
            lambda one: _age(one.get("oldest_at"), now),
        ),
        ("consumer_breaker_open", "Whether one delivery at a time tests the consumer.", _is("failing")),
        ("consumer_paused", "Whether an operator has paused the consumer.", _is("paused")),
        ("consumer_disabled", "Whether the consumer has said that it wants nothing more.", _is("disabled")),
    )
    counters: tuple[tuple[str, str, Callable[[Json], float | None]], ...] = (
        ("events_delivered", "Events that the consumer has had.", _number("delivered")),
        ("delivery_failures", "Tries to deliver an event that failed.", _number("failed")),
        ("events_expired", "Events that were deleted before the consumer had them.", _number("expired")),
    )
    found: list[Metric] = [info]
    for kind, known in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, text, value in known:
            family = kind(f"orchestrator_{name}", text, labels=_CONSUMER)
            for one in figures:
                if (number := value(one)) is not None:
                    family.add_metric((str(one["name"]),), number)
            found.append(family)
    taken = HistogramMetricFamily(
        "orchestrator_delivery_seconds",
        "Time from the storing of an event to the end of its delivery, retries included.",
        labels=_CONSUMER,
    )
    for one in figures:
        histogram = times.by_consumer.get(str(one["name"]))
        if histogram is not None:
            taken.add_metric((str(one["name"]),), histogram.buckets(), histogram.total)
    return [*found, taken]


# Processes


def process_families(about: Json | None, started_at: float, memory: int | None) -> list[Metric]:
    """Return the metrics of the service's own processes.

    Args:
        about: What the service says about its processes; None if it does not answer.
        started_at: When this process was started, in Unix seconds.
        memory: The bytes of its memory.
    """
    answers = GaugeMetricFamily("orchestrator_service_up", "Whether the service answers its gateway.")
    answers.add_metric((), about is not None)
    start = GaugeMetricFamily("orchestrator_gateway_start_time_seconds", "When the gateway was started.")
    start.add_metric((), started_at)
    own = GaugeMetricFamily("orchestrator_gateway_memory_bytes", "Memory of the gateway.")
    if memory is not None:
        own.add_metric((), memory)
    restarts = CounterMetricFamily(
        "orchestrator_gateway_restarts", "Processes of the gateway that came after its first."
    )
    up = GaugeMetricFamily("orchestrator_bot_up", "Whether the bot's process runs.", labels=("bot",))
    again = CounterMetricFamily(
        "orchestrator_bot_restarts", "Processes of the bot that came after its first.", labels=("bot",)
    )
    companions = (about or {}).get("companions") or {}
    gateway, bots = companions.get("gateway"), companions.get("bots")
    if isinstance(gateway, Mapping):
        restarts.add_metric((), int(gateway.get("restarts") or 0))
    for one in bots if isinstance(bots, list) else ():
        name = str(one["name"]).removeprefix("bot ")  # the service says what it is before its name
        up.add_metric((name,), one.get("state") == "running")
        again.add_metric((name,), int(one.get("restarts") or 0))
    return [answers, start, own, restarts, up, again]


# Several machines


def shard_families(about: Json) -> list[Metric]:
    """Return the metrics of this machine as a shard; none where it is no part of a cluster.

    Args:
        about: What the service says about its processes.
    """
    shard = about.get("shard")
    if not isinstance(shard, dict) or not isinstance(shard.get("shard"), str):
        return []
    gauges: tuple[tuple[str, str, Callable[[Json], float | None]], ...] = (
        (
            "shard_lease_held",
            "Whether the shard has a lease.",
            lambda one: one.get("lease_age_seconds") is not None,
        ),
        (
            "shard_lease_age_seconds",
            "Time since the lease was renewed.",
            _number("lease_age_seconds"),
        ),
        ("shard_accounts", "Accounts that the shard owns.", _number("accounts")),
        ("shard_capacity_accounts", "Accounts that the shard takes at the most.", _number("capacity")),
        ("cluster_shards", "Shards with a lease, as this shard sees them.", _number("shards")),
        (
            "cluster_accounts_waiting",
            "Accounts that wait for a shard, as this shard sees them.",
            _number("waiting"),
        ),
        (
            "cluster_account_waiting_seconds",
            "How long the first account has waited for a shard, as this shard sees it.",
            _number("waiting_seconds"),
        ),
    )
    counters: tuple[tuple[str, str, Callable[[Json], float | None]], ...] = (
        ("shard_accounts_claimed", "Accounts that the shard has claimed.", _number("claimed")),
        (
            "shard_accounts_taken_over",
            "Claimed accounts that ran on another shard until then.",
            _number("taken_over"),
        ),
        (
            "shard_renewals_missed",
            "Renewals of the lease without an answer in time.",
            _number("renewals_missed"),
        ),
        ("shard_leases_lost", "Leases that have ended while the shard ran.", _number("leases_lost")),
    )
    found: list[Metric] = []
    for kind, known in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, text, value in known:
            family = kind(f"orchestrator_{name}", text, labels=("shard",))
            if (number := value(shard)) is not None:
                family.add_metric((shard["shard"],), number)
            found.append(family)
    return found


def store_families(about: Json) -> list[Metric]:
    """Return the metrics of the database; none where all is kept in files.

    Args:
        about: What the service says about its processes.
    """
    store = about.get("store")
    if not isinstance(store, Mapping):
        return []
    up = GaugeMetricFamily("orchestrator_store_up", "Whether the database of the accounts can be reached.")
    up.add_metric((), store.get("up") is True)
    outages = CounterMetricFamily("orchestrator_store_outages", "Times that the database went away.")
    if isinstance(number := store.get("outages"), int | float):
        outages.add_metric((), number)
    return [up, outages]


def own_memory() -> int | None:
    """Return the bytes of memory that this process has to itself, with its share of what others use too."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:  # noqa: PTH123 - half the time
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), None)
    except OSError:
        return None


# Helpers


def _number(key: str) -> Callable[[Json], float | None]:
    def value(figures: Json) -> float | None:
        found = figures.get(key)
        return found if isinstance(found, int | float) else None

    return value


def _is(state: str) -> Callable[[Json], bool]:
    return lambda figures: figures.get("state") == state


def _age(at: object, now: float) -> float:
    """Return how long ago something was; 0 for nothing."""
    then = unix(at) if isinstance(at, str) else at
    return max(0.0, now - then) if isinstance(then, int | float) else 0.0


def _is_within(accounts: object, sees: frozenset[str]) -> bool:
    """Tell whether a consumer concerns only accounts that somebody may see."""
    return isinstance(accounts, list | tuple | set | frozenset) and sees.issuperset(accounts)
