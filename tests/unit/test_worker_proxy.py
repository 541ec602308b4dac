"""An account's own proxy: which URLs the library takes, and that it is the only one left."""

import subprocess
import sys

import pytest

from orchestrator.worker import proxy


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy:8080",
        "https://proxy",
        "socks5://127.0.0.1:1080",
        "socks5://user:pass%20word@[::1]:1080",
        "http://user@proxy:1/",
        "http://a!$&'()*+,;=:~b@proxy:1",
    ],
)
def test_what_the_library_takes(url: str) -> None:
    proxy.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:8080",
        "ftp://proxy:8080",
        "socks4://proxy:8080",
        "http://",
        "http://:8080",
        "http://proxy:0",
        "http://proxy:99999",
        "http://proxy:port",
        "http://secret:pass word@proxy:1",
        "http://secret:100%@proxy:1",
        "http://secret:p#w@proxy:1",
        "http://secret:p@w@proxy:1",
        "http://proxy:1/path",
        "http://proxy:1?query",
        "http://[secret",
        "http://secret\n@proxy:1",
    ],
)
def test_what_it_does_not(url: str) -> None:
    with pytest.raises(proxy.ProxyError) as caught:
        proxy.check(url)
    assert "secret" not in str(caught.value)


def test_what_would_give_a_password_away() -> None:
    found = proxy.secrets("http://user:pass%20word@proxy:1")
    assert {"user:pass%20word", "pass%20word", "pass word", "user:pass word"} <= set(found)
    assert proxy.secrets("http://proxy:1") == []
    assert "b" not in proxy.secrets("http://a:b@proxy:1")
    assert proxy.secrets("http://[a:b@c") == ["http://[a:b@c"]


def test_nothing_is_left_of_the_environments_proxies() -> None:
    program = """
import os
os.environ["NEW"] = "x" * 1000  # now C's environment is not where the kernel has put it any more
from orchestrator.worker.proxy import forget_environment
forget_environment()
print(sorted(os.environ))
print(open("/proc/self/environ", "rb").read())
"""
    values = {
        "HTTPS_PROXY": "http://secret:1",
        "https_proxy": "http://secret:2",
        "ALL_PROXY": "http://secret:3",
        "NO_PROXY": "secret",
        "OTHER": "HTTPS_PROXY=kept",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=values, capture_output=True, text=True, check=True
    )
    assert "secret" not in done.stdout
    assert "'OTHER'" in done.stdout
    assert "OTHER=HTTPS_PROXY=kept" in done.stdout
