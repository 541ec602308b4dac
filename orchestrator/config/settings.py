"""What the configuration says, checked and complete, as the rest of the service uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.accounts.on_change import OnChange
from orchestrator.accounts.settings import AccountSettings, Confine
from orchestrator.cluster.settings import Cluster
from orchestrator.consumers.settings import BotSettings, Http, Webhook


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration; paths are absolute.

    Attributes:
        config_file: Where it was read from.
        state_dir: The state folder.
        qr_dir: The watched folder of QR codes.
        qr_group: Name of the group that may read the codes, or None.
        quarantine_days: Days for which quarantined sessions are kept.
        start_parallel: How many accounts may be starting or connecting at once.
        start_spread: Seconds, the most that a start is put off at random.
        confine: Whether the accounts' processes are isolated; see `system.confinement`.
        memory_merge: Whether the kernel may merge the memory of their processes; see `system.merging`.
        accounts: The accounts by name, in the file's order.
        http: The HTTP server, None without one.
        webhooks: The webhooks by name.
        bots: The bots that the service runs, by name.
        on_change: Who is told of changes, None for nobody.
        store: The file of the DSN of the database that keeps the accounts, None for the state folder.
        cluster: This machine as one of several, None where it is alone.
        missing_variables: Keys whose variable this process's environment lacks, and the variables' names. The
            service does not run without them; commands, which have another environment, do.
        digest: By what the file's text is known; see `config.file.digest`.
        given: The keys that stand in the file for each account, such as ``backoff.base``.
        given_to_all: The keys that stand in the file under ``defaults``.
    """

    config_file: Path
    state_dir: Path
    qr_dir: Path
    qr_group: str | None = None
    quarantine_days: float = 7
    start_parallel: int = 2
    start_spread: float = 1.0
    confine: Confine = "auto"
    memory_merge: bool = False
    accounts: Mapping[str, AccountSettings] = field(default_factory=dict)
    http: Http | None = None
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
    bots: Mapping[str, BotSettings] = field(default_factory=dict)
    on_change: OnChange | None = None
    store: Path | None = None
    cluster: Cluster | None = None
    missing_variables: tuple[tuple[str, str], ...] = ()
    digest: str = field(default="", compare=False, repr=False)
    given: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)
    given_to_all: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def needs_gateway(self) -> bool:
        """Whether the gateway's process is to run."""
        return self.http is not None or bool(self.webhooks or self.bots)
