"""The keys of the configuration: one class for each section, one field for each key.

Such a field is the only place that knows the type, the default and the explanation of a key. The reader,
`orchestrator config schema`, `accounts.example.yaml` and `docs/configuration.md` all work from these classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from orchestrator.accounts.memory_limit import LEAST
from orchestrator.accounts.settings import (
    LONGEST_NOTE,
    AccountSettings,
    Backoff,
    Calls,
    Confine,
    Fetch,
    Messages,
    OnUnknown,
    Pacing,
    Sending,
    ShowCodes,
)
from orchestrator.config import types
from orchestrator.config.cluster_model import ClusterSection, FailoverSection
from orchestrator.config.gateway_model import BotSection, HttpSection, WebhookSection
from orchestrator.config.on_change_model import OnChangeSection
from orchestrator.config.section import Section, as_mapping, default_of
from orchestrator.config.settings import Settings
from orchestrator.config.store_model import StoreSection
from orchestrator.config.tags import Tags
from orchestrator.config.yaml_tree import Scalar


class BackoffSection(Section):
    """How long an account waits before its next try."""

    place = "under backoff"

    base: Annotated[float, types.Duration(0.01, types.DAY)] = Field(
        default=default_of(Backoff, "base"), description="The wait after the first failure."
    )
    factor: Annotated[float, types.Number(1, 100)] = Field(
        default=default_of(Backoff, "factor"),
        description="Each further wait is this many times the wait before it.",
    )
    max: Annotated[float, types.Duration(0.01, 7 * types.DAY)] = Field(
        default=default_of(Backoff, "max"), description="The longest wait."
    )
    jitter: Annotated[float, types.Number(0, 1)] = Field(
        default=default_of(Backoff, "jitter"),
        description="Up to this part of each wait is taken off at random: accounts do not retry in step.",
    )
    reset_after: Annotated[float, types.Duration(0, types.DAY)] = Field(
        default=default_of(Backoff, "reset_after"),
        description="The waits start at base again after the account has been connected this long.",
    )


class MessagesSection(Section):
    """Which messages an account keeps."""

    place = "under messages"

    allow: Annotated[tuple[str, ...], types.Allowed()] = Field(
        default=default_of(Messages, "allow"),
        description="Whose messages the service keeps. []: nobody's. Messages of others are only counted."
        ' "*": everybody\'s. Else numbers, for what these people write directly, and addresses of groups.'
        " `orchestrator messages NAME` shows what was kept.",
        examples=[["+15550101", "120363000000000001@g.us"]],
    )
    groups: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Messages, "groups"),
        description='Whether "*" means groups, too. A group whose address is in the list needs no true here.',
    )
    from_me: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Messages, "from_me"),
        description="Whether the service also keeps what the account's own phone sends in these chats.",
    )
    keep: Annotated[float, types.Duration(60, 3650 * types.DAY)] = Field(
        default=default_of(Messages, "keep"),
        description="How long the service keeps a message after every consumer has had the message.",
    )
    keep_at_most: Annotated[float, types.Duration(60, 3650 * types.DAY)] = Field(
        default=default_of(Messages, "keep_at_most"),
        description="How long the service keeps a message that a consumer has not had.",
    )
    media: Annotated[Fetch, types.Word(get_args(Fetch))] = Field(
        default=default_of(Messages, "media"),
        description="When the service fetches attachments. on_demand: when somebody asks for one. always: at"
        " once. never: not at all. WhatsApp keeps an attachment for some weeks.",
    )
    media_limit: Annotated[int, types.Size(1024, 2 << 30)] = Field(
        default=default_of(Messages, "media_limit"),
        description="The largest attachment that the service fetches.",
    )
    calls: Annotated[Calls, types.Word(get_args(Calls))] = Field(
        default=default_of(Messages, "calls"),
        description="What happens to calls. ignore: they ring on the phone alone. reject: the service rejects"
        " the call of one person as soon as the call comes, whoever calls; calls of groups ring on. Either"
        " way, the inbox has the calls of those who are allowed.",
    )


class SendingSection(Section):
    """How an account sends."""

    place = "under sending"

    pacing: Annotated[Pacing, types.Word(get_args(Pacing))] = Field(
        default=default_of(Sending, "pacing"),
        description="Whether the account takes its time, as the keys below say. off: the service sends"
        " everything at once, in order within each chat, and shows no typing.",
    )
    typing: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Sending, "typing"),
        description="Whether the receiver sees that the account types before a message comes.",
    )
    typing_most: Annotated[float, types.Duration(0, 60)] = Field(
        default=default_of(Sending, "typing_most"),
        description="How long the account types at most. The account types 50 ms a character.",
    )
    chat_gap: Annotated[float, types.Duration(0, 3600)] = Field(
        default=default_of(Sending, "chat_gap"),
        description="The time between two messages to a chat.",
    )
    known_every: Annotated[float, types.Duration(0, 3600)] = Field(
        default=default_of(Sending, "known_every"),
        description="The time between two messages to known chats, on average. A chat is known when there"
        " was an exchange, or the account has written there, and the chat has not written for a day.",
    )
    known_burst: Annotated[int, types.Integer(1, 1000)] = Field(
        default=default_of(Sending, "known_burst"),
        description="This many messages to known chats may go at once.",
    )
    new_every: Annotated[float, types.Duration(0, types.DAY)] = Field(
        default=default_of(Sending, "new_every"),
        description="The time between two messages to people with whom there was no exchange.",
    )
    new_spread: Annotated[float, types.Number(0, 1)] = Field(
        default=default_of(Sending, "new_spread"),
        description="That time is longer or shorter at random, by up to this part of itself.",
    )
    new_a_day: Annotated[int, types.Integer(0, 2000)] = Field(
        default=default_of(Sending, "new_a_day"),
        description="The account writes to this many such people within 24 hours when the account is new.",
    )
    new_a_day_later: Annotated[int, types.Integer(0, 2000)] = Field(
        default=default_of(Sending, "new_a_day_later"),
        description="The same, once warm_up is over. In between, the number grows from day to day.",
    )
    warm_up: Annotated[float, types.Duration(0, 365 * types.DAY)] = Field(
        default=default_of(Sending, "warm_up"),
        description="How long that number grows, from when the account was linked.",
    )
    expires: Annotated[float, types.Duration(1, 30 * types.DAY)] = Field(
        default=default_of(Sending, "expires"),
        description="How long a message may wait until it is sent. Who sends a message may say less.",
    )
    on_unknown: Annotated[OnUnknown, types.Word(get_args(OnUnknown))] = Field(
        default=default_of(Sending, "on_unknown"),
        description="What happens to a message if nobody can find out whether the message was sent. report:"
        " its state stays unknown until WhatsApp says more. resend: the service sends the message again"
        " after some minutes, and the receiver may get the message twice.",
    )
    check_numbers: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Sending, "check_numbers"),
        description="Whether the service looks up if a number is on WhatsApp before the first message to it.",
    )
    strip_metadata: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Sending, "strip_metadata"),
        description="Whether pictures lose what they say of place, time and camera.",
    )
    media_limit: Annotated[int, types.Size(1024, 2 << 30)] = Field(
        default=default_of(Sending, "media_limit"),
        description="The largest file that the account sends.",
    )
    most_waiting: Annotated[int, types.Integer(1, 100_000)] = Field(
        default=default_of(Sending, "most_waiting"),
        description="This many messages may wait at once. The service refuses more.",
    )


class OwnSection(Section):
    """What only an account can have, because no two accounts share it."""

    phone: Annotated[str | None, types.OrNull(types.Phone())] = Field(
        default=default_of(AccountSettings, "phone"),
        description="The account's phone number, in quotes and with country code. Spaces, dashes, dots,"
        " slashes and brackets in it do not count. The service refuses a link to another number. Without"
        " a number here, the first number that is linked counts. Linking by code needs the number, too.",
        examples=['"+15550100"'],
    )
    enabled: Annotated[bool, types.Boolean()] = Field(
        default=default_of(AccountSettings, "enabled"),
        description="false: the account stays in the list, but does not run.",
    )
    disabled_until: Annotated[float | None, types.OrNull(types.Time())] = Field(
        default=default_of(AccountSettings, "disabled_until"),
        description="The account does not run before this time, and runs by itself from then on. Not together"
        " with `enabled: false`, which lasts. `orchestrator disable NAME --until DATE` sets the key.",
        examples=['"2026-12-24 08:00 +01:00"'],
    )
    note: Annotated[str | None, types.OrNull(types.Text(LONGEST_NOTE))] = Field(
        default=default_of(AccountSettings, "note"),
        description="What people want to remember of the account, on one line. `list --wide`, `explain` and"
        " the page show it.",
        examples=["belongs to the shop in Berlin"],
    )


class DefaultsSection(Section):
    """What every account has, unless the account has a value of its own."""

    place = "under defaults or an account"

    backoff: BackoffSection = Field(
        default=BackoffSection(), description="How long an account waits before its next try."
    )
    max_retries: Annotated[int, types.Integer(0, 1_000_000)] = Field(
        default=default_of(AccountSettings, "max_retries"),
        description="The service gives an account up after this many tries without a stable connection,"
        " where trying for ever is pointless. A lost network is never a reason to give up.",
    )
    pairing: Annotated[ShowCodes, types.Word(get_args(ShowCodes))] = Field(
        default=default_of(AccountSettings, "pairing"),
        description="When an account that is not linked shows codes. always: all the time, for as many rounds"
        " as `pairing_rounds` says. on_demand: only while somebody looks at the code. Until then, the account"
        " has no process, and WhatsApp hears nothing of it.",
    )
    pairing_rounds: Annotated[int, types.Integer(1, 1_000_000)] = Field(
        default=default_of(AccountSettings, "pairing_rounds"),
        description="The service gives an account up after this many rounds of QR codes that nobody"
        " scanned. A round takes 160 seconds.",
    )
    proxy: Annotated[str | None, types.OrNull(types.Proxy())] = Field(
        default=default_of(AccountSettings, "proxy"),
        description="The proxy: http://, https:// or socks5://, then user:password@ if needed, then"
        " host:port. Write characters such as / in user and password as %2F. null: what HTTPS_PROXY in the"
        " service's environment says, else a direct connection. When a proxy is down, the accounts that"
        " share it wait for it together. Other accounts do not wait.",
        examples=["socks5://127.0.0.1:1080"],
    )
    proxy_file: Annotated[str | None, types.OrNull(types.ProxyFile())] = Field(
        default=None,
        description="A file with the proxy's URL on one line, instead of `proxy`: the configuration then has"
        " no password. The file belongs to root or to the service's user, and nobody else may read or write"
        " the file (mode 0600). `orchestrator reload` reads the file again.",
        examples=["proxy.secret"],
    )
    device_name: Annotated[str, types.Text(50)] = Field(
        default=default_of(AccountSettings, "device_name"),
        description="What the phone shows under linked devices.",
    )
    tags: Annotated[tuple[str, ...], Tags()] = Field(
        default=default_of(AccountSettings, "tags"),
        description="Words by which people find the account among others: a customer, a team, a country."
        " `list --tag` shows the accounts with a tag. Tags of an account replace those of defaults.",
        examples=["[sales, brazil]"],
    )
    memory_limit: Annotated[int | None, types.OrNull(types.Size(LEAST, 1 << 40))] = Field(
        default=default_of(AccountSettings, "memory_limit"),
        description="How much memory the account's process may use. null: as much as there is. The"
        " service replaces a process that outgrows the limit, at most once an hour, and not if the new"
        " process needs as much.",
    )

    messages: MessagesSection = Field(
        default=MessagesSection(), description="Which messages the account keeps, and for how long."
    )
    sending: SendingSection = Field(
        default=SendingSection(),
        description="How the account sends, and how fast. docs/sending.md says why.",
    )

    def given(self) -> dict[str, Any]:
        """Return the values that stand in the file; the proxy may stand in a file of its own."""
        values = super().given()
        url = values.pop("proxy_file", None)
        if url is not None or ("proxy_file" in self.model_fields_set and "proxy" not in values):
            values["proxy"] = url
        return values


class AccountSection(DefaultsSection, OwnSection):
    """One account."""

    place = "under an account"


class StartSection(Section):
    """How the accounts start."""

    place = "under start"

    parallel: Annotated[int, types.Integer(1, 10_000)] = Field(
        default=default_of(Settings, "start_parallel"),
        description="How many accounts may be starting or connecting at once.",
    )
    spread: Annotated[float, types.Duration(0, 3600)] = Field(
        default=default_of(Settings, "start_spread"),
        description="Each start is put off at random by up to this long, so that the accounts do not dial"
        " at the same moment.",
    )


def _named(what: str) -> BeforeValidator:
    return BeforeValidator(lambda value: as_mapping(value, f"a mapping of names to {what}"))


def _as_section_or_none(value: object) -> object:
    """Take a blank section as none."""
    return None if isinstance(value, Scalar) and value.type == "nothing" else value


class Configuration(Section):
    """The whole file."""

    place = "at the top level"

    state_dir: Annotated[Path | None, types.STATE_DIR] = Field(
        default=None,
        description="The folder of sessions, histories and the control socket. Nobody but the service's"
        " user may enter it (mode 0700). null: $STATE_DIRECTORY (which systemd sets), else"
        " ~/.local/state/orchestrator. The option --state-dir overrides this key.",
    )
    qr_dir: Annotated[Path | None, types.OrNull(types.Folder())] = Field(
        default=None,
        description="The folder of the QR codes, NAME.png for each account. Any program may watch it."
        " null: the folder qr/ in the state folder.",
    )
    qr_group: Annotated[str | None, types.OrNull(types.Text(32, "the name of a group"))] = Field(
        default=default_of(Settings, "qr_group"),
        description="A group that may read the QR codes. The group cannot enter the state folder, so"
        " qr_dir must be elsewhere. null: nobody but the service's user.",
    )
    quarantine_days: Annotated[float, types.Number(0, 36_500)] = Field(
        default=default_of(Settings, "quarantine_days"),
        description="Days for which the service keeps sessions that are no longer in use.",
    )
    confine: Annotated[Confine, types.Word(get_args(Confine))] = Field(
        default=default_of(Settings, "confine"),
        description="Whether the process of an account is kept from all files, processes and system calls"
        " that it does not need (Landlock and seccomp). auto: as far as this machine's kernel can; `doctor`"
        " and `list --wide` say what is missing. required: the service does not start without all of it."
        " off: not at all.",
    )
    memory_merge: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Settings, "memory_merge"),
        description="Whether the kernel may keep equal memory of the accounts' processes once (KSM), which"
        " halves what an account takes. It needs Linux 6.4, and root switches it on for the whole machine."
        " Read the price first: processor time, and a way to guess what another account has in memory.",
    )
    store: Annotated[StoreSection | None, BeforeValidator(_as_section_or_none)] = Field(
        default=None,
        description="A Postgres database that keeps the accounts' sessions, status and messages, instead of"
        " the state folder. null: the state folder.",
    )
    cluster: Annotated[ClusterSection | None, BeforeValidator(_as_section_or_none)] = Field(
        default=None,
        description="This machine as one of several that share the database under store: each account runs on"
        " one of them, and on another one when that is lost. null: one machine. {}: with the defaults.",
    )
    start: StartSection = Field(default=StartSection(), description="How the accounts start.")
    defaults: DefaultsSection = Field(
        default=DefaultsSection(),
        description="What every account has, unless the account has a value of its own.",
    )
    http: Annotated[HttpSection | None, BeforeValidator(_as_section_or_none)] = Field(
        default=None,
        description="The HTTP server: the API, the metrics, and pulls. null: none. {}: with its defaults.",
    )
    webhooks: Annotated[dict[str, WebhookSection], _named("webhooks")] = Field(
        default_factory=dict,
        description="Receivers of events by HTTP, by name. Webhooks, bots and pulls have names of the same"
        " form as accounts, and no two have the same. A webhook begins with what comes after the reload that"
        " names it; a webhook that is taken out and put back within 30 days goes on where it was.",
    )
    bots: Annotated[dict[str, BotSection], _named("bots")] = Field(
        default_factory=dict,
        description="Bots in Python that the service runs, by name, each in a process of its own. A reload"
        " gives a bot a new process if a key of the bot or a Python file in its folder has changed; no event"
        " is lost by that.",
    )
    on_change: Annotated[OnChangeSection | None, BeforeValidator(_as_section_or_none)] = Field(
        default=None,
        description="A program that is told when an account needs a person, and of other changes, such as"
        " one that sends an e-mail. null: none. A reload takes effect at once.",
    )
    accounts: Annotated[dict[str, AccountSection], _named("accounts")] = Field(
        default_factory=dict,
        description="The accounts, by name. `orchestrator add NAME` and `orchestrator remove NAME` edit"
        " them here.",
    )


SECTIONS: tuple[type[Section], ...] = (
    Configuration, StartSection, BackoffSection, MessagesSection, SendingSection, DefaultsSection,
    AccountSection, StoreSection, ClusterSection, FailoverSection, HttpSection, WebhookSection, BotSection,
    OnChangeSection,
)  # fmt: skip
"""All sections, in the order in which a message looks for the place of a key."""


def type_of(section: type[Section], key: str) -> types.Type[Any]:
    """Return the type of a key's value; the key must not be a section."""
    found = type_or_none(section, key)
    assert found is not None, key
    return found


def type_or_none(section: type[Section], key: str) -> types.Type[Any] | None:
    """Return the type of a key's value; None if the key holds sections."""
    return next((one for one in section.model_fields[key].metadata if isinstance(one, types.Type)), None)
