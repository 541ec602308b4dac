"""Requests to a running sandbox: where it is, what lets one in, and what its answers mean."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode, urlsplit

from orchestrator.errors import OrchestratorError
from orchestrator.sandbox import token as tokens

DEFAULT_PORT: Final = 8443
"""Where ``orchestrator sandbox serve`` listens for WhatsApp clients unless told otherwise."""
DEFAULT_CONTROL_PORT: Final = 8444
"""Where a sandbox takes commands unless told otherwise."""
DEFAULT_CONTROL: Final = f"http://127.0.0.1:{DEFAULT_CONTROL_PORT}"
CONTROL_VARIABLE: Final = "ORCHESTRATOR_SANDBOX_CONTROL"
"""The environment variable that names another address than the default one."""

TIMEOUT: Final = 100.0
"""Seconds for an answer. Entering a code takes longest: it waits for the WhatsApp client twice 30 s."""
MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a request that the server accepts."""
UNAUTHORIZED: Final = 401
"""The status of an answer to a request without the sandbox's secret."""

Json: TypeAlias = dict[str, Any]


class SandboxError(OrchestratorError):
    """The sandbox could not do something; the message says why.

    Attributes:
        status: The HTTP status of the sandbox's answer: 400 for a request that makes no sense, 409 for a
            request that cannot be carried out now, 401, 403, 415 or 421 for one that is refused unread, 500
            for an error of the sandbox. None without an answer.
    """

    key = "sandbox_failed"

    def __init__(self, message: str, status: int | None = None, *, key: str | None = None) -> None:
        super().__init__(message, key=key)
        self.status = status


class SandboxUnreachable(SandboxError):  # noqa: N818 - the name says more than that this is an error
    """No sandbox answers at the address; the message says how to start one."""

    key = "sandbox_unreachable"


class Requests:
    """The requests of a `SandboxClient`, and the secret that goes with them."""

    def __init__(self, address: str | None = None, *, token_file: Path | None = None) -> None:
        self.address = address or os.environ.get(CONTROL_VARIABLE) or DEFAULT_CONTROL
        self._host, self._port = _host_and_port(self.address)
        self._token_file = token_file
        self._token: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def _object(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        wait: float = 0,
    ) -> Json:
        answer = self._ask(method, path, body, query=query, wait=wait)
        if not isinstance(answer, dict):
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {REMEDY}")
        return answer

    def _list(self, method: str, path: str, *, query: Mapping[str, str | int] | None = None) -> list[Json]:
        answer = self._ask(method, path, query=query)
        if not isinstance(answer, list):
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {REMEDY}")
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        wait: float = 0,
    ) -> Any:  # noqa: ANN401 - any JSON value
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body).encode()
        if data is not None and len(data) > MAX_BODY:
            raise SandboxError(f"the request has {len(data):,} bytes; the sandbox accepts {MAX_BODY:,}")
        token, self._token = self._token or self._find_token(), None
        status, answer = self._request(method, target, data, token, wait)
        if status == UNAUTHORIZED:  # a sandbox that was started anew with another state folder
            token = self._find_token()
            status, answer = self._request(method, target, data, token, wait)
        if status != 200:
            text = answer.get("error") if isinstance(answer, dict) else None
            raise SandboxError(str(text or f"HTTP status {status}"), status)
        self._token = token
        return answer

    def _find_token(self) -> str:
        """Return the sandbox's secret; where it is, the sandbox tells."""
        path = self._token_file
        if path is None or not os.path.lexists(path):
            status, answer = self._request("GET", "/", None, None, 0)
            named = answer.get("token_file") if isinstance(answer, dict) else None
            if status != UNAUTHORIZED or not isinstance(named, str):
                raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {REMEDY}")
            path = Path(named)
        try:
            return tokens.read(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            whose = tokens.owner(path)
            raise SandboxError(
                f"the sandbox at {self.address} asks for the secret in {path}, which cannot be read ({why}):"
                f" run the command as the user {whose or 'who started the sandbox'}, or start a sandbox of"
                " your own, on other ports"
            ) from None

    def _request(
        self, method: str, target: str, data: bytes | None, token: str | None, wait: float
    ) -> tuple[int, Any]:
        """Return status and answer of one request."""
        import http.client  # it brings ssl and email along, which --help can do without

        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        # Unlike urllib this never goes through a proxy, and in the sandbox's environment there is one.
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT + wait)
        try:
            try:
                connection.connect()
            except OSError as error:
                why = error.strerror or str(error)
                raise SandboxUnreachable(f"no sandbox answers at {self.address} ({why}): {REMEDY}") from None
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except TimeoutError:
            raise SandboxUnreachable(
                f"the sandbox at {self.address} does not answer: look at its log, or restart the sandbox"
            ) from None
        except OSError:
            raise SandboxUnreachable(
                f"the sandbox at {self.address} ended before it answered: look at its log"
            ) from None
        except (http.client.HTTPException, ValueError):
            raise SandboxUnreachable(f"the program at {self.address} is not a sandbox: {REMEDY}") from None
        finally:
            connection.close()


REMEDY = (
    "start one with 'orchestrator sandbox serve', "
    f"or name another address with --control or in ${CONTROL_VARIABLE}"
)


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    else:
        if parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.username:
            host = None
    if not host or not port:
        raise ValueError(f"{address!r} is no address of a sandbox: write one like {DEFAULT_CONTROL}")
    return host, port


def in_base64(data: bytes) -> str:
    """Return bytes as requests have them."""
    return base64.b64encode(data).decode()
