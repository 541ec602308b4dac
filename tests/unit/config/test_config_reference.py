"""What is made from the models of the configuration: the example, the reference and the JSON Schema."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config import reader, reference
from orchestrator.config.model import SECTIONS
from orchestrator.config.section import Section
from orchestrator.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
REMEDY = "made anew by `orchestrator config"


@pytest.mark.parametrize(
    ("file", "made", "command"),
    [
        ("accounts.example.yaml", reference.example, "example"),
        ("docs/configuration.md", reference.reference, "reference"),
        (reference.SCHEMA_FILE, lambda: json.dumps(reference.json_schema(), indent=2) + "\n", "schema"),
    ],
)
def test_the_files_are_in_step_with_the_models(file: str, made: Any, command: str) -> None:  # noqa: ANN401
    assert (ROOT / file).read_text() == made(), f"{file} is {REMEDY} {command} > {file}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_explains_itself(section: type[Section]) -> None:
    for name, field in section.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_every_setting_of_an_account_says_whether_its_change_needs_a_new_process() -> None:
    for field in dataclasses.fields(AccountSettings):
        assert isinstance(field.metadata["new_process"], bool), field.name


def judge(text: str) -> bool:
    """What an editor says of a file."""
    schema = reference.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        reference.example(), "{}", "accounts:", "accounts: {a: }", "defaults:\nstart:\n",
        "accounts: {a: {phone: '+49 151 1234567', proxy: SOCKS5://u:p@h:1, memory_limit: 1.5G}}",
        "defaults: {backoff: {base: 1m30s, factor: 1.5}, memory_limit: null}", "quarantine_days: 0.5",
        "http:\nwebhooks:\nbots:", "http: {}", "confine: off\naccounts: {a: {sending: {pacing: off}}}",
        "http: {listen: [systemd, '[::1]:80', unix:/x], allowed_hosts: h}",
        "http: {public_url: https://h/x, trusted_proxies: 10.0.0.0/8, max_body: 16K}",
        "webhooks: {crm: {url: HTTPS://h/, secret_env: X, accounts: null, headers: {X-A: 1, X-B: b}}}",
        "webhooks: {crm: {url: http://h/, secret_env: X, accounts: a, events: ['*']}}\naccounts: {a: }",
    ],
)  # fmt: skip
def test_an_editor_takes_what_the_service_takes(text: str) -> None:
    assert judge(text)
    reader.parse(text, "/f", environ={"HOME": "/h"})


@pytest.mark.parametrize(
    "text",
    [
        "acounts: {}", "accounts: {a: {prxy: x}}", "start: {parallel: two}", "defaults: {backoff: {base: 3}}",
        "accounts: {a: {proxy: 3128}}", "accounts: {a: {enabled: perhaps}}", "defaults: {memory_limit: 100}",
        "accounts: {a: {device_name: ''}}", "start: {parallel: 0}", "defaults: {backoff: {jitter: 2}}",
        "http: {listen: []}", "http: {listen: 80}", "http: {prt: 80}", "webhooks: {crm: }", "webhooks: []",
        "webhooks: {crm: {secret_env: X}}", "webhooks: {crm: {url: ftp://h/, secret_env: X}}",
        "webhooks: {crm: {url: http://h/, secret_env: X, format: clout}}", "bots: {echo: {path: .}}",
        "bots: {echo: {app: my_bot}}", "bots: {echo: {app: 'a:b', memory_limit: 1}}",
    ],
)  # fmt: skip
def test_an_editor_refuses_what_the_service_refuses(text: str) -> None:
    assert not judge(text)
    with pytest.raises(ConfigError):
        reader.parse(text, "/f", environ={"HOME": "/h"})
