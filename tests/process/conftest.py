import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a shorter path than pytest's own: that of a socket in it may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder:
        yield Path(folder)
