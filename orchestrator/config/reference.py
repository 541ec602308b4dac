"""What the configuration can hold, for people and for editors: a JSON Schema, an example and a reference.

All three are made from the classes in `model`. Tests keep the files that are made from them in step.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.gateway_model import BotSection, WebhookSection
from orchestrator.config.model import (
    SECTIONS,
    AccountSection,
    Configuration,
    DefaultsSection,
    OwnSection,
    type_of,
    type_or_none,
)
from orchestrator.config.section import Section, section_of

SCHEMA_FILE = "docs/accounts.schema.json"
"""Where the repository keeps the JSON Schema, as the first line of the example names it."""

_WIDTH = 110
_EXAMPLE_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
#
# Every key of the configuration, with its default.
#
# The service looks for its configuration at --config, $ORCHESTRATOR_CONFIG, ./accounts.yaml,
# ~/.config/orchestrator/accounts.yaml and /etc/orchestrator/accounts.yaml, in this order.
#
# A duration has units: 500ms, 3s, 5m, 1h30m, 7d. So has a size: 512K, 200M, 1.5G (1K is 1,024 bytes).
# In paths, ~, $HOME, $USER, $XDG_… and $…_DIRECTORY are replaced, and ${{env:NAME}} by the variable NAME.
# A relative path starts from the folder of this file.
# Unknown keys and bad values are errors. The service does not start with a file that has errors.
"""
_EXAMPLE_NAME = "support"
_NAMED: dict[str, tuple[str, type[Section]]] = {
    "webhooks": ("crm", WebhookSection),
    "bots": ("echo", BotSection),
}
"""The mappings of names to sections beside the accounts, each with a name for the example."""
_EXAMPLE_TAIL = """
    # Any key of defaults may follow, for this account alone:
    # proxy: socks5://127.0.0.1:1080
    # backoff: {max: 10m}
"""
_REFERENCE_HEAD = """\
# Configuration

`accounts.yaml` is one YAML file. `accounts.example.yaml` shows every key with its default. `orchestrator
config example` prints that file. An installation has it in `share/doc/whatsapp-orchestrator/` of its virtual
environment, and `install-unit` puts it into `/etc/orchestrator/`. The command
`orchestrator config reference` makes this page; the explanations are those of
`orchestrator/config/model.py`.

The service looks for the file at `--config`, `$ORCHESTRATOR_CONFIG`, `./accounts.yaml`,
`~/.config/orchestrator/accounts.yaml` and `/etc/orchestrator/accounts.yaml`, in this order. After an edit,
run `orchestrator reload`: the service checks the whole file first, and touches only the accounts whose
settings have changed. `orchestrator config check` checks the file alone.

An editor completes and checks the file by its JSON Schema: write the schema to a file with `orchestrator
config schema > accounts.schema.json`, and begin `accounts.yaml` with the line `# yaml-language-server:
$schema=accounts.schema.json`.

A duration has units (`500ms`, `3s`, `5m`, `1h30m`, `7d`), and so has a size (`512K`, `200M`, `1.5G`; 1K is
1,024 bytes). In paths, `~`, `$HOME`, `$USER`, `$XDG_…` and `$…_DIRECTORY` are replaced, and `${env:NAME}` by
the variable NAME. A relative path starts from the folder of the file.
"""
_ACCOUNTS = """\
{} A name has 1 to 63 characters of a-z, 0-9, dot, dash and underscore, and starts with a letter or a digit.
An account may have every key of `defaults`, and these:
"""
_RELOAD = """\
A change of some keys gives the account a new process: the account is offline for less than a second. A
change of other keys takes effect in the running process. Another content of `proxy_file` counts as a change
of `proxy`. A change of `http`, `webhooks`, `bots` or `on_change` touches no account; their keys say what it
does.
"""
_RESTART: Final = "`state_dir`, `qr_dir`, `qr_group`, `confine`, `memory_merge`, `store`, `cluster.shard`"


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema of the file. Defaults and values are those that stand in the file."""
    schema = Configuration.model_json_schema()
    sections = {section.__name__: section for section in SECTIONS}
    for name, about in schema["$defs"].items():
        about["type"] = ["object", "null"]  # a section may be left blank
        if required := sections[name].required:
            about["type"], about["required"] = "object", [*required]
        _finish(sections[name], about["properties"])
    _finish(Configuration, schema["properties"])
    for key in ("accounts", *_NAMED):
        schema["properties"][key]["type"] = ["object", "null"]
    schema["title"] = "accounts.yaml"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def example() -> str:
    """Return a configuration with every key, its explanation and its default."""
    lines = [_EXAMPLE_HEAD.rstrip("\n")]
    for key in Configuration.model_fields:
        if key in _NAMED:
            lines += ["", *_example_named(key)]
        elif key != "accounts":
            lines += ["", *_example_entry(Configuration, key, "")]
    lines += ["", *_comment(_description(Configuration, "accounts"), ""), "accounts:", f"  {_EXAMPLE_NAME}:"]
    for number, key in enumerate(OwnSection.model_fields):
        lines += ([""] if number else []) + list(_example_entry(AccountSection, key, "    "))
    return "\n".join(lines) + "\n" + _EXAMPLE_TAIL


def reference() -> str:
    """Return the page of the documentation that explains every key, in Markdown."""
    parts = [_REFERENCE_HEAD]
    parts += ["## The top level\n", *_table(Configuration, "")]
    for key, section in _sections(Configuration):
        parts += [f"\n## `{key}`\n", f"{_description(Configuration, key)}\n", *_table(section, f"{key}.")]
        for inner, nested in _sections(section):
            place = f"{key}.{inner}"
            parts += [f"\n### `{place}`\n", f"{_description(section, inner)}\n", *_table(nested, f"{place}.")]
    for key, (_, section) in _NAMED.items():
        parts += [
            f"\n## `{key}`\n",
            f"{_description(Configuration, key)}\n",
            *_table(section, f"{key}.NAME."),
        ]
    parts += ["\n## `accounts`\n", _ACCOUNTS.format(_description(Configuration, "accounts"))]
    parts += [*_table(OwnSection, "accounts.NAME."), "\n## What a reload does\n", _RELOAD]
    parts += [
        f"- New process: {_keys(new_process=True)}.",
        f"- No new process: {_keys(new_process=False)}.",
        f"- Restart of the service: {_RESTART}.",
    ]
    return "\n".join(parts) + "\n"


def _keys(*, new_process: bool) -> str:
    fields = [field for field in dataclasses.fields(AccountSettings) if field.name != "name"]
    names = [field.name for field in fields if field.metadata["new_process"] is new_process]
    return ", ".join(f"`{name}`" for name in names)


def _example_entry(section: type[Section], key: str, indent: str) -> Iterator[str]:
    nested = section_of(section, key)
    if nested is None:
        text = f"{_description(section, key)} Value: {type_of(section, key).expected}."
        yield from _comment(text, indent)
        yield f"{indent}{key}: {_example_value(section, key)}"
        return
    yield from _comment(_description(section, key), indent)
    if section.model_fields[key].default is None:
        yield f"{indent}{key}: null"
        yield from _commented(key, nested, indent)
        return
    yield f"{indent}{key}:"
    for number, inner in enumerate(nested.model_fields):
        if number and nested is DefaultsSection:
            yield ""
        yield from _example_entry(nested, inner, indent + "  ")


def _example_named(key: str) -> Iterator[str]:
    """Yield a mapping of names to sections. The example has none, and one in a comment."""
    name, section = _NAMED[key]
    yield from _comment(_description(Configuration, key), "")
    yield f"{key}: {{}}"
    yield f"# {key}:"
    yield from _commented(name, section, "  ")


def _commented(key: str, section: type[Section], indent: str) -> Iterator[str]:
    """Yield a section as a comment that becomes the section when the marks are taken away."""
    yield f"# {indent}{key}:"
    for inner in section.model_fields:
        for line in _example_entry(section, inner, indent + "  "):
            yield f"# {line}".rstrip()


def _example_value(section: type[Section], key: str) -> str:
    if key not in section.required:
        return _default(section, key)
    examples = section.model_fields[key].examples
    assert examples, f"{section.__name__}.{key} has no example"
    return str(examples[0])


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _table(section: type[Section], prefix: str) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key in section.model_fields:
        if _is_value(section, key):
            value = type_of(section, key).expected
            default = "none: needed" if key in section.required else f"`{_default(section, key)}`"
            cells = (f"`{prefix}{key}`", value, default, _description(section, key))
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _sections(section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    for key in section.model_fields:
        if (nested := section_of(section, key)) is not None:
            yield key, nested


def _is_value(section: type[Section], key: str) -> bool:
    return section_of(section, key) is None and type_or_none(section, key) is not None


def _description(section: type[Section], key: str) -> str:
    description = section.model_fields[key].description
    assert description is not None, f"{section.__name__}.{key} says nothing"
    return description


def _default(section: type[Section], key: str) -> str:
    return type_of(section, key).write(section.model_fields[key].default)


def _finish(section: type[Section], properties: dict[str, Any]) -> None:
    """Give the keys their defaults as the file has them, in place of pydantic's."""
    for key, entry in properties.items():
        entry.pop("title", None)
        entry.pop("default", None)
        if _is_value(section, key):
            value = section.model_fields[key].default
            if key in section.required:
                continue
            as_it_is = value is None or isinstance(value, bool) or type_of(section, key).is_number
            entry["default"] = value if as_it_is else _default(section, key)
