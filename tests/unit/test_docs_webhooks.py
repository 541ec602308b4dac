"""What docs/webhooks.md tells receivers to do works, with what we send."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.consumers.signatures import Signer

PAGE = (Path(__file__).resolve().parents[2] / "docs/webhooks.md").read_text()
KEYS = (bytes(range(32)), bytes(range(1, 33)))
SECRETS = [f"whsec_{base64.b64encode(key).decode()}" for key in KEYS]
BODY = b'{"id":"evt_support_17"}'


def snippet(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert isinstance(found, str)
    return found


def cases() -> list[tuple[str, dict[str, str], bytes, bool]]:
    def headers(*keys: bytes, at: float = 0) -> dict[str, str]:
        signed = Signer(keys).headers("evt_support_17", int(time.time() + at), BODY)
        return {name.decode(): value.decode() for name, value in signed}

    return [
        (SECRETS[0], headers(KEYS[0]), BODY, True),
        (SECRETS[0], headers(*KEYS), BODY, True),
        (SECRETS[1], headers(*KEYS), BODY, True),
        (SECRETS[1], headers(KEYS[0]), BODY, False),
        (SECRETS[0], headers(KEYS[0]), BODY + b" ", False),
        (SECRETS[0], headers(KEYS[0], at=-600), BODY, False),
        (SECRETS[0], headers(KEYS[0], at=600), BODY, False),
        (SECRETS[0], {**headers(KEYS[0]), "webhook-id": "evt_support_18"}, BODY, False),
    ]


def test_python() -> None:
    scope: dict[str, Any] = {}
    exec(snippet("python"), scope)
    assert [scope["is_genuine"](*case[:3]) for case in cases()] == [case[3] for case in cases()]


def test_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    given = [[secret, headers, base64.b64encode(body).decode()] for secret, headers, body, _ in cases()]
    program = snippet("js") + (
        f"for (const [secret, headers, body] of {json.dumps(given)})"
        " console.log(isGenuine(secret, headers, Buffer.from(body, 'base64')));"
    )
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(case[3]).lower() for case in cases()]


def test_php() -> None:
    php = shutil.which("php")
    if php is None:
        pytest.skip("there is no php")
    given = json.dumps(
        [[secret, headers, base64.b64encode(body).decode()] for secret, headers, body, _ in cases()]
    )
    program = snippet("php") + (
        "foreach (json_decode(stream_get_contents(STDIN), true) as [$secret, $headers, $body])"
        " echo is_genuine($secret, $headers, base64_decode($body)) ? 'true ' : 'false ';"
    )
    done = subprocess.run([php, "-r", program], input=given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(case[3]).lower() for case in cases()]
