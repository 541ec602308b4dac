"""The key of the configuration under ``store``: where the accounts are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator.config.locate import expand
from orchestrator.config.problems import KeyPath
from orchestrator.config.section import Section
from orchestrator.config.types import Type, Unfit, Where
from orchestrator.config.yaml_tree import Scalar

PATH: KeyPath = ("store",)
"""Where the section stands."""


@dataclass(frozen=True, slots=True)
class DsnFile(Type[Path]):
    """The path of a file with a DSN, absolute; what is in it, only those read who connect."""

    @property
    def expected(self) -> str:
        return "the path of a file with a DSN on one line"

    def read(self, value: Scalar, where: Where) -> Path:
        if value.type != "text" or not value.text:
            raise Unfit(self.expected)
        if "://" in value.text or "=" in value.text:
            raise Unfit(self.expected, "what may have a password in it: move that into a file", free=True)
        try:
            return expand(value.text, base=where.base, environ=where.environ)
        except ValueError as error:
            raise Unfit(self.expected, str(error), free=True) from None


class StoreSection(Section):
    """Where the accounts are kept."""

    place = "under store"
    required = ("dsn_file",)

    dsn_file: Annotated[Path | None, DsnFile()] = Field(
        default=None,
        description="A file with one line, the DSN: where the database is, and who logs in. The file belongs"
        " to root or to the service's user, and nobody else may read or write the file (mode 0400)."
        " docs/postgres.md has an example and says how to make the database. A service with `store:` needs"
        " the packages of requirements/cluster.txt. Another database needs a restart of the service.",
        examples=["postgres.secret"],
    )


def dsn_file(
    section: StoreSection | None, wrong: Collection[KeyPath], report: Callable[[KeyPath, str], None]
) -> Path | None:
    """Return the file of a section, None without one; report that it is missing."""
    if section is None:
        return None
    if section.dsn_file is None and (*PATH, "dsn_file") not in wrong:
        report(PATH, "expected the key dsn_file, found none")
    return section.dsn_file
