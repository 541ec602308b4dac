"""The configuration file: read, checked as a whole, and made into `Settings`.

Every problem is reported at once, as ``FILE:LINE: key.path: what was expected, what was found``. No message
holds a password or a phone number: what may be one is described instead of quoted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.accounts import characters, phones
from orchestrator.accounts.names import NAME_RULE, check_name
from orchestrator.accounts.settings import AccountSettings, Backoff, Messages, Sending
from orchestrator.config import cluster_model, file, on_change_model, store_model, yaml_tree
from orchestrator.config.consumers import Consumers
from orchestrator.config.gateway_model import BotSection, WebhookSection
from orchestrator.config.in_force import given_keys
from orchestrator.config.locate import find_state_dir
from orchestrator.config.model import (
    SECTIONS,
    AccountSection,
    Configuration,
    DefaultsSection,
    type_of,
)
from orchestrator.config.problems import EMPTY, KeyPath, Problems
from orchestrator.config.section import Section, section_of
from orchestrator.config.settings import Settings
from orchestrator.config.types import Unfit, Where, explain, kind, quote, say_duration, segment, strange
from orchestrator.config.yaml_tree import Node, Scalar, YamlError
from orchestrator.errors import ConfigError
from orchestrator.store.layout import QR_FOLDER, is_of_service

_NAMED: tuple[KeyPath, ...] = (("accounts",), ("webhooks",), ("bots",))
"""Mappings whose keys are names of the form of accounts' names."""


def load(
    path: str | Path, *, state_dir: str | Path | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read a configuration file.

    Relative paths in the file start from the file's folder. `locate.expand` says what is replaced in them.

    Args:
        path: The file.
        state_dir: What ``--state-dir`` says, which overrides the file.
        environ: The environment.

    Raises:
        ConfigError: It cannot be read or is not valid: a line for every problem.
    """
    return parse(file.decode(file.read(path), path), path, state_dir=state_dir, environ=environ)


def parse(
    text: str,
    path: str | Path,
    *,
    state_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Make settings out of a configuration's text.

    Args:
        text: The text.
        path: The file it belongs to, for messages and for relative paths.
        state_dir: What ``--state-dir`` says.
        environ: The environment.

    Raises:
        ConfigError: It is not valid: a line for every problem.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the operator's links
    problems = Problems(text)
    settings = None
    try:
        document = yaml_tree.parse(text)
        settings = _Reader(document, Where(place.parent, environ), problems).settings(place, state_dir)
    except YamlError as error:
        problems.add_broken(error)
    if problems or settings is None:
        raise ConfigError(problems.report(path))
    return replace(settings, digest=file.digest(text))


def check_value(key: str, text: str, environ: Mapping[str, str] = os.environ) -> object:
    """Return what a text says as the value of an account's key, before it is written to the file.

    Args:
        key: The key.
        text: The text. A path is absolute.
        environ: The environment, for the variables in a path.

    Raises:
        ConfigError: It is not fit for that key; the message names the key.
    """
    if key == "phone":  # which only YAML wants in quotes
        try:
            return phones.parse(text)
        except phones.NotANumber as error:
            raise ConfigError(f"{key}: {error}") from None
    scalar = Scalar(0, 0, 0, len(text), 0, text=text, type="text", plain=False)
    try:
        return type_of(AccountSection, key).read(scalar, Where(Path("/"), environ))
    except Unfit as unfit:
        at = strange(unfit, scalar)
        named = "" if at is None else f"; it has {characters.at(text, at)}"
        raise ConfigError(f"{key}: {explain(unfit, scalar)}{named}") from None


class _Reader:
    """Takes the tree to the models.

    Args:
        document: The tree.
        where: What paths start from, and the environment.
        problems: Where problems go.
    """

    def __init__(self, document: yaml_tree.Document, where: Where, problems: Problems) -> None:
        self._document = document
        self._where = where
        self._problems = problems
        self._keys: dict[KeyPath, Scalar] = {}
        self._values: dict[KeyPath, Node] = {}
        self._wrong: set[KeyPath] = set()
        self._now = time.time()

    def settings(self, place: Path, state_dir: str | Path | None) -> Settings | None:
        """Return the settings, or None if there are problems."""
        self._problems.add_duplicates(self._document.duplicates)
        root = self._document.root
        if root is None:
            self._problems.add(None, (), EMPTY)
            return None
        if not isinstance(root, yaml_tree.Mapping):
            text = f"expected a mapping of keys to values, found {kind(root)}{self._problems.strange(root)}"
            self._problems.add(root, (), text)
            return None
        top = self._validated(self._plain(root, ()))
        self._check_backoff(top.defaults, None, ("defaults",))
        self._check_keep(top.defaults, None, ("defaults",))
        self._check_new_a_day(top.defaults, None, ("defaults",))
        self._check_proxy(top.defaults, ("defaults",))
        accounts = self._accounts(top)
        try:
            state = find_state_dir(state_dir, top.state_dir, environ=self._where.environ)
        except ConfigError as error:
            self._problems.add(None, (), str(error))
            return None
        qr_dir = top.qr_dir or state / QR_FOLDER
        base, aside = self._where.base, (state, qr_dir)
        consumers = Consumers(top, base, accounts, _users_of(state), aside, self._wrong, self._add)
        self._check_qr_dir(qr_dir, state, top.qr_group)
        missing = consumers.missing
        on_change = on_change_model.settings(top.on_change, accounts, self._wrong, self._add, missing)
        return Settings(
            config_file=place,
            state_dir=state,
            qr_dir=qr_dir,
            qr_group=top.qr_group,
            quarantine_days=top.quarantine_days,
            confine=top.confine,
            memory_merge=top.memory_merge,
            start_parallel=top.start.parallel,
            start_spread=top.start.spread,
            accounts=accounts,
            http=consumers.http,
            webhooks=consumers.webhooks,
            bots=consumers.bots,
            on_change=on_change,
            store=store_model.dsn_file(top.store, self._wrong, self._add),
            cluster=cluster_model.settings(top.cluster, has_store=top.store is not None, report=self._add),
            missing_variables=tuple(missing),
            given={name: given_keys(account) for name, account in top.accounts.items()},
            given_to_all=given_keys(top.defaults),
        )

    def _plain(self, node: Node, path: KeyPath) -> dict[str, Any] | Node:
        """Return a node with mappings as dictionaries, and note what stands where."""
        if not isinstance(node, yaml_tree.Mapping):
            return node
        plain: dict[str, Any] = {}
        for pair in self._document.pairs(node):
            here = (*path, pair.key.text)
            if path in _NAMED and not self._check_name(pair.key, here):
                continue
            if pair.key.text in plain:
                self._check_alone(here, plain[pair.key.text])  # it would be overwritten
            self._keys[here], self._values[here] = pair.key, pair.value
            plain[pair.key.text] = self._plain(pair.value, here)
        return plain

    def _check_alone(self, path: KeyPath, plain: dict[str, Any] | Node) -> None:
        for key in reversed(path):
            plain = {key: plain}
        self._validated(plain)

    def _validated(self, plain: Any) -> Configuration:  # noqa: ANN401 - a dictionary of such and of nodes
        """Return the configuration without the values that are wrong, which become problems."""
        try:
            return Configuration.model_validate(plain, context=self._where)
        except ValidationError as error:
            for wrong in error.errors(include_url=False, include_input=False):
                path = tuple(str(key) for key in wrong["loc"])
                if wrong["type"] == "extra_forbidden":
                    key = self._keys[path]
                    self._problems.add(key, path, _unknown(path) + self._problems.strange(key))
                else:
                    unfit = wrong["ctx"]["error"]
                    assert isinstance(unfit, Unfit), wrong["type"]
                    self._problems.add_unfit(self._values[path], path, unfit)
                self._wrong.add(path)
                _leave_out(plain, path)
        # What is right is read all the same: values that do not go together are to be told at once as well.
        return Configuration.model_validate(plain, context=self._where)

    def _accounts(self, top: Configuration) -> dict[str, AccountSettings]:
        accounts: dict[str, AccountSettings] = {}
        owners: dict[str, str] = {}
        inherited, waits = top.defaults.given(), top.defaults.backoff.given()
        kept, sent = top.defaults.messages.given(), top.defaults.sending.given()
        for name, account in top.accounts.items():
            path = ("accounts", name)
            self._check_backoff(account, top.defaults, path)
            self._check_keep(account, top.defaults, path)
            self._check_new_a_day(account, top.defaults, path)
            self._check_proxy(account, path)
            blank = next((key for key in ("proxy", "proxy_file") if self._is_blank((*path, key))), None)
            if blank and inherited.get("proxy") and not account.given().get("proxy"):
                # Somebody who means to fill it in later must not go out without a proxy until then.
                self._add(
                    (*path, blank),
                    "expected a proxy, or null for none in spite of the one in defaults, found nothing;"
                    " leave the key out to use that one",
                )
            phone = account.phone
            if phone and (other := owners.setdefault(phones.canonical(phone), name)) != name:
                line = self._values["accounts", other, "phone"].line + 1
                also = f"found that of {segment(other)} on line {line}"
                if phone != accounts[other].phone:
                    also += ": the two spellings are one phone's"
                self._add((*path, "phone"), f"expected a number that no other account has, {also}")
            backoff = Backoff(**{**waits, **account.backoff.given()})
            messages = Messages(**{**kept, **account.messages.given()})
            sending = Sending(**{**sent, **account.sending.given()})
            own = {**inherited, **account.given(), "backoff": backoff, "messages": messages}
            if own.get("disabled_until") is not None and own.get("enabled") is False:
                self._add(
                    (*path, "disabled_until"),
                    "expected either enabled: false, which lasts, or disabled_until, found both",
                )
            accounts[name] = AccountSettings(name=name, **own | {"sending": sending}).at(self._now)
        return accounts

    def _check_name(self, name: Scalar, path: KeyPath) -> bool:
        if name.type != "text":
            text = f"expected a name in quotes, found one that YAML takes for {name.type}"
            self._problems.add(name, path, text)
            return False
        try:
            check_name(name.text)
        except ConfigError:
            found = f"{quote(name.text)}{self._problems.strange(name)}"
            self._problems.add(name, path[:-1], f"expected a name of {NAME_RULE}, found {found}")
            return False
        return True

    def _check_backoff(
        self, section: DefaultsSection, defaults: DefaultsSection | None, path: KeyPath
    ) -> None:
        own = section.backoff.given()
        backoff = Backoff(**{**(defaults.backoff.given() if defaults else {}), **own})
        if backoff.base > backoff.max and not own.keys().isdisjoint(("base", "max")):
            key = "base" if "base" in own else "max"
            text = (
                f"expected a base of at most max, found {say_duration(backoff.base)}"
                f" and a max of {say_duration(backoff.max)}"
            )
            self._add((*path, "backoff", key), text)

    def _check_keep(self, section: DefaultsSection, defaults: DefaultsSection | None, path: KeyPath) -> None:
        own = section.messages.given()
        messages = Messages(**{**(defaults.messages.given() if defaults else {}), **own})
        if messages.keep > messages.keep_at_most and not own.keys().isdisjoint(("keep", "keep_at_most")):
            key = "keep" if "keep" in own else "keep_at_most"
            text = (
                f"expected a keep of at most keep_at_most, found {say_duration(messages.keep)}"
                f" and a keep_at_most of {say_duration(messages.keep_at_most)}"
            )
            self._add((*path, "messages", key), text)

    def _check_new_a_day(
        self, section: DefaultsSection, defaults: DefaultsSection | None, path: KeyPath
    ) -> None:
        own = section.sending.given()
        sending = Sending(**{**(defaults.sending.given() if defaults else {}), **own})
        keys = ("new_a_day", "new_a_day_later")
        if sending.new_a_day > sending.new_a_day_later and not own.keys().isdisjoint(keys):
            text = (
                f"expected a new_a_day of at most new_a_day_later, found {sending.new_a_day}"
                f" and a new_a_day_later of {sending.new_a_day_later}"
            )
            self._add((*path, "sending", next(key for key in keys if key in own)), text)

    def _check_proxy(self, section: DefaultsSection, path: KeyPath) -> None:
        if section.proxy is not None and section.proxy_file is not None:
            self._add((*path, "proxy_file"), "expected either proxy or proxy_file, found both")

    def _check_qr_dir(self, qr_dir: Path, state: Path, group: str | None) -> None:
        if is_of_service(qr_dir, state):
            self._add(("qr_dir",), "expected a folder for the codes alone, found one of the service's own")
        if group is not None and qr_dir.is_relative_to(state):
            # Its mode is 0700, whatever that of the folders in it.
            self._add(
                ("qr_group",),
                "expected a qr_dir along with it that the group can get to, found one in the state folder,"
                " which nobody else may enter",
            )

    def _is_blank(self, path: KeyPath) -> bool:
        node = self._values.get(path)
        return isinstance(node, Scalar) and node.type == "nothing" and not node.text

    def _add(self, path: KeyPath, text: str) -> None:
        self._problems.add(self._values.get(path), path, text)


def _users_of(state: Path) -> tuple[int, ...]:
    """Return the user of the service, if root reads the configuration of another user's service."""
    try:
        return (state.stat().st_uid,) if os.geteuid() == 0 else ()
    except OSError:
        return ()


def _leave_out(plain: Any, path: KeyPath) -> None:  # noqa: ANN401 - a dictionary of such and of nodes
    for key in path[:-1]:
        plain = plain[key]
    del plain[path[-1]]


def unknown_key(path: KeyPath) -> str | None:
    """Return what is wrong with a key that is none, None if it is one.

    Args:
        path: The key with the sections that it stands in, such as ``("accounts", "support", "proxy")``.
    """
    return None if path[-1] in section_at(path[:-1]).model_fields else _unknown(path)


def _unknown(path: KeyPath) -> str:
    from difflib import get_close_matches  # only when something is wrong: it costs as much as the rest

    key, known = path[-1], section_at(path[:-1]).model_fields
    if close := get_close_matches(key, known, 1):
        return f"unknown key; did you mean {close[0]}?"
    for section in SECTIONS:
        if key in section.model_fields:
            return f"unknown key here; it belongs {section.place}"
    return f"unknown key; expected one of {', '.join(known)}"


def section_at(path: KeyPath) -> type[Section]:
    """Return the section at a path of keys; there must be one."""
    match path:
        case ():
            return Configuration
        case ("accounts", _):
            return AccountSection
        case ("webhooks", _):
            return WebhookSection
        case ("bots", _):
            return BotSection
        case (*above, key):
            section = section_of(section_at(tuple(above)), key)
            assert section is not None
            return section
    raise AssertionError(path)
