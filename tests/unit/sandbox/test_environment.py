import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.sandbox.environment import HOOK, ROOT_KEY_VARIABLE, as_shell, client_environment
from orchestrator.store import realm

KEY = bytes(range(32))


def environment(base: dict[str, str] | None = None) -> dict[str, str]:
    return client_environment(port=8443, ca_file=Path("/state/ca.pem"), root_key=KEY, base=base)


def test_it_holds_all_that_neonize_needs_and_no_more() -> None:
    assert environment() == {
        "HTTPS_PROXY": "http://127.0.0.1:8443",
        "https_proxy": "http://127.0.0.1:8443",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "SSL_CERT_FILE": "/state/ca.pem",
        "PYTHONPATH": str(HOOK),
        ROOT_KEY_VARIABLE: KEY.hex(),
    }


@pytest.mark.parametrize(
    ("address", "proxy"),
    [("192.0.2.1", "http://192.0.2.1:8443"), ("2001:db8::1", "http://[2001:db8::1]:8443")],
)
def test_the_proxy_may_be_at_another_address(address: str, proxy: str) -> None:
    found = client_environment(port=8443, ca_file=Path("/state/ca.pem"), root_key=KEY, address=address)
    assert found["https_proxy"] == found["HTTPS_PROXY"] == proxy


def test_the_base_is_kept_but_for_what_would_lead_elsewhere() -> None:
    base = {"HOME": "/home/me", "https_proxy": "http://corporate:3128", "NO_PROXY": "*.whatsapp.com"}
    before = dict(base)
    assert environment(base) == {**environment(), "HOME": "/home/me"}
    assert base == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", [str(HOOK)]),
        ("/a:/b", [str(HOOK), "/a", "/b"]),
        (f"/a:{HOOK}:/b", [str(HOOK), "/a", "/b"]),
        (str(HOOK), [str(HOOK)]),
    ],
)
def test_the_hook_comes_first_and_once_on_the_path(before: str, after: list[str]) -> None:
    assert environment({"PYTHONPATH": before})["PYTHONPATH"].split(os.pathsep) == after


def test_the_certificate_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = client_environment(port=1, ca_file=Path("ca.pem"), root_key=KEY)["SSL_CERT_FILE"]
    assert found == str(tmp_path / "ca.pem")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        client_environment(port=1, ca_file=Path("ca.pem"), root_key=KEY[1:])


def test_a_shell_gets_the_same_values_back() -> None:
    values = {"A": "plain", "B": 'it\'s "$HOME" `id` \\ \n;x', "C": ""}
    script = 'eval "$1"; printf "%s\\0%s\\0%s" "$A" "$B" "$C"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", as_shell(values)], env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\0") == list(values.values())


def test_each_variable_is_exported_on_a_line_of_its_own() -> None:
    lines = as_shell(environment()).splitlines()
    assert len(lines) == len(environment())
    assert all(line.startswith("export ") for line in lines)


def test_the_hook_and_the_sessions_have_the_same_name_for_the_key() -> None:
    spec = importlib.util.spec_from_file_location("hook", HOOK / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    meta_path = list(sys.meta_path)
    try:
        spec.loader.exec_module(hook)
    finally:
        sys.meta_path[:] = meta_path
    assert hook.VARIABLE == realm.VARIABLE == ROOT_KEY_VARIABLE


def test_it_can_be_had_without_cryptography() -> None:
    program = (
        "import sys; import orchestrator.sandbox.environment;"
        "print([name for name in sys.modules if name.startswith(('cryptography', 'neonize'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
