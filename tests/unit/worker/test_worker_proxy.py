"""An account's own proxy is the only one that is left in its process."""

import subprocess
import sys


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
