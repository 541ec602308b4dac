"""What the judge of proxies' URLs takes, as the real library and doctor's own dialling take it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.proxies import Answer, Call, ClosedProxy

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.proxy import UrlError, parse
from orchestrator.service.doctor.reach import Unreachable, reach
from orchestrator.worker import outcomes

PROGRAM = Path(__file__).parents[1] / "support" / "dial_proxies.py"
PATIENCE = 120.0
"""Seconds for a process that loads neonize and dials a hundred times: two on an idle machine."""

WORDS = st.text(st.sampled_from("aZ09-._~!$&'()*+,;=:@"), max_size=8)
ESCAPES = st.binary(max_size=6).map(lambda data: "".join(f"%{byte:02X}" for byte in data))
CREDENTIALS = st.lists(WORDS | ESCAPES, max_size=4).map("".join)
HOSTS = ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "[0:0:0:0:0:0:0:1]"]


def dial(urls: list[str], folder: Path) -> list[str]:
    """Return what neonize's connect() raises for each proxy."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder)],
        input=json.dumps(urls),
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("[")]
    found: list[str] = json.loads(answers[-1])
    assert len(found) == len(urls)
    return found


@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],  # looking for a smaller example would load the library again and again
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["http", "HTTP", "socks5", "SOCKS5"]),
            st.none() | CREDENTIALS,
            st.sampled_from(HOSTS),
            st.sampled_from(["", "/"]),
        ),
        min_size=30,
        max_size=60,
    )
)
def test_what_is_taken_is_the_same_to_the_library_and_to_doctor(
    tmp_path: Path, made: list[tuple[str, str | None, str, str]]
) -> None:
    with ClosedProxy() as four, ClosedProxy(host="::1") as six:
        urls = []
        for scheme, credentials, host, end in made:
            port = six.port if ":" in host else four.port
            at = "" if credentials is None else f"{credentials}@"
            url = f"{scheme}://{at}{host}:{port}{end}"
            try:
                parse(url)
            except UrlError:
                continue
            urls.append(url)
        for url, error in zip(urls, dial(urls, tmp_path), strict=True):
            outcome = outcomes.connect_raised(error)
            assert outcome.kind is Kind.CONFIG, (url, error)
            assert "the proxy " in outcome.text
        to_library = sorted(four.calls + six.calls, key=repr)
        four.calls.clear()
        six.calls.clear()
        for url in urls:
            with pytest.raises(Unreachable, match="user"):
                reach(parse(url))
        to_doctor = sorted(four.calls + six.calls, key=repr)
    assert to_library == to_doctor
    assert to_library == sorted((expected(url) for url in urls), key=repr)


def expected(url: str) -> Call:
    proxy = parse(url)
    user, password = proxy.user, None if proxy.user is None else proxy.password
    return Call("http" if proxy.scheme == "http" else "socks5", user, password)


LONG = "p" * 255


@pytest.mark.parametrize(
    ("answer", "url", "kind"),
    [
        ("password", f"socks5://{LONG}:{LONG}@127.0.0.1", Kind.CONFIG),
        ("password", f"http://u:{'p' * 3999}@127.0.0.1", Kind.CONFIG),
        ("method", "socks5://127.0.0.1", Kind.CONFIG),
        ("method", "http://127.0.0.1", Kind.CONFIG),
        ("ruleset", "socks5://127.0.0.1", Kind.NETWORK),
        ("ruleset", "http://127.0.0.1", Kind.NETWORK),
    ],
)
def test_what_the_library_makes_of_a_refusal(tmp_path: Path, answer: Answer, url: str, kind: Kind) -> None:
    with ClosedProxy(answer) as proxy:
        (error,) = dial([f"{url}:{proxy.port}"], tmp_path)
    assert len(proxy.calls) == 1
    outcome = outcomes.by_way(outcomes.connect_raised(error), "proxy")
    assert outcome.kind is kind
    assert "the proxy proxy" in outcome.text
