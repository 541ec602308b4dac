"""What must outlast a restart besides the rows: whom the account knows, and what the desk remembers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from orchestrator.messages.protocols import InboxStore, OutboxStore
from orchestrator.sending.contacts import Contact
from orchestrator.sending.desk import Desk
from orchestrator.sending.memory import Memory

OLD_SECONDS: Final = 600.0
"""Age in seconds from which the time of a message that came in counts, and not the present one."""


class Notes:
    """Notes, written into the outbox now and then: what is lost with a process is what came last.

    Args:
        outbox: The outbox.
    """

    def __init__(self, outbox: OutboxStore) -> None:
        self._outbox = outbox
        self._memory = Memory.load(outbox.memory())
        self._written = self._memory
        self._contacts: dict[str, Contact] = {}

    @property
    def desk(self) -> str | None:
        """What the desk remembers, None if it has never remembered anything."""
        return self._memory.desk

    def device(self, device: str) -> None:
        """Note what stands for the linked device that sends."""
        self._memory = replace(self._memory, device=device)

    def is_of_another(self, row: int) -> bool:
        """Tell whether a row was to be sent from another number than the account has now."""
        return row <= self._memory.before

    def number(self, number: str, last: int) -> bool:
        """Note what stands for the number that the account has now; return whether it is another than before.

        It is on the disk then: nothing that waits may go from this number, even if the process is killed.

        Args:
            number: Stands for the number, empty if that cannot be told.
            last: The last row that is not over.

        Raises:
            UNUSABLE: It cannot be written; then nothing is noted.
        """
        if number in ("", self._memory.number):
            return False
        is_another = bool(self._memory.number)
        before = max(self._memory.before, last) if is_another else self._memory.before
        memory = replace(self._memory, number=number, before=before)
        self._outbox.remember(memory.dump())
        self._memory = self._written = memory
        return is_another

    def learn(self, chat: str, contact: Contact) -> None:
        """Note what is newly known of a chat."""
        self._contacts[chat] = contact.merged(self._contacts.get(chat, contact))

    def heard(self, desk: Desk, names: Iterable[str], at: float, now: float, *, from_me: bool) -> None:
        """Note that somebody has written in a chat; the desk is told if that was just now.

        Args:
            desk: Told of it.
            names: The chat's addresses.
            at: When, in Unix seconds.
            now: The present.
            from_me: Whether that was the account's own phone.
        """
        for name in names:
            if from_me:
                self.learn(name, Contact(sent_at=min(at, now)))
            elif now - at < OLD_SECONDS:
                desk.heard(name, now)
            else:
                self.learn(name, Contact(heard_at=at))

    def contact(self, names: Iterable[str]) -> Contact:
        """Return what is known of a chat by all its addresses."""
        found = Contact()
        for name in names:
            found = found.merged(self._outbox.contact(name)).merged(self._contacts.get(name, found))
        return found

    def look_back(self, inbox: InboxStore, desk: Desk, now: float) -> None:
        """Learn at the very first time from the inbox whom the account knows, and since when it is there.

        Args:
            inbox: The inbox.
            desk: Told since when.
            now: Unix seconds.
        """
        if (first := inbox.ledger.first_stored()) is not None:
            desk.linked(first)
        for chat, at in inbox.ledger.last_heard().items():
            self.learn(chat, Contact(heard_at=min(at, now)))

    def write(self, desk: Desk) -> None:
        """Write down what is new.

        Raises:
            UNUSABLE: It cannot be written; then the next call does it.
        """
        for name, contact in desk.take_contacts().items():
            self.learn(name, contact)
        if self._contacts:
            self._outbox.note_contacts(self._contacts)
            self._contacts = {}
        self._memory = replace(self._memory, desk=desk.memory)
        if self._memory != self._written:
            self._outbox.remember(self._memory.dump())
            self._written = self._memory
