"""Whether the driver of Postgres is installed, which the plain installation does not have."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from orchestrator.errors import StoreUnusable


def need() -> None:
    """See that the driver is there, before anything is imported that needs it.

    Raises:
        StoreUnusable: It is not; the message says how to install it.
    """
    if find_spec("psycopg") is None:
        pip = shlex.quote(str(Path(sys.prefix) / "bin/pip"))
        raise StoreUnusable(
            "the configuration has `store:`, and the driver of Postgres is not installed:"
            f" `{pip} install -r requirements/cluster.txt`",
            key="packages_missing",
        )
