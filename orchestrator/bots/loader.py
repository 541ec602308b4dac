"""Finds a bot by ``module:attribute``, and says in plain words why there is none."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from orchestrator.bots import runner
from orchestrator.bots.bot import Bot
from orchestrator.bots.errors import BotError

_APP: Final = re.compile(
    r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)"
)


def split(app: str) -> tuple[str, str]:
    """Return the module and the attribute of ``module:attribute``.

    Raises:
        BotError: The text has another form.
    """
    found = _APP.fullmatch(app)
    if found is None:
        if app.endswith(".py"):
            hint = f"; for a file {app}, that is {Path(app).stem}:bot"
        elif re.fullmatch(r"[\w.]+", app):
            hint = f"; did you mean {app}:bot?"
        else:
            hint = ""
        raise BotError(f"a bot is named by its module and the bot in it, such as my_bot:bot{hint}")
    return found["module"], found["attribute"]


def load(app: str, folder: Path) -> Bot:
    """Import a bot. Its folder comes first where Python looks for modules.

    Args:
        app: ``module:attribute``.
        folder: The folder with the module, absolute.

    Raises:
        BotError: There is none.
    """
    module_name, attribute = split(app)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    module = _import(module_name, folder)
    found: object = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise BotError(f"{module_name} has no {attribute}{_instead(module, module_name)}") from None
    if not isinstance(found, Bot):
        is_class = found is Bot or (isinstance(found, type) and issubclass(found, Bot))
        made = ": it is the class. Make one: bot = Bot()" if is_class else f", but a {type(found).__name__}"
        raise BotError(f"{app} is no Bot{made}{_instead(module, module_name)}")
    if not found.types:
        raise BotError(f"{app} has no handlers: put @bot.on_message() above a function")
    return found


def _import(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise BotError(f"there is no module {name} in {folder}{_modules(folder)}") from None
        # What is missing is a name of a package, which is no secret.
        missing = error.name or "a module"
        raise _broken(
            name,
            error,
            folder,
            f": Python does not find {missing}. Install it where the orchestrator is installed",
        ) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the module's code does
        raise _broken(name, error, folder) from None


def _broken(name: str, error: BaseException, folder: Path, more: str = "") -> BotError:
    """Return what is told of a module that raises."""
    trace = "".join(_own(traceback.format_exception(error)))
    return BotError(
        f"the module {name} cannot be imported{more}",
        trace=trace,
        places=tuple(runner.describe(error, folder)),
    )


def _own(lines: list[str]) -> list[str]:
    """Return a traceback without the lines about this module and the import system."""
    ours = (f'  File "{__file__}"', '  File "<frozen importlib', f'  File "{importlib.__file__}"')
    return [line for line in lines if not line.startswith(ours)]


def _instead(module: ModuleType, name: str) -> str:
    bots = sorted(key for key, value in vars(module).items() if isinstance(value, Bot))
    return f"; did you mean {name}:{bots[0]}?" if bots else f"; {name} has no Bot at all: bot = Bot()"


def _modules(folder: Path) -> str:
    try:
        found = sorted(path.stem for path in folder.glob("*.py"))
    except OSError:
        found = []
    if not found:
        return ", which has no Python files"
    return f", which has {', '.join(found[:10])}{' and more' if len(found) > 10 else ''}"
