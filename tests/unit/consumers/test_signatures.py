import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from orchestrator.consumers.signatures import Signer

SECRETS = st.binary(min_size=24, max_size=64)
BODIES = st.dictionaries(st.text(), st.text()).map(lambda value: json.dumps(value).encode())


def whsec(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}"


def sign(
    *secrets: bytes, body: bytes, event: str = "evt_support_17", app: bytes | None = None
) -> dict[str, str]:
    headers = Signer(secrets, app).headers(event, int(time.time()), body)
    return {name.decode(): value.decode() for name, value in headers}


@given(SECRETS, BODIES)
def test_a_receiver_with_the_secret_believes_it(secret: bytes, body: bytes) -> None:
    assert Webhook(whsec(secret)).verify(body, sign(secret, body=body)) == json.loads(body)


@given(st.lists(SECRETS, min_size=2, max_size=2, unique=True), BODIES)
def test_while_a_secret_is_rotated_both_are_good(secrets: list[bytes], body: bytes) -> None:
    headers = sign(*secrets, body=body)
    for secret in secrets:
        Webhook(whsec(secret)).verify(body, headers)


@given(st.lists(SECRETS, min_size=2, max_size=2, unique=True), BODIES)
def test_another_secret_is_not_believed(secrets: list[bytes], body: bytes) -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(whsec(secrets[1])).verify(body, sign(secrets[0], body=body))


def test_another_body_id_or_time_is_not_believed() -> None:
    secret = bytes(24)
    headers, webhook = sign(secret, body=b"{}"), Webhook(whsec(secret))
    webhook.verify(b"{}", headers)
    for changed, body in (
        ({}, b"{ }"),
        ({"webhook-id": "evt_support_18"}, b"{}"),
        ({"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, b"{}"),
    ):
        with pytest.raises(WebhookVerificationError):
            webhook.verify(body, {**headers, **changed})


@given(st.binary(min_size=1), BODIES)
def test_the_signature_of_the_hub_is_over_the_body_alone(app: bytes, body: bytes) -> None:
    expected = hmac.new(app, body, hashlib.sha256).hexdigest()
    assert sign(body=body, app=app)["x-hub-signature-256"] == f"sha256={expected}"


def test_without_secrets_nothing_is_signed() -> None:
    assert sign(body=b"{}").keys() == {"webhook-id", "webhook-timestamp"}
