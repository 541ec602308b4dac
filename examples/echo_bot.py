"""Answers every text: orchestrator bot run echo_bot:bot"""

from orchestrator.bots import Bot, Message

bot = Bot()


@bot.on_message(kind="text")
async def answer(message: Message) -> None:
    await message.reply(f"You said {message.text}")
