"""The process of a bot, which the service starts: ``python -P -m orchestrator.bots``."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

from orchestrator.bots import confining, loader, quiet, serving
from orchestrator.bots.errors import BotError
from orchestrator.control.companions import BOT_VARIABLE, BotExit, BotSpec
from orchestrator.errors import OrchestratorError
from orchestrator.system import logs

log = logging.getLogger("orchestrator.bots")


def main() -> None:
    """Run the bot that the environment names, and end the process with one of `BotExit`."""
    # The bot's code gets neither the spec nor what else is there but not meant for it.
    spec = BotSpec.from_text(os.environ.pop(BOT_VARIABLE))
    form: logs.Format = "journal" if spec.log_format == "journal" else "text"
    if spec.log_format == "json":
        form = "json"
    # Whoever reads the journal's form says whose the lines are.
    handler = logs.configure(spec.log_level, form, account=None if form == "journal" else spec.name)
    quiet.keep_out(handler, spec.path)
    logs.log_uncaught()
    serving.end(_run(spec))


def _run(spec: BotSpec) -> BotExit:
    try:
        sock = socket.socket(fileno=spec.port)
        confining.confine(spec)
        bot = loader.load(spec.app, spec.path)
    except BotError as error:
        log.error("%s%s", error, "".join(f"\n{place}" for place in error.places))
        return BotExit.UNUSABLE
    try:
        return serving.serve(
            lambda: serving.Serving(bot, sock, folder=spec.path, seconds=spec.seconds, beat=spec.beat)
        )
    except OrchestratorError as error:
        log.error("the service does not take the bot: %s", error)
        return BotExit.NO_GATEWAY
    except asyncio.CancelledError:
        return BotExit.ASKED


if __name__ == "__main__":
    main()
