"""Loads a program of the repository that is no module, such as scripts/release, to try its functions."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType


def loaded(program: Path) -> ModuleType:
    """Return a program as a module, without running it and without leaving byte code beside it."""
    loader = SourceFileLoader(f"program_{program.name.replace('-', '_')}", str(program))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # its dataclasses look there
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module
