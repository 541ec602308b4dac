"""What a bot can do without an event: send, react, and look after groups. In a handler it knows the event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.bots import actions, groups
from orchestrator.bots.actions import Answer, Done, Link, Sent, Turn
from orchestrator.bots.contents import Content
from orchestrator.bots.groups import Found, Groups


class Sender:
    """Has accounts do something. A bot of the service has those that the configuration gives it.

    All methods raise `ActionError` if it cannot be done, which a coroutine gets when it awaits, and
    `RuntimeError` if the bot does not run.
    """

    _link: tuple[Link, asyncio.AbstractEventLoop] | None = None

    def attach(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        """Give the bot its way to the service. What runs the bot calls this."""
        self._link = (link, loop)

    def send(
        self,
        account: str,
        to: str,
        content: str | Content,
        *,
        reply_to: str | None = None,
        mentions: Sequence[str] = (),
        link_preview: bool = False,
        tag: str | None = None,
        expires: float | None = None,
    ) -> Sent:
        """Send something from an account.

        It waits up to 20 s until WhatsApp has it. What takes longer, because the account is not connected or
        takes its time, is still on its way: `Sent.state` is ``queued``. In a handler, an event that is
        brought again sends nothing twice: see `Message.reply`.

        Args:
            account: The account.
            to: The chat: its address, or a number with +.
            content: A text of 4,096 characters at most, or an `Image`, a `Poll` and so on.
            reply_to: WhatsApp's id of a message of that chat that it answers.
            mentions: Addresses or numbers of the people whom a text mentions.
            link_preview: Whether the first link of a text is shown with title and picture.
            tag: A text of your own, which `Status` has again.
            expires: After how many seconds it is not sent any more, None for the account's setting.
        """
        return self._turn().send(
            account, to, content, reply_to=reply_to, mentions=mentions, link_preview=link_preview, tag=tag,
            expires=expires,
        )  # fmt: skip

    def react(self, account: str, chat: str, message: str, emoji: str) -> Sent:
        """React to a message.

        Args:
            account: The account.
            chat: The address of its chat.
            message: WhatsApp's id of it.
            emoji: One emoji; empty to take a reaction back.
        """
        return self._turn().react(account, chat, message, emoji)

    def edit(self, account: str, chat: str, message: str, text: str, *, mentions: Sequence[str] = ()) -> Sent:
        """Put another text in the place of one that the account has sent."""
        return self._turn().edit(account, chat, message, text, mentions=mentions)

    def revoke(self, account: str, chat: str, message: str) -> Sent:
        """Delete a message for everyone: an own one, or anybody's in a group that the account governs."""
        return self._turn().revoke(account, chat, message)

    def mark_read(self, account: str, chat: str, *messages: str) -> Done:
        """Mark messages as read: their senders see blue ticks."""
        return self._turn().mark_read(account, chat, messages)

    def groups(self, account: str) -> Groups:
        """Return the groups of an account: ``(await bot.groups("support").list()).value``."""
        return Groups(self._turn(), account)

    def find_numbers(self, account: str, *numbers: str) -> Answer[tuple[Found, ...]]:
        """Find out whether numbers with + are on WhatsApp, 50 at most. WhatsApp counts such questions."""
        return groups.find_numbers(self._turn(), account, numbers)

    def _turn(self) -> Turn:
        turn = actions.present.get()
        if turn is None:
            if self._link is None:
                raise RuntimeError("the bot does not run: a bot can send once the service has started it")
            turn = Turn(*self._link)
        return turn
