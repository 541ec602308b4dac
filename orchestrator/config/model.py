"""The keys of the configuration: one class for each section, one field for each key.

Such a field is the only place that knows the type, the default and the explanation of a key. The reader,
`orchestrator config schema`, `accounts.example.yaml` and `docs/configuration.md` all work from these classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from orchestrator.accounts.memory_limit import LEAST
from orchestrator.accounts.settings import AccountSettings, Backoff, Confine
from orchestrator.config import types
from orchestrator.config.settings import Settings
from orchestrator.config.yaml_tree import Scalar


def _default(cls: type, name: str) -> Any:  # noqa: ANN401 - whatever the field holds
    """Return the default of a field of the settings: no default is written twice."""
    return next(field.default for field in dataclasses.fields(cls) if field.name == name)


def _as_mapping(value: Any, expected: str = "a mapping of keys to values") -> object:  # noqa: ANN401
    """Take a blank section as an empty one, and refuse everything else that is no mapping."""
    if isinstance(value, dict | BaseModel):
        return value
    if isinstance(value, Scalar) and value.type == "nothing":
        return {}  # `accounts:` and then nothing: a fresh file, or everything in it commented out
    raise types.Unfit(expected, types.kind(value))


class Section(BaseModel):
    """A mapping of keys to values. The values come in as nodes of the YAML tree.

    Attributes:
        place: Where the section stands, for a message about a key in the wrong place.
    """

    # A value may be a password, so pydantic must not show any.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    place: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _check_form(cls, value: object) -> object:
        return _as_mapping(value)

    def given(self) -> dict[str, Any]:
        """Return the values that stand in the file, without those of keys that were left out."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


class BackoffSection(Section):
    """How long an account waits before its next try."""

    place = "under backoff"

    base: Annotated[float, types.Duration(0.01, types.DAY)] = Field(
        default=_default(Backoff, "base"), description="The wait after the first failure."
    )
    factor: Annotated[float, types.Number(1, 100)] = Field(
        default=_default(Backoff, "factor"),
        description="Each further wait is this many times the wait before it.",
    )
    max: Annotated[float, types.Duration(0.01, 7 * types.DAY)] = Field(
        default=_default(Backoff, "max"), description="The longest wait."
    )
    jitter: Annotated[float, types.Number(0, 1)] = Field(
        default=_default(Backoff, "jitter"),
        description="Up to this part of each wait is taken off at random: accounts do not retry in step.",
    )
    reset_after: Annotated[float, types.Duration(0, types.DAY)] = Field(
        default=_default(Backoff, "reset_after"),
        description="The waits start at base again after the account has been connected this long.",
    )


class OwnSection(Section):
    """What only an account can have, because no two accounts share it."""

    phone: Annotated[str | None, types.OrNull(types.Phone())] = Field(
        default=_default(AccountSettings, "phone"),
        description="The account's phone number, in quotes and with country code. Spaces, dashes, dots,"
        " slashes and brackets in it do not count. The service refuses a link to another number. Without"
        " a number here, the first number that is linked counts. Linking by code needs the number, too.",
        examples=['"+15550100"'],
    )
    enabled: Annotated[bool, types.Boolean()] = Field(
        default=_default(AccountSettings, "enabled"),
        description="false: the account stays in the list, but does not run.",
    )


class DefaultsSection(Section):
    """What every account has, unless the account has a value of its own."""

    place = "under defaults or an account"

    backoff: BackoffSection = Field(
        default=BackoffSection(), description="How long an account waits before its next try."
    )
    max_retries: Annotated[int, types.Integer(0, 1_000_000)] = Field(
        default=_default(AccountSettings, "max_retries"),
        description="The service gives an account up after this many tries without a stable connection,"
        " where trying for ever is pointless. A lost network is never a reason to give up.",
    )
    pairing_rounds: Annotated[int, types.Integer(1, 1_000_000)] = Field(
        default=_default(AccountSettings, "pairing_rounds"),
        description="The service gives an account up after this many rounds of QR codes that nobody"
        " scanned. A round takes 160 seconds.",
    )
    proxy: Annotated[str | None, types.OrNull(types.Proxy())] = Field(
        default=_default(AccountSettings, "proxy"),
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
        default=_default(AccountSettings, "device_name"),
        description="What the phone shows under linked devices.",
    )
    memory_limit: Annotated[int | None, types.OrNull(types.Size(LEAST, 1 << 40))] = Field(
        default=_default(AccountSettings, "memory_limit"),
        description="How much memory the account's process may use. null: as much as there is. The"
        " service replaces a process that outgrows the limit, at most once an hour, and not if the new"
        " process needs as much.",
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
        default=_default(Settings, "start_parallel"),
        description="How many accounts may be starting or connecting at once.",
    )
    spread: Annotated[float, types.Duration(0, 3600)] = Field(
        default=_default(Settings, "start_spread"),
        description="Each start is put off at random by up to this long, so that the accounts do not dial"
        " at the same moment.",
    )


def _as_accounts(value: object) -> object:
    return _as_mapping(value, "a mapping of names to accounts")


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
        default=_default(Settings, "qr_group"),
        description="A group that may read the QR codes. The group cannot enter the state folder, so"
        " qr_dir must be elsewhere. null: nobody but the service's user.",
    )
    quarantine_days: Annotated[float, types.Number(0, 36_500)] = Field(
        default=_default(Settings, "quarantine_days"),
        description="Days for which the service keeps sessions that are no longer in use.",
    )
    confine: Annotated[Confine, types.Word(get_args(Confine))] = Field(
        default=_default(Settings, "confine"),
        description="Whether the process of an account is kept from all files, processes and system calls"
        " that it does not need (Landlock and seccomp). auto: as far as this machine's kernel can; `doctor`"
        " and `list --wide` say what is missing. required: the service does not start without all of it."
        " off: not at all.",
    )
    start: StartSection = Field(default=StartSection(), description="How the accounts start.")
    defaults: DefaultsSection = Field(
        default=DefaultsSection(),
        description="What every account has, unless the account has a value of its own.",
    )
    accounts: Annotated[dict[str, AccountSection], BeforeValidator(_as_accounts)] = Field(
        default_factory=dict,
        description="The accounts, by name. `orchestrator add NAME` and `orchestrator remove NAME` edit"
        " them here.",
    )


SECTIONS: tuple[type[Section], ...] = (
    Configuration, StartSection, BackoffSection, DefaultsSection, AccountSection,
)  # fmt: skip
"""All sections, in the order in which a message looks for the place of a key."""


def type_of(section: type[Section], key: str) -> types.Type[Any]:
    """Return the type of a key's value; the key must not be a section."""
    return next(found for found in section.model_fields[key].metadata if isinstance(found, types.Type))
