"""The environment that sends a client process to the sandbox instead of WhatsApp."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT_KEY_VARIABLE = "ORCHESTRATOR_SANDBOX_ROOT_KEY"
"""Where the hook looks for the key. The hook cannot import this module, and repeats the name."""
LOOPBACK = "127.0.0.1"
"""Where the sandbox listens for WhatsApp clients unless told otherwise."""
HOOK = Path(__file__).resolve().parent / "hook"
"""The folder of the sitecustomize module that puts the key into neonize."""


def client_environment(
    *,
    port: int,
    ca_file: Path,
    root_key: bytes,
    base: Mapping[str, str] | None = None,
    address: str = LOOPBACK,
) -> dict[str, str]:
    """Return the environment in which neonize connects to the sandbox and not to WhatsApp.

    A process must have this environment from its start: Go reads the environment once, and Python looks for
    the hook at the start.

    Args:
        port: The port of the sandbox's proxy.
        ca_file: The certificate authority's certificate, PEM.
        root_key: The 32-byte public key that signs the sandbox's Noise certificates.
        base: The other variables. With `os.environ` the result is a process's whole environment. With only
            PYTHONPATH, the result is what a shell has to add to its environment.
        address: The IP address of the sandbox's proxy.

    Raises:
        ValueError: The key is not 32 bytes.
    """
    if len(root_key) != 32:
        raise ValueError(f"the root key must be 32 bytes, not {len(root_key)}")
    base = base or {}
    proxy = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    # The program's own loopback traffic stays direct. An earlier list is not kept: it could name WhatsApp.
    direct = "127.0.0.1,localhost"
    return {
        **base,
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "SSL_CERT_FILE": str(ca_file.absolute()),
        "PYTHONPATH": _with_hook(base.get("PYTHONPATH", "")),
        ROOT_KEY_VARIABLE: root_key.hex(),
    }


def as_shell(environment: Mapping[str, str]) -> str:
    """Return ``export`` lines that a POSIX shell can evaluate, whatever the values are."""
    import shlex

    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def as_unset(environment: Mapping[str, str], *more: str) -> str:
    """Return lines by which a POSIX shell leaves the sandbox's environment; none if it is not there.

    What the variables said before is not known any more. PYTHONPATH keeps its other entries.

    Args:
        environment: The shell's environment.
        more: Further variables that the sandbox has set.
    """
    import shlex

    if ROOT_KEY_VARIABLE not in environment:
        return ""
    gone = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", ROOT_KEY_VARIABLE, *more]
    path = os.pathsep.join(_without_hook(environment.get("PYTHONPATH", "")))
    kept = f"export PYTHONPATH={shlex.quote(path)}\n" if path else ""
    gone += [] if path else ["PYTHONPATH"]
    return kept + "unset " + " ".join(name for name in gone if name in environment) + "\n"


def _with_hook(path: str) -> str:
    return os.pathsep.join([str(HOOK), *_without_hook(path)])


def _without_hook(path: str) -> list[str]:
    return [entry for entry in path.split(os.pathsep) if entry != str(HOOK)] if path else []
