"""Measurements that can be repeated; each is a command of its own, see README.md in this folder."""

import sys
from pathlib import Path

# The real client in a process of its own is the tests' (support.neonize_process); they find it by this
# folder too, see `pythonpath` in pyproject.toml.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
