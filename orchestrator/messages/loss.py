"""Tells which messages were lost: taken from WhatsApp by the library, and never handed over. Pure.

The library tells WhatsApp that a message has arrived before it hands the message over. If the process is
killed between the two, the message is gone. Two things are left of it:

- The library keeps the secret of most messages in the session, in the order in which it decrypts them. Where
  there is a secret and no entry in the inbox, a message was lost. `Mark` says how far that was looked at.
- If WhatsApp had not taken note, it delivers the message again. The library cannot decrypt anything twice,
  and only its log says that it "ignores" the message.

Both are suspicions, and no more: the message may still wait in the library, or come anew in another form.
They are decided once the library is quiet. What nobody would have stored is no loss: messages of people who
are not allowed, what the account itself has sent, and what came and the inbox does not take.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.accounts.settings import Messages
from orchestrator.messages.allow import HIDDEN, PERSON, Allow, chat_of
from orchestrator.messages.entry import Entry, Source, UnfitError, address, identifier

MAX_SUSPECTS: Final = 1000
"""Suspicions that are kept. Of one kill there are about a hundred at most: what the library holds at once."""
COPY_SECONDS: Final = 60.0
"""Seconds after the last news of a copied history in which secrets may belong to the history."""
PASSED: Final = "passed"
"""Distinguishes the note that a message was handed over and not stored."""

_MAX_MARK: Final = 1 << 20
_WHAT_COUNTS: Final[tuple[Source, ...]] = ("message", "undecryptable", "lost")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A message that may be lost.

    Attributes:
        chat: The chat's address without a device.
        sender: The sender's, likewise.
        id: WhatsApp's identifier.
    """

    chat: str = field(repr=False)
    sender: str = field(repr=False)
    id: str = field(repr=False)

    def keys(self, people: Mapping[str, str]) -> list[bytes]:
        """Return the keys of all entries that show that the message is not lost, or that this was said.

        Args:
            people: The other address of somebody, by address.
        """
        chats = [self.chat, *filter(None, [people.get(self.chat)])]
        senders = [self.sender, *filter(None, [people.get(self.sender)])]
        pairs = [(chat, sender) for chat in chats for sender in senders]
        found = [Entry(source, *pair, self.id, 0.0).key for source in _WHAT_COUNTS for pair in pairs]
        return [*found, *(passed(*pair, self.id) for pair in pairs)]


@dataclass(frozen=True, slots=True)
class Secret:
    """What the session has of a message's secret.

    Attributes:
        row: Its place; later ones have higher numbers.
        suspect: The message.
        digest: Sixteen bytes that stand for the secret.
    """

    row: int
    suspect: Suspect
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the secrets of a session were looked at.

    Attributes:
        device: Stands for the linked device, empty for none.
        row: The last place that was looked at, 0 for none.
        print: Stands for what is there: in another file there is something else.
        at: When that was, in Unix seconds.
        keeps: Whose messages are kept since then.
    """

    device: str
    row: int
    print: str
    at: float
    keeps: Messages = field(default_factory=Messages, repr=False)

    def dump(self) -> str:
        """Return the mark as text."""
        keeps = {key: getattr(self.keeps, key) for key in _POLICY}
        return json.dumps({key: getattr(self, key) for key in _PLAIN} | {"keeps": keeps})

    @classmethod
    def load(cls, text: str | None) -> Mark | None:
        """Return what `dump` wrote, None if the text is something else."""
        try:
            values = json.loads(text or "", parse_constant=lambda _: None)
            keeps = values["keeps"]
            allow = tuple(one for one in keeps["allow"] if isinstance(one, str))
            policy = Messages(allow=allow, groups=keeps["groups"] is True, from_me=keeps["from_me"] is True)
            mark = cls(values["device"], values["row"], values["print"], values["at"], policy)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        fits = isinstance(mark.device, str) and isinstance(mark.print, str) and type(mark.row) is int
        return mark if fits and type(mark.at) in (int, float) else None


_PLAIN: Final = ("device", "row", "print", "at")
_POLICY: Final = ("allow", "groups", "from_me")


@dataclass(frozen=True, slots=True)
class Session:
    """What a session has of the messages that its library has decrypted.

    Attributes:
        device: Stands for the linked device.
        own: The account's own addresses.
        row: The last place with a secret, 0 for none.
        print: Stands for what is there.
        secrets: The last secrets, in their order.
        people: The other address of those who occur in them, by address.
    """

    device: str
    own: frozenset[str] = field(repr=False)
    row: int = 0
    print: str = ""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    people: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        device: str,
        own: Iterable[str],
        row: int,
        print_: str,
        messages: Iterable[Sequence[Any]],
        people: Iterable[Sequence[str]],
    ) -> Session:
        """Return what a session tells, from what was read there.

        Args:
            device: See the attributes; so are ``own``, ``row`` and ``print_``.
            own: Without devices.
            row: 0 for none.
            print_: Stands for what is there.
            messages: Place, chat, sender, identifier and what stands for the secret, in their order.
            people: The two users of one person each: the hidden one and the number.
        """
        known: dict[str, str] = {}
        for hidden, number in people:
            known |= other_address(hidden, number)
        return cls(
            device,
            frozenset(own),
            row,
            print_,
            tuple(filter(None, (secret(*one) for one in messages))),
            known,
        )

    def mark(self, now: float, keeps: Messages) -> Mark:
        """Return the mark of all that is there."""
        return Mark(self.device, self.row, self.print, now, keeps)


def is_admitted(suspect: Suspect, policy: Allow, own: Iterable[str], people: Mapping[str, str]) -> bool:
    """Tell whether a message would have been stored.

    Args:
        suspect: The message.
        policy: Who was allowed.
        own: The account's own addresses.
        people: The other address of somebody, by address.
    """
    mine = frozenset(own)
    if suspect.chat in mine:
        return False  # a note to oneself, or what the account's devices tell each other
    others = [people[suspect.chat]] if suspect.chat in people else []
    return policy.admits(suspect.chat, others, from_me=suspect.sender in mine)


def suspects(
    session: Session, mark: Mark, *, sent: Iterable[bytes] = (), since: int | None = None
) -> list[Suspect]:
    """Return the messages since a mark that should be in the inbox, without looking there.

    Args:
        session: What the session has.
        mark: How far it was looked at.
        sent: Digests of the secrets of what this service has sent.
        since: A place before which nothing counts, since a history was copied into the session.
    """
    policy, mine = Allow.of(mark.keeps), frozenset(sent)
    begin = max(mark.row, since - 1 if since is not None else 0)
    return [
        secret.suspect
        for secret in session.secrets
        if secret.row > begin
        and secret.digest not in mine
        and is_admitted(secret.suspect, policy, session.own, session.people)
    ]


def passed(chat: str, sender: str, id_: str) -> bytes:
    """Return the key of the note that a message was handed over and not stored."""
    return Entry("message", chat_of(chat, sender, from_me=False), sender, id_, 0.0, extra=PASSED).key


def other_address(lid: str, number: str) -> dict[str, str]:
    """Return the other address of somebody by both."""
    hidden, open_ = f"{lid}@{HIDDEN}", f"{number}@{PERSON}"
    return {hidden: open_, open_: hidden}


def bare(address_: str) -> str:
    """Return an address without a device."""
    user, _, server = address_.rpartition("@")
    return f"{user.partition(':')[0].partition('.')[0]}@{server}"


def digest(secret: bytes) -> bytes:
    """Return sixteen bytes that stand for the secret of a message."""
    return hashlib.sha256(b"message secret\0" + secret).digest()[:16]


def stands_for(*words: str) -> str:
    """Return a word that stands for others, so that they need not be written down."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def device_of(address_: str) -> str:
    """Return what stands for a linked device, by its address."""
    return stands_for("device", address_)


def suspect(chat: str, sender: str, id_: str) -> Suspect:
    """Return a message that may be lost, its identifier as an inbox has it.

    Raises:
        UnfitError: These are no addresses.
    """
    (user, _, server), (by, _, place) = chat.rpartition("@"), sender.rpartition("@")
    if not (user and by):
        raise UnfitError("an address of nobody")
    who = address(by, place)
    # What the account itself has sent to a list of receivers is in a chat with itself by that: no loss.
    return Suspect(chat_of(address(user, server), who, from_me=False), who, identifier(id_))


def secret(place: int, chat: str, sender: str, id_: str, digest_: bytes) -> Secret | None:
    """Return what a session has of a message's secret, None if these are no addresses."""
    try:
        return Secret(place, suspect(bare(chat), bare(sender), id_), digest_)
    except UnfitError:
        return None


def dump_suspects(found: Iterable[Suspect]) -> str:
    """Return suspicions as text, the last of them if there are too many."""
    return json.dumps([[one.chat, one.sender, one.id] for one in list(found)[-MAX_SUSPECTS:]])


def load_suspects(text: str | None) -> list[Suspect]:
    """Return what `dump_suspects` wrote, without what is something else."""
    try:
        values: Any = json.loads(text) if text and len(text) <= _MAX_MARK else []
    except (ValueError, RecursionError):
        return []
    found = []
    for one in values if isinstance(values, list) else ():
        if isinstance(one, list) and len(one) == 3 and all(isinstance(word, str) for word in one):
            try:
                found.append(suspect(*one))
            except UnfitError:
                continue
    return found[-MAX_SUSPECTS:]
