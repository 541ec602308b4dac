"""The one key that every command needs: which state folder a configuration names, without the rest of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.config import yaml_tree
from orchestrator.config.locate import find_state_dir
from orchestrator.config.problems import EMPTY, Problems
from orchestrator.config.types import STATE_DIR, Unfit, Where, kind, single
from orchestrator.config.yaml_tree import YamlError
from orchestrator.errors import ConfigError

_KEY = "state_dir"


def find_state(
    text: str, path: str | Path, *, whole: bool = False, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return the state folder that a configuration names, or the usual one if it names none.

    The folder is the one that `reader.parse` finds in the same text: both read the same tree and the same
    type. Nothing is said about other keys, and the text need be YAML only as far as this key. Commands must
    reach the service while somebody edits the file, too.

    Args:
        text: The text.
        path: The file it belongs to, for messages and for a relative path.
        whole: Read on where the text has named a folder, to see that it does not name another.
        environ: The environment.

    Raises:
        ConfigError: The text does not tell: it is broken before it names a folder, names two, or is empty; or
            what it names is no path.
    """
    where = Where(Path(os.path.abspath(path)).parent, environ)  # noqa: PTH100 - as in `reader.parse`
    document, broken = yaml_tree.read(text) if whole else yaml_tree.parse_for(text, _KEY)
    problems = Problems(text)
    named = None
    try:
        named = _named(document, broken, where, problems)
    except YamlError as error:
        problems.add_broken(error)
    if problems:
        raise ConfigError(problems.report(path))
    return find_state_dir(None, named, environ=environ)


def _named(
    document: yaml_tree.Document, broken: YamlError | None, where: Where, problems: Problems
) -> Path | None:
    root = document.root
    if root is None and broken is None:
        problems.add(None, (), EMPTY)
    problems.add_duplicates([one for one in document.duplicates if one.path == (_KEY,)])
    if root is not None and not isinstance(root, yaml_tree.Mapping):
        text = f"expected a mapping of keys to values, found {kind(root)}{problems.strange(root)}"
        problems.add(root, (), text)
        root = None
    for pair in document.pairs(root) if root is not None else ():
        if pair.key.text == _KEY:
            try:
                folder: Path | None = STATE_DIR.read(single(pair.value), where)
            except Unfit as unfit:
                problems.add_unfit(pair.value, (_KEY,), unfit)
                return None
            return folder
    if broken is not None:
        raise broken
    return None
