"""A bot is found, or it is said why not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.bots import loader
from orchestrator.bots.errors import BotError

BOT = "from orchestrator.bots import Bot\nbot = Bot()\n@bot.on_message()\ndef answer(message): ...\n"


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path) -> Iterator[None]:
    """Forget what the test has imported."""
    before = set(sys.modules)
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def refused(app: str, folder: Path) -> BotError:
    with pytest.raises(BotError) as caught:
        loader.load(app, folder)
    assert caught.value.key == "bot_unusable"
    return caught.value


def test_a_bot_is_found(tmp_path: Path) -> None:
    (tmp_path / "found_bot.py").write_text(BOT)
    assert loader.load("found_bot:bot", tmp_path).types == ("message.received",)


def test_a_bot_in_a_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "packed_bot").mkdir()
    (tmp_path / "packed_bot/__init__.py").write_text("")
    (tmp_path / "packed_bot/main.py").write_text(BOT + "class here: bot = bot\n")
    assert loader.load("packed_bot.main:here.bot", tmp_path).types


@pytest.mark.parametrize(
    ("app", "wanted"),
    [
        ("my_bot.py", "for a file my_bot.py, that is my_bot:bot"),
        ("my_bot", "did you mean my_bot:bot?"),
        ("./my_bot:bot", "such as my_bot:bot"),
        ("my bot:bot", "such as"),
        (":", "such as"),
        ("", "such as"),
    ],
)
def test_the_name_of_a_bot_has_two_parts(app: str, wanted: str, tmp_path: Path) -> None:
    assert wanted in str(refused(app, tmp_path))


def test_there_is_no_such_module(tmp_path: Path) -> None:
    (tmp_path / "mybot.py").write_text(BOT)
    assert str(refused("my_bot:bot", tmp_path)).endswith(f"no module my_bot in {tmp_path}, which has mybot")
    assert "no module pack.age" in str(refused("pack.age:bot", tmp_path))


def test_there_is_no_such_attribute(tmp_path: Path) -> None:
    (tmp_path / "other_bot.py").write_text(
        BOT.replace("bot", "robot").replace("orchestrator.robots", "orchestrator.bots")
    )
    assert str(refused("other_bot:bot", tmp_path)).endswith("no bot; did you mean other_bot:robot?")


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("bot = 7\n", "is no Bot, but a int; odd_bot0 has no Bot at all"),
        ("from orchestrator.bots import Bot as bot\n", "it is the class"),
        ("from orchestrator.bots import Bot\nbot = Bot()\n", "has no handlers: put @bot.on_message()"),
    ],
)
def test_the_attribute_is_no_bot(code: str, wanted: str, tmp_path: Path) -> None:
    number = len(code) % 1000
    (tmp_path / f"odd_bot{number}.py").write_text(code)
    assert wanted.replace("odd_bot0", f"odd_bot{number}") in str(refused(f"odd_bot{number}:bot", tmp_path))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("def f(): raise RuntimeError('needle')\nf()\n", "RuntimeError"),
        ("bot = (\n", "SyntaxError"),
        ("import sys\nsys.exit('needle')\n", "SystemExit"),
        ("import no_such_package.inside\n", "ModuleNotFoundError"),
    ],
)
def test_the_module_raises(code: str, kind: str, tmp_path: Path) -> None:
    name = f"bad_{kind.lower()}"
    (tmp_path / f"{name}.py").write_text(code)
    error = refused(f"{name}:bot", tmp_path)
    assert "needle" not in str(error)
    assert not [place for place in error.places if "needle" in place]
    assert kind in error.trace
    assert f'File "{tmp_path}/{name}.py"' in error.trace
    assert "importlib" not in error.trace
    assert error.places[0].startswith(kind)
    if kind == "SyntaxError":
        assert error.places[-1].strip() == f"{name}.py:1"
    if kind == "ModuleNotFoundError":
        assert "Python does not find no_such_package. Install it" in str(error)
    if kind == "RuntimeError":
        assert f"{name}.py:1 f" in error.places[-1]
        assert "needle" in error.trace
