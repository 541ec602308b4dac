"""Makes the settings of the HTTP server, webhooks and bots from their sections, and checks them together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from orchestrator.config import bot_folder
from orchestrator.config.gateway_model import BotSection, HttpSection, WebhookSection
from orchestrator.config.gateway_types import MAKE_SECRET, Variable, read_secrets
from orchestrator.config.model import Configuration
from orchestrator.config.problems import KeyPath
from orchestrator.config.types import segment
from orchestrator.consumers import event_types
from orchestrator.consumers.hosts import url_leads_to
from orchestrator.consumers.settings import CLOUD_TYPES, BotSettings, Http, Webhook

Report = Callable[[KeyPath, str], None]
"""Takes a problem: where, and what was expected and found."""


class Consumers:
    """The settings of the HTTP server, webhooks and bots.

    Args:
        top: The configuration.
        base: What relative paths start from.
        accounts: The names of the accounts.
        owners: Users besides root and this user who may own the code of bots.
        aside: Folders of the service, which have no code of bots.
        wrong: Where values stand that were reported and left out: nothing more is said of them.
        report: Where problems go.

    Attributes:
        http: The HTTP server, None without one.
        webhooks: The webhooks by name.
        bots: The bots by name.
        missing: Keys whose variable is not set, and the names of the variables.
    """

    def __init__(
        self,
        top: Configuration,
        base: Path,
        accounts: Collection[str],
        owners: Collection[int],
        aside: Collection[Path],
        wrong: Collection[KeyPath],
        report: Report,
    ) -> None:
        self._base = base
        self._owners = owners
        self._aside = aside
        self._accounts = accounts
        self._wrong = wrong
        self._report = report
        self.missing: list[tuple[str, str]] = []
        self.http = None if top.http is None else _http(top.http)
        self.webhooks = {name: self._webhook(name, one) for name, one in top.webhooks.items()}
        self.bots = {name: self._bot(name, one) for name, one in top.bots.items()}
        for name in top.bots:
            if name in top.webhooks:
                report(("bots", name), f"expected a name that no webhook has, found {segment(name)}")

    def _webhook(self, name: str, section: WebhookSection) -> Webhook:
        path = ("webhooks", name)
        self._check_common(section, path)
        if section.secret_file is not None and section.secret_env is not None:
            self._report((*path, "secret_env"), "expected either secret_file or secret_env, found both")
        elif not any(
            getattr(section, key) is not None or (*path, key) in self._wrong
            for key in ("secret_file", "secret_env", "app_secret_file")
        ):
            self._report(
                path, f"expected a secret_file, because requests are signed, found none; {MAKE_SECRET}"
            )
        if self.http is not None and section.url is not None and url_leads_to(self.http, section.url):
            self._report(
                (*path, "url"), "expected the URL of another server, found one of the service itself"
            )
        self._check_format(section, path)
        secrets = section.secret_file.keys if section.secret_file else ()
        if section.secret_env is not None:
            value = self._value(section.secret_env, (*path, "secret_env"))
            secrets = read_secrets(value.split()).keys if value is not None else ()
        given = section.given()
        return Webhook(
            name=name,
            url=section.url or "",
            secrets=secrets,
            app_secret=section.app_secret_file,
            verify_token=section.verify_token_file,
            **{
                key: given[key]
                for key in ("format", "accounts", "events", "echoes", "headers", "timeout", "parallel")
                if key in given
            },
        )

    def _check_format(self, section: WebhookSection, path: KeyPath) -> None:
        is_cloud = section.format == "cloud"
        if is_cloud and section.app_secret_file is None and (*path, "app_secret_file") not in self._wrong:
            self._report(path, "expected an app_secret_file, which format: cloud needs, found none")
        if is_cloud and not any(event_types.chosen(section.events, one) for one in CLOUD_TYPES):
            self._report(
                (*path, "events"),
                f"expected one of {', '.join(CLOUD_TYPES)}, which have a form in the Cloud API, found others",
            )
        for key in ("verify_token_file", "echoes"):
            if not is_cloud and getattr(section, key):
                self._report((*path, key), "expected format: cloud beside this key, found another format")

    def _bot(self, name: str, section: BotSection) -> BotSettings:
        path = ("bots", name)
        self._check_common(section, path)
        folder = self._base / section.path
        code = ""
        try:
            if (*path, "path") not in self._wrong:
                code = bot_folder.look(folder, owners=self._owners, aside=self._aside)
        except ValueError as error:
            self._report((*path, "path"), f"expected a folder of the bot's own, found {error}")
        env = {one.name: self._value(one, (*path, "env")) for one in section.env}
        for variable, value in section.env_files:
            if variable in env:
                self._report(
                    (*path, "env_files"), f"expected every variable once, found {variable} in env, too"
                )
            env[variable] = value
        given = section.given()
        return BotSettings(
            name=name,
            app=section.app or "",
            path=folder,
            code=code,
            env=tuple((key, value) for key, value in env.items() if value is not None),
            **{
                key: given[key]
                for key in ("accounts", "events", "timeout", "memory_limit", "parallel")
                if key in given
            },
        )

    def _value(self, variable: Variable, path: KeyPath) -> str | None:
        if variable.value is None:
            self.missing.append((".".join(path), variable.name))
        return variable.value

    def _check_common(self, section: WebhookSection | BotSection, path: KeyPath) -> None:
        for key in section.required:
            if getattr(section, key) is None and (*path, key) not in self._wrong:
                self._report(path, f"expected the key {key}, found none")
        for name in sorted((section.accounts or frozenset()) - set(self._accounts)):
            self._report(
                (*path, "accounts"), f"expected names of accounts, found {segment(name)}, which is none"
            )


def _http(section: HttpSection) -> Http:
    return Http(**section.given())


def variables(missing: Collection[tuple[str, str]]) -> Iterator[str]:
    """Yield for each variable that is not set what is to be done."""
    for key, name in missing:
        yield f"{key}: set ${name} in the service's environment"
