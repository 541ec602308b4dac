"""What requests and answers have in them. The description of the API comes from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.accounts.settings import MOST_TAGS
from orchestrator.accounts.states import State

Chat = Annotated[
    str,
    Field(
        min_length=5,
        max_length=64,
        description="A chat's id, as `data.chat.id` of an event has it, or a phone number with + and country"
        " code.",
        examples=["+4915100002", "269139479534551@lid"],
    ),
]
Message = Annotated[
    str,
    Field(pattern="^[!-~]{1,128}$", description="A message's id, as `data.id` of an event has it."),
]


class Model(BaseModel):
    """What a request has in its body. Nothing else may be in it, and errors do not quote it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Answer(BaseModel):
    """What an answer has in it. Later versions may have more."""

    model_config = ConfigDict(extra="allow")


# Errors


class ValueProblem(Answer):
    """What is wrong with one value of the request."""

    where: str = Field(description="Which value.", examples=["body.text"])
    why: str = Field(description="What is wrong with it.", examples=["is missing"])


class Problem(Answer):
    """An error, as RFC 9457 has it. It never quotes the request."""

    type: str = Field(description="A link to the error's description.", examples=["/api/docs#not_connected"])
    title: str = Field(description="What the status is called.", examples=["Conflict"])
    status: int = Field(description="The status of the answer.", examples=[409])
    detail: str = Field(
        description="What is wrong and what to do, for people. The words may change.",
        examples=["The account is not connected."],
    )
    key: str = Field(
        description="What is wrong, for programs. The meaning of a key never changes.",
        examples=["not_connected"],
    )
    errors: list[ValueProblem] | None = Field(
        default=None, description="What is wrong with single values of the request."
    )
    row: dict[str, Any] | None = Field(
        default=None, description="The row of the outbox, of a message that was not sent."
    )


# Accounts


class LastExit(Answer):
    """How the last process of an account ended."""

    at: str | None = Field(default=None, description="When, in UTC.", examples=["2026-11-22T10:00:00Z"])
    kind: str | None = Field(default=None, description="The kind of failure.")
    code: int | None = Field(default=None, description="The exit code, or minus the number of a signal.")
    traceback: str | None = Field(default=None, description="The file with the stack traces.")


class Cause(Answer):
    """Why an account has no session any more."""

    kind: str | None = Field(default=None, description="`logged_out`, `locked` or `damaged`.")
    reason: str | None = Field(default=None, description="What was seen, for people.")
    at: str | None = Field(default=None, description="When, in UTC.", examples=["2026-11-22T10:00:00Z"])


class Account(Answer):
    """An account, as `orchestrator list --json` shows it. Times are in UTC."""

    name: str = Field(description="The account's name.", examples=["support"])
    state: str = Field(
        description=f"What the account does: {', '.join(State)}. Later versions may have more words.",
        examples=["connected"],
    )
    since: str | None = Field(default=None, description="When the state changed last.")
    reason: str | None = Field(default=None, description="Why the account is not connected, for people.")
    kind: str | None = Field(default=None, description="The kind of failure that led to the state.")
    phone: str | None = Field(default=None, description="The account's number, masked.", examples=["+49…01"])
    pid: int | None = Field(default=None, description="The account's process.")
    attempt: int = Field(default=0, description="How often in a row the account failed in this way.")
    next_retry_at: str | None = Field(default=None, description="When the next try is.")
    held: bool = Field(default=False, description="Whether the account waits for another account's test.")
    restarts: int = Field(default=0, description="How many processes came after the first.")
    uptime_s: float | None = Field(default=None, description="Seconds since the account connected.")
    last_seen_at: str | None = Field(default=None, description="When WhatsApp was last heard.")
    phone_seen_at: str | None = Field(default=None, description="When the account's phone last gave a sign.")
    phone_unlinks_at: str | None = Field(
        default=None, description="About when WhatsApp unlinks the account because its phone is offline."
    )
    qr_path: str | None = Field(default=None, description="The file with the present code's picture.")
    qr_expires_at: str | None = Field(default=None, description="When the present code expires.")
    memory_bytes: int | None = Field(default=None, description="Memory of the process (PSS).")
    cpu_s: float | None = Field(default=None, description="CPU seconds of the process.")
    open_files: int | None = Field(default=None, description="Open files of the process.")
    threads: int | None = Field(default=None, description="Threads of the process.")
    isolation: str | None = Field(default=None, description="How the process is isolated.")
    stored: int | None = Field(default=None, description="Entries in the inbox.")
    waiting: int | None = Field(default=None, description="Events that a consumer has not had yet.")
    refused: int = Field(default=0, description="Messages that were not kept, because nobody allows them.")
    lost: int = Field(default=0, description="Entries about messages that were lost.")
    queued: int | None = Field(default=None, description="Messages that wait in the outbox.")
    restricted: str | None = Field(
        default=None, description="What it may not send for now: `new` (to new chats) or `all`."
    )
    restricted_until: str | None = Field(default=None, description="Until when, if that is known.")
    last_exit: LastExit | None = Field(default=None, description="How the process before ended.")
    tags: list[str] = Field(
        default=[], description="The account's tags in the configuration.", examples=[["sales", "brazil"]]
    )
    proxy: str | None = Field(
        default=None,
        description="The account's proxy in the configuration, without user and password.",
        examples=["socks5://proxy.example:1080"],
    )
    last_in_at: str | None = Field(default=None, description="When the inbox got its last message.")
    last_out_at: str | None = Field(
        default=None, description="When WhatsApp took a message of the outbox last."
    )
    note: str | None = Field(
        default=None, description="The account's note in the configuration.", examples=["shop in Berlin"]
    )
    disabled_until: str | None = Field(
        default=None, description="When the account is enabled by itself, if it is disabled until then."
    )
    cause: Cause | None = Field(
        default=None, description="Why the account has no session any more, until it has one again."
    )
    same_phone: list[str] = Field(
        default=[], description="Other accounts that the token sees and that are linked to the same number."
    )
    shard: str | None = Field(
        default=None,
        description="The machine of the cluster that runs the account; null without a cluster, or while none"
        " runs it.",
    )
    lease_age_s: float | None = Field(
        default=None, description="Seconds since that machine has last told the database that it is there."
    )


class Accounts(Answer):
    """All accounts that the token sees."""

    accounts: list[Account]


class Outlook(Answer):
    """What is ahead of an account."""

    next: str = Field(description="What happens without an operator.")
    at: str | None = Field(description="When, in UTC.")
    advice: list[str] = Field(description="What an operator can do, the most useful first.")


class Explained(Answer):
    """An account, what is ahead of it, and what happened, as `orchestrator explain --json` shows it."""

    account: Account
    outlook: Outlook
    timeline: list[dict[str, Any]] = Field(description="What happened, the latest last.")


class NewAccount(Model):
    """An account to add to the configuration."""

    name: str = Field(pattern=f"^{NAME_PATTERN}$", description="The account's name.", examples=["support"])
    phone: str | None = Field(
        default=None,
        max_length=40,
        description="The account's phone number with +: no other phone can be linked then.",
        examples=["+4915100001"],
    )
    device_name: str | None = Field(
        default=None, max_length=100, description="What the phone shows under linked devices."
    )
    tags: list[Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]] = Field(
        default=[],
        max_length=MOST_TAGS,
        description="The account's tags. Without any, the account has those of `defaults`.",
        examples=[["sales", "brazil"]],
    )
    enabled: bool = Field(default=True, description="Whether the account is to run.")


class Removed(Answer):
    """What became of an account that was removed."""

    unlinked: bool | None = Field(
        default=None, description="Whether WhatsApp has unlinked the device; null if there is nothing to say."
    )
    why_linked: str | None = Field(default=None, description="Why the device is still linked.")


class Repair(Model):
    """How an account is to be linked anew."""

    pairing: Literal["qr", "code"] = Field(
        default="qr", description="By a QR code, or by a code of eight characters."
    )
    any_phone: bool = Field(default=False, description="Whether another phone than before may be linked.")


class One(Answer):
    """One account."""

    account: Account
    warning: str | None = Field(default=None, description="What the operator should know.")


class Code(Answer):
    """The code to link a phone with. Whoever has it has the account: show it, and store it nowhere."""

    kind: Literal["qr", "link"] = Field(description="A QR code, or eight characters to type on the phone.")
    text: str | None = Field(
        description="What the code says. Null for a QR code that another machine of a cluster shows: the"
        " picture is at `GET …/qr.png`."
    )
    expires_at: str | None = Field(description="When the code expires, in UTC.")


# Messages


class Event(Answer):
    """Something that happened. `docs/messages.md` and `docs/events.schema.json` describe all types."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "id": "evt_support_17", "type": "message.received",
                "timestamp": "2026-11-28T10:00:00.123Z", "account": "support", "seq": 17,
                "data": {
                    "id": "3EB0A1B2C3D4E5F60718",
                    "chat": {"id": "269139479534551@lid", "type": "direct", "phone": "+4915100002",
                             "name": None},
                    "sender": {"id": "269139479534551@lid", "phone": "+4915100002", "name": "Ada"},
                    "from_me": False, "timestamp": "2026-11-28T09:59:59Z", "kind": "text",
                    "text": "Hello", "media": None, "reply_to": None, "mentions": [],
                    "forwarded": False, "edited": False,
                },
            }
        },
    )  # fmt: skip

    id: str = Field(description="The event's id: the same whoever reads it and however often.")
    type: str = Field(description="What happened, such as `message.received`.")
    timestamp: str = Field(description="When it was stored, in UTC.")
    account: str = Field(description="The account.")
    seq: int | None = Field(description="Its number in the account's inbox; null for events of the account.")
    data: dict[str, Any] = Field(description="What the type says.")


class Events(Answer):
    """Stored events of an account, in order."""

    events: list[Event]
    last: int = Field(description="Ask with `after=` this number for the next ones.", examples=[17])
    more: bool = Field(description="Whether there are more already.")


class Typing(Model):
    """What the other side is shown."""

    state: Literal["typing", "recording", "paused"] = Field(default="typing", description="What is shown.")


class Nothing(Answer):
    """It is done, and there is nothing to say about it."""


# Consumers


class Consumer(Answer):
    """A webhook, a bot, or a pull by name."""

    name: str = Field(description="Its name.", examples=["crm"])
    kind: str = Field(description="`webhook`, `bot` or `pull`.", examples=["webhook"])
    state: str = Field(
        description="`active`, `failing`, `waiting`, `paused` or `disabled`.", examples=["active"]
    )
    why: str | None = Field(default=None, description="The last failure.")
    waiting: int | None = Field(default=None, description="Events that it has not had yet.")
    retrying: int | None = Field(default=None, description="Events that failed and are tried again.")
    dead: int | None = Field(default=None, description="Events that were given up. They can be replayed.")


class Consumers(Answer):
    """All consumers that the token sees."""

    consumers: list[Consumer]


class Pulled(Answer):
    """Events, until they are acknowledged."""

    events: list[Event]
    cursor: str = Field(description="Acknowledge with this cursor that you have these events.")


class Ack(Model):
    """What is acknowledged."""

    cursor: str = Field(
        min_length=1, max_length=65536, description="The cursor that came with the events.", repr=False
    )


class Tested(Answer):
    """How a test of a webhook ended."""

    event: str = Field(description="The id of the event that was sent.")
    status: int | None = Field(description="The status of the receiver's answer; null without one.")
    seconds: float = Field(description="How long it took.")
    why: str | None = Field(description="Why it failed; null if it did not.")
    advice: str | None = Field(description="What to do about it.")


class Replay(Model):
    """Which dead letters are delivered again."""

    event: str | None = Field(
        default=None, pattern="^[!-~]{1,128}$", description="One event by its id; null for all."
    )


class Replayed(Answer):
    """How many dead letters are delivered again."""

    replayed: int = Field(description="How many.")


class Health(Answer):
    """Whether the process lives and can do its work."""

    status: Literal["ok", "ready"] = Field(description="The process lives, or the service answers, too.")
