"""Stands in for packages that neonize imports and that an account's process never uses.

neonize fetches previews of links, downloads files by their address, guesses types of files and draws codes
in a terminal. The service does these things itself or not at all. The packages behind them would take 20 MB
in the fork server (measured with neonize 0.5.2), and need libmagic of the system. Decision 024.

What is left out of which version was read in neonize's sources: `tests/unit/worker/test_left_out.py` has the
list. Another version gets the real packages.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, NoReturn

from orchestrator.worker.library.package import LibraryError

log = logging.getLogger(__name__)

VERSIONS: Final = frozenset({"0.5.2"})
"""The versions of neonize of which it is known that an account's process uses none of the packages."""
PACKAGES: Final[Mapping[str, frozenset[str]]] = {
    "httpx": frozenset(),
    "linkpreview": frozenset({"link_preview"}),
    "magic": frozenset(),
    "phonenumbers": frozenset({"PhoneNumberFormat", "format_number", "parse"}),
    "requests": frozenset(),
    "segno": frozenset(),
}
"""What is left out, with the names that neonize takes out of each while it is imported."""


class LeftOutError(LibraryError):
    """Something uses a package that is left out."""

    def __init__(self, name: str) -> None:
        text = (
            f"{name} was used, which is left out of accounts' processes: this is a bug, and the list of what"
            " is left out is in orchestrator/worker/library/left_out.py"
        )
        super().__init__(text)
        # Whoever catches it: a bug that nobody hears of is not mended.
        log.error("%s", text)


class _Name:
    """Stands in for what was taken out of a package: it can be had, and not be used."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise LeftOutError(self._name)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise LeftOutError(f"{self._name}.{name}")


class LeftOut(ModuleType):
    """Stands in for a package."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it would be
        # What Python itself looks for in modules, it need not find.
        if name.startswith("__"):
            raise AttributeError(name)
        # Not an AttributeError, which `hasattr` would keep to itself.
        if name not in PACKAGES[self.__name__]:
            raise LeftOutError(f"{self.__name__}.{name}")
        return _Name(f"{self.__name__}.{name}")


def leave_out(version: str) -> None:
    """See that neonize can be imported without the packages, or with as many of them as there are.

    Only a process that is an account's, makes such processes or tries neonize out for them may call this.

    Args:
        version: neonize's version. One that is not known gets the real packages where they can be imported.
            What cannot be imported is left out all the same: an upgrade to a version that still does not use
            it needs no libmagic.
    """
    for name in PACKAGES:
        if name in sys.modules:
            continue
        if version not in VERSIONS:
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(name)
                continue
        sys.modules[name] = LeftOut(name)
