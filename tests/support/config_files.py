"""Configurations as people write them: comments, columns, quotes, braces."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

NAMES = st.from_regex(r"\A[a-z][a-z0-9._-]{0,6}\Z").filter(lambda name: name not in ("new", "y", "n"))
COMMENTS = st.sampled_from(["# a comment", "#", "# key: value", "#: 'x"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=80).map(str.encode)
"""Files of any text."""


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A configuration as a person may have written it, and its accounts."""
    indent = draw(st.integers(1, 5))
    inner = draw(st.integers(1, 5))
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    spaced = draw(st.booleans())
    lines = draw(st.lists(COMMENTS | st.just(""), max_size=2))
    if draw(st.booleans()):
        lines += ["defaults:", " " * inner + "max_retries:   5  # five"]
    lines += ["accounts:" + draw(st.sampled_from(["", "   ", " # ours"]))]
    for index, name in enumerate(names):
        if spaced and index:
            lines.append("")
        lines += [" " * indent + text for text in draw(st.lists(COMMENTS, max_size=2))]
        quote = (
            draw(st.sampled_from(["", "'", '"'])) if name not in ("on", "no", "off", "yes", "null") else "'"
        )
        form = draw(st.sampled_from(["null", "braces", "block"]))
        key = " " * indent + quote + name + quote + ":"
        deeper = " " * (indent + inner)
        match form:
            case "null":
                lines.append(key)
            case "braces":
                lines.append(key + "  { enabled: true,   max_retries: 3 } # x")
            case "block":
                lines += [
                    key + "   # block",
                    deeper + "enabled:   off",
                    deeper + "# inside",
                    deeper + "backoff:",
                ]
                lines += [deeper + " base: 1s", deeper + 'device_name: "# no: comment"']
        lines += [deeper + text for text in draw(st.lists(COMMENTS, max_size=1))]
    if draw(st.booleans()):
        lines += draw(
            st.sampled_from([["start: {parallel: 3}"], ["", "# end", "start:", "  spread: 2s"], [""]])
        )
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join(lines) + draw(st.sampled_from(["", newline])), names


@st.composite
def files_with_account(draw: st.DrawFn) -> tuple[str, list[str], str]:
    """A configuration that has accounts, its accounts, and one of them."""
    text, names = draw(files().filter(lambda file: bool(file[1])))
    return text, names, draw(st.sampled_from(names))


@contextlib.contextmanager
def on_disk(data: bytes) -> Iterator[Path]:
    """Yield the path of a file that has this content, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "accounts.yaml"
        path.write_bytes(data)
        yield path
