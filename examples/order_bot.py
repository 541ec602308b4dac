"""Sends files and polls, and deletes what it sent: orchestrator bot run order_bot:bot"""

from orchestrator.bots import Bot, Document, Location, Message, Poll

bot = Bot()


@bot.on_message(text="(?i)^bill$")
async def bill(message: Message) -> None:
    async with message.typing():
        total = b"Two coffees: 7.00\n"  # a real one takes its time
    await message.reply(Document(total, caption="Your bill", name="bill.txt"))
    await message.reply(Poll("Was everything all right?", ["Yes", "No"]), quote=False)


@bot.on_message(text="(?i)^where")
def where(message: Message) -> None:  # plain functions are fine, too
    wait = message.reply("One moment…")
    message.reply(Location(52.52, 13.405, "The shop"))
    wait.revoke()
