"""Errors of the Cloud API as answers of the server."""

from __future__ import annotations

import secrets

from orchestrator.gateway.cloud import faults
from orchestrator.gateway.cloud.faults import Fault


def refusal(fault: Fault) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of an answer about an error."""
    headers = {"content-type": "application/json"}
    if fault.retry_after is not None:
        headers["retry-after"] = str(fault.retry_after)
    if fault.status == 401:
        headers["www-authenticate"] = "Bearer"
    return faults.body(fault, secrets.token_urlsafe(12)), headers
