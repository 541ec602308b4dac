"""What the service tells its gateway of the configuration comes out as it went in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.consumers.settings import BotSettings, Http, Systemd, Tcp, Unix, Webhook
from orchestrator.consumers.wire import GatewaySettings, Keep, dump, load

names = st.text("abcdefghijklmnop-", min_size=1, max_size=20)
accounts = st.none() | st.frozensets(names, max_size=3)
texts = st.text(max_size=30)
listens = st.one_of(
    st.builds(Tcp, st.just("127.0.0.1"), st.integers(1, 65535)),
    st.builds(Unix, st.builds(Path, st.just("/run/x"), names)),
    st.just(Systemd()),
)
https = st.builds(
    Http,
    listen=st.lists(listens, min_size=1, max_size=3).map(tuple),
    public_url=st.none() | texts,
    trusted_proxies=st.lists(texts, max_size=2).map(tuple),
    allowed_hosts=st.lists(texts, max_size=2).map(tuple),
    max_body=st.integers(1, 1 << 30),
    link_ports=st.lists(st.integers(1, 65_535), max_size=3).map(tuple),
    link_networks=st.lists(texts, max_size=2).map(tuple),
)
webhooks = st.builds(
    Webhook,
    name=names,
    url=texts,
    accounts=accounts,
    events=st.lists(texts, min_size=1, max_size=3).map(tuple),
    secrets=st.lists(st.binary(max_size=64), max_size=2).map(tuple),
    app_secret=st.none() | st.binary(max_size=64),
    headers=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    timeout=st.floats(0.1, 60),
    parallel=st.integers(1, 64),
)
bots = st.builds(
    BotSettings,
    name=names,
    app=texts,
    path=st.builds(Path, st.just("/x"), names),
    accounts=accounts,
    env=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    memory_limit=st.none() | st.integers(1, 1 << 40),
)
everything = st.builds(
    GatewaySettings,
    http=st.none() | https,
    webhooks=st.dictionaries(names, webhooks, max_size=2),
    bots=st.dictionaries(names, bots, max_size=2),
    accounts=st.dictionaries(names, st.builds(Keep, st.floats(60, 1e8), st.floats(60, 1e8)), max_size=3),
)


@given(everything)
def test_settings_come_out_as_they_went_in(settings: GatewaySettings) -> None:
    assert load(GatewaySettings, json.loads(json.dumps(dump(settings)))) == settings


def test_a_field_that_is_missing_is_a_mistake() -> None:
    value = dump(GatewaySettings())
    del value["bots"]
    with pytest.raises(KeyError):
        load(GatewaySettings, value)
