"""Whether the configuration is valid, and keeps its secrets."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from orchestrator.accounts.words import counted
from orchestrator.config import locate
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, NoConfiguration, StateError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store import sessions
from orchestrator.store.codes.folder import group_id


def find(context: Context) -> Iterator[Finding]:
    """Read the configuration, and look who else can and whether its group exists."""
    try:
        settings = context.settings.get()
    except NoConfiguration as error:
        yield _none(context, error)
        return
    except ConfigError as error:
        yield fail(str(error), "correct the file, or name another one with --config")
        return
    accounts = settings.accounts.values()
    enabled = sum(account.enabled for account in accounts)
    yield ok(f"{settings.config_file}: {counted(len(accounts), 'account')}, {enabled} of them enabled")
    mode = stat.S_IMODE(settings.config_file.stat().st_mode)
    if mode & 0o007 and (secrets := _secrets(settings)):
        yield warn(
            f"{settings.config_file} has {secrets}, and every user can access it (mode {mode:04o})",
            f"chmod o= {settings.config_file}",
        )
    if settings.qr_group is not None:
        try:
            group_id(settings.qr_group)
        except StateError:
            yield fail(
                f"there is no group {settings.qr_group}",
                "correct `qr_group:`, or add the group to this system",
            )


def _none(context: Context, error: NoConfiguration) -> Finding:
    """Judge that there is no configuration: nothing is wrong before the first account."""
    about, paths = context.ping.or_none(), context.paths.or_none()
    if about is not None:
        return warn(
            f"this command finds none; the running service uses {about['config_file']}",
            f"name the file: `orchestrator --config {about['config_file']} …`",
        )
    if kept := sessions.names(paths.sessions) if paths is not None else []:
        return fail(
            f"{error}; {paths.sessions if paths else ''} has {counted(len(kept), 'session')}",
            "name the configuration of these accounts with --config",
        )
    place = locate.find_config(create=True)
    return ok("there is none yet", f"`orchestrator add NAME` makes {place}, with the first account")


def _secrets(settings: Settings) -> str:
    """Say which secrets stand in the file itself; empty if none do."""
    kinds = []
    if any(one.proxy and "@" in one.proxy for one in settings.accounts.values()):
        kinds.append("proxy passwords")
    if any(one.headers or one.has_credentials for one in settings.webhooks.values()):
        kinds.append("secrets of webhooks")
    return " and ".join(kinds)


CHECK = Check("configuration", "configuration", "Whether the configuration is valid and private.", find)
