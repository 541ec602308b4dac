"""The configuration file: what it means, and what is said of everything that is wrong with it."""

from __future__ import annotations

import os
import random
import re
import string
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.accounts.settings import AccountSettings, Backoff, Messages, Sending
from orchestrator.config import file, reader, yaml_tree
from orchestrator.config import problems as problems_of_file
from orchestrator.config.reader import load, parse
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError

ENVIRON = {"HOME": "/home/ada"}
EXAMPLE = Path(__file__).resolve().parents[3] / "accounts.example.yaml"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
both_loaders = pytest.mark.parametrize("loader", [yaml_tree.Loader, yaml.SafeLoader], ids=["fast", "slow"])


def read(text: str, state_dir: str | Path | None = None) -> Settings:
    return parse(text, "/etc/o/accounts.yaml", state_dir=state_dir, environ=ENVIRON)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml", environ=ENVIRON)
    lines = str(caught.value).split("\n")
    assert all(line.startswith("f.yaml:") for line in lines)
    return [line.removeprefix("f.yaml:") for line in lines]


def account(text: str) -> AccountSettings:
    return read(f"accounts: {{a: {{{text}}}}}").accounts["a"]


# What is right


@both_loaders
def test_everything_that_can_be_said(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "Loader", loader)
    assert read(
        """\
# a comment, with ümlauts
state_dir: ~/state
qr_dir: codes
qr_group: bots
quarantine_days: 0.5
start: {parallel: 5, spread: 1m30s}
defaults:
  backoff: {base: 10s, factor: 1.5, max: 1h, jitter: 0, reset_after: 2m}
  max_retries: 3
  pairing_rounds: 4
  proxy: http://proxy:3128
  device_name: 'My: bot'
  memory_limit: 1.5G
accounts:
  support:
    phone: "+15550100"
    enabled: no
    proxy: socks5://user:p%2Fw@10.0.0.1:1080
    backoff: {factor: 3}
  sales-br:
  direct: {proxy: null, memory_limit: ~}
"""
    ) == Settings(
        config_file=Path("/etc/o/accounts.yaml"),
        state_dir=Path("/home/ada/state"),
        qr_dir=Path("/etc/o/codes"),
        qr_group="bots",
        quarantine_days=0.5,
        start_parallel=5,
        start_spread=90.0,
        accounts={
            "support": AccountSettings(
                "support", "15550100", False, "socks5://user:p%2Fw@10.0.0.1:1080", "My: bot",
                Backoff(10, 3, 3600, 0, 120), 3, 4, 3 << 29,
            ),
            "sales-br": AccountSettings(
                "sales-br", None, True, "http://proxy:3128", "My: bot",
                Backoff(10, 1.5, 3600, 0, 120), 3, 4, 3 << 29,
            ),
            "direct": AccountSettings(
                "direct", None, True, None, "My: bot", Backoff(10, 1.5, 3600, 0, 120), 3, 4, None
            ),
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "accounts:", "accounts: {}", "accounts: null", "{}", "defaults:", "start:\naccounts:\n# a: {}\n",
        "--- {}\n...\n", "%YAML 1.1\n---\naccounts:\n", "defaults: {backoff: }",
    ],
)  # fmt: skip
def test_a_fresh_install(text: str) -> None:
    assert read(text) == Settings(
        Path("/etc/o/accounts.yaml"),
        Path("/home/ada/.local/state/orchestrator"),
        Path("/home/ada/.local/state/orchestrator/qr"),
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3s", 3), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("0s", 0), ("1.5s", 1.5), ("1m0.5s", 60.5),
     ('"90s"', 90), ("1d", 86400), ("23h59m59s999ms", 86399.999)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert account(f"backoff: {{reset_after: {text}}}").backoff.reset_after == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("200M", 200 << 20), ("1G", 1 << 30), ("0.5G", 1 << 29), ("48M", 3 << 24), ("102400K", 100 << 20),
     ("1T", 1 << 40), ('"1G"', 1 << 30), ("null", None), ("", None)],
)  # fmt: skip
def test_sizes(text: str, size: int | None) -> None:
    assert account(f"memory_limit: {text}").memory_limit == size


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy:3128", "https://proxy.example.org:443/", "socks5://127.0.0.1:1080", "socks5://[::1]:1080",
        "http://user@h:1", "http://user:p@ss@h:65535", "http://user:%2F%3a!$&'()*+,;=~@h:1", "http://:pw@h_x:80",
    ],
)  # fmt: skip
def test_proxies(url: str) -> None:
    assert account(f'proxy: "{url}"').proxy == url
    assert url not in repr(account(f'proxy: "{url}"'))


def test_a_proxys_scheme_may_be_in_capitals() -> None:
    assert account("proxy: SOCKS5://User:PW@Host:1").proxy == "socks5://User:PW@Host:1"


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("yes", True), ("On", True), ("FALSE", False), ("off", False)]
)
def test_booleans(text: str, value: bool) -> None:
    assert account(f"enabled: {text}").enabled is value


@pytest.mark.parametrize(("word", "wanted"), [("true", "on"), ("Yes", "on"), ("false", "off"), ("NO", "off")])
def test_on_and_off_are_known_as_programs_for_yaml_write_them_anew(word: str, wanted: str) -> None:
    assert account(f"sending: {{pacing: {word}}}").sending.pacing == wanted
    if wanted == "off":
        assert read(f"confine: {word}\naccounts: {{}}\n").confine == wanted
    else:
        (said,) = problems(f"confine: {word}\naccounts: {{}}\n")
        assert "expected auto, required or off" in said
    (said,) = problems(f'accounts: {{a: {{sending: {{pacing: "{word}"}}}}}}\n')
    assert "expected on or off" in said


def test_accounts_keep_the_files_order() -> None:
    assert list(read("accounts: {c: {}, a: {}, b: {}}").accounts) == ["c", "a", "b"]


@both_loaders
def test_anchors_aliases_and_merges(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "Loader", loader)
    accounts = read(
        """\
accounts:
  a: &a {enabled: false, max_retries: 1, backoff: &slow {base: 1m}}
  b: &b {<<: *a, max_retries: 2}
  c: *a
  d: {backoff: {<<: *slow, factor: 3}, <<: [*b, {max_retries: 4, pairing_rounds: 5}]}
"""
    ).accounts
    assert [accounts[name].max_retries for name in "abcd"] == [1, 2, 1, 2]
    assert [accounts[name].enabled for name in "abcd"] == [False] * 4
    assert accounts["d"].pairing_rounds == 5
    assert accounts["d"].backoff == Backoff(base=60, factor=3)


@pytest.mark.parametrize("name", ["no", "123", "1e3", "2024-11-22", "null"])
def test_names_that_yaml_takes_for_something_else_work_in_quotes(name: str) -> None:
    assert list(read(f'accounts: {{"{name}": {{}}}}').accounts) == [name]


def test_the_state_folder_of_the_command_line_comes_first(tmp_path: Path) -> None:
    assert read("state_dir: /a", state_dir="/b").state_dir == Path("/b")
    assert read("state_dir: /a", state_dir=Path("/b/$x")).qr_dir == Path("/b/$x/qr")
    settings = parse("{}", tmp_path / "f", environ={**ENVIRON, "STATE_DIRECTORY": "/var/lib/o"})
    assert settings.state_dir == Path("/var/lib/o")


def test_lines_of_all_kinds_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfaccounts:\r\n  a:\r\n    max_retries: 5\r\n")
    assert load(path, environ=ENVIRON).accounts["a"].max_retries == 5
    path.write_bytes(b"accounts:\r  a:\r    max_retries: x\r")
    with pytest.raises(ConfigError, match=f"^{path}:3: accounts.a.max_retries: "):
        load(path, environ=ENVIRON)


def test_relative_paths_start_from_the_files_folder_not_from_what_it_links_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.yaml").write_text("state_dir: ./state")
    (tmp_path / "a.yaml").symlink_to(tmp_path / "elsewhere" / "a.yaml")
    monkeypatch.chdir(tmp_path)
    settings = load("a.yaml", environ=ENVIRON)
    assert settings.config_file == tmp_path / "a.yaml"
    assert settings.state_dir == tmp_path / "state"


# What is wrong

TOP = (
    "state_dir, qr_dir, qr_group, quarantine_days, confine, store, start, defaults, http, webhooks, bots,"
    " on_change, accounts"
)
TWICE = "expected every key once, found this one on line"
NAME = "expected a name of 1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit, found"
IN_QUOTES = "expected a name in quotes, found one that YAML takes for"
QUOTE = "put it in quotes"
GROUP = "expected the name of a group, or null, found"
DAYS = "expected a number from 0 to 36,500, found"
COUNT = "expected a whole number from 1 to 10,000, found"
DEVICE = "defaults.device_name: expected a text"
ON_ONE_LINE = "of 1 to 50 characters on one line, found"
WAIT = "expected a duration such as 3s, 5m or 1h30m, from 10ms to 1d, found"
AT_MOST = "expected a base of at most max, found"
SIZE = "expected a size such as 200M or 1G, from 48M to 1T, or null, found"
PHONE = (
    "accounts.a.phone: expected a number with + and country code in quotes,"
    ' such as "+15550100", or null, found'
)
A_SUM = "one without quotes: YAML takes it for a sum and drops the +"
PROXY = (
    "defaults.proxy: expected a proxy such as http://, https:// or socks5:// with user:password@ if needed,"
    " then host:port, or null, found"
)
BLANK_PROXY = (
    "expected a proxy, or null for none in spite of the one in defaults, found nothing;"
    " leave the key out to use that one"
)
ESCAPE = "user or password with characters that need to be written as %XX, such as %2F for a slash"
PLACES = "a path may have $HOME, $USER, $XDG_… and $…_DIRECTORY: for another variable"
FOLDER = "expected the path of a folder, or null, found"
IN_REACH = (
    "expected a qr_dir along with it that the group can get to, found one in the state folder, which nobody"
    " else may enter"
)
ALONE = "expected a folder for the codes alone, found one of the service's own"

NINE = "it has U+0669 (ARABIC-INDIC DIGIT NINE)"
UMLAUT = "it has U+00FC (LATIN SMALL LETTER U WITH DIAERESIS)"
UMLAUT_HOST = f"a host name with other letters than a to z: write it as xn--; {UMLAUT} at line 1, column 27"
CONTROL = "U+0001 (a control character)"

BAD = [
    # Keys
    ("acounts: {}", "1: acounts: unknown key; did you mean accounts?"),
    ("\nfoo: 1", f"2: foo: unknown key; expected one of {TOP}"),
    ("max_retries: 3", "1: max_retries: unknown key here; it belongs under defaults or an account"),
    ("defaults: {enabled: true}", "1: defaults.enabled: unknown key here; it belongs under an account"),
    ("accounts: {a: {prxy: x}}", "1: accounts.a.prxy: unknown key; did you mean proxy?"),
    ("accounts: {a: {base: 3s}}", "1: accounts.a.base: unknown key here; it belongs under backoff"),
    ("accounts: {a: {parallel: 3}}", "1: accounts.a.parallel: unknown key here; it belongs under start"),
    ("defaults: {backoff: {bas: 3s}}", "1: defaults.backoff.bas: unknown key; did you mean base?"),
    ('"a b\\n": 1', f'1: "a b\\x0a": unknown key; expected one of {TOP}'),
    ("accounts:\naccounts:\n", f"2: accounts: {TWICE} 1, too"),
    ("accounts:\n  a: {}\n  b: {}\n  'a': {}", f"4: accounts.a: {TWICE} 2, too"),
    ("defaults: {backoff: {base: 1s, base: 1s}}", f"1: defaults.backoff.base: {TWICE} 1, too"),
    # Forms
    ("- a", "1: expected a mapping of keys to values, found a list"),
    ("hello", "1: expected a mapping of keys to values, found a text"),
    ("null", "1: expected a mapping of keys to values, found nothing"),
    ("accounts: [a]", "1: accounts: expected a mapping of names to accounts, found a list"),
    ("accounts: a", "1: accounts: expected a mapping of names to accounts, found a text"),
    ("accounts:\n  a: x", "2: accounts.a: expected a mapping of keys to values, found a text"),
    ("defaults: 3", "1: defaults: expected a mapping of keys to values, found a number"),
    ("defaults: {backoff: 3s}", "1: defaults.backoff: expected a mapping of keys to values, found a text"),
    ("foo: !!python/object:os.system x", f"1: foo: unknown key; expected one of {TOP}"),
    ("accounts: {a: {enabled: !x true}}", '1: accounts.a.enabled: expected true or false, found "true"'),
    # Names
    ("accounts: {Sales: {}}", f'1: accounts: {NAME} "Sales"'),
    ("accounts: {'': {}}", f'1: accounts: {NAME} ""'),
    ("accounts: {../a: {}}", f'1: accounts: {NAME} "../a"'),
    ("accounts: {no: {}}", f"1: accounts.no: {IN_QUOTES} true/false"),
    ("accounts: {12: {}}", f"1: accounts.12: {IN_QUOTES} a number"),
    ("accounts: {2024-11-22: {}}", f'1: accounts."…": {IN_QUOTES} a date'),
    # Numbers
    ("quarantine_days: -1", f'1: quarantine_days: {DAYS} "-1"'),
    ("quarantine_days: 7d", f'1: quarantine_days: {DAYS} "7d"'),
    ("quarantine_days: .nan", f'1: quarantine_days: {DAYS} ".nan"'),
    ("quarantine_days: 1e9", f'1: quarantine_days: {DAYS} "1e9"'),
    ("quarantine_days:", f"1: quarantine_days: {DAYS} nothing"),
    ('start: {parallel: "2"}', f'1: start.parallel: {COUNT} "2" in quotes'),
    ("start: {parallel: 0}", f'1: start.parallel: {COUNT} "0"'),
    ("start: {parallel: 010}", f'1: start.parallel: {COUNT} "010"'),
    ("start: {parallel: 1:30}", f'1: start.parallel: {COUNT} "1:30"'),
    ("start: {parallel: 2.0}", f'1: start.parallel: {COUNT} "2.0"'),
    (
        "start: {parallel: \u0663}",
        f'1: start.parallel: {COUNT} "\u0663"; it has U+0663 (ARABIC-INDIC DIGIT THREE) at line 1, column 19',
    ),
    ("start: {parallel: [2]}", f"1: start.parallel: {COUNT} a list"),
    ("start: {parallel: " + "9" * 5000 + "}", f'1: start.parallel: {COUNT} "…"'),
    ("start: {parallel: null}", f"1: start.parallel: {COUNT} nothing"),
    # Texts
    ("defaults: {device_name: 2024}", f'1: {DEVICE}, found "2024", which YAML takes for a number: {QUOTE}'),
    ("defaults: {device_name: yes}", f'1: {DEVICE}, found "yes", which YAML takes for true/false: {QUOTE}'),
    ("defaults: {device_name: }", f"1: {DEVICE}, found nothing"),
    ("defaults: {device_name: ''}", f"1: {DEVICE} {ON_ONE_LINE} an empty one"),
    ("defaults: {device_name: " + "x" * 51 + "}", f"1: {DEVICE} {ON_ONE_LINE} one of 51"),
    (
        'defaults: {device_name: "a\\nb"}',
        f"1: {DEVICE} {ON_ONE_LINE} one with line breaks or control characters",
    ),
    (
        "qr_group: 100",
        f'1: qr_group: {GROUP} "100", which YAML takes for a number: {QUOTE}',
    ),
    ("\nqr_group: bots", f"2: qr_group: {IN_REACH}"),
    ("state_dir: /s\nqr_dir: /s/a/b\nqr_group: bots", f"3: qr_group: {IN_REACH}"),
    # Booleans
    ("accounts: {a: {enabled: 1}}", '1: accounts.a.enabled: expected true or false, found "1"'),
    ("accounts: {a: {enabled: }}", "1: accounts.a.enabled: expected true or false, found nothing"),
    (
        "accounts: {a: {enabled: 'true'}}",
        '1: accounts.a.enabled: expected true or false, found "true" in quotes',
    ),
    # Durations
    ("defaults: {backoff: {base: 3}}", f'1: defaults.backoff.base: {WAIT} "3" without a unit'),
    ("defaults: {backoff: {base: 0}}", f'1: defaults.backoff.base: {WAIT} "0" without a unit'),
    ("defaults: {backoff: {base: 1m1h}}", f'1: defaults.backoff.base: {WAIT} "1m1h"'),
    ("defaults: {backoff: {base: 1s1s}}", f'1: defaults.backoff.base: {WAIT} "1s1s"'),
    ("defaults: {backoff: {base: 3 s}}", f'1: defaults.backoff.base: {WAIT} "3 s"'),
    ("defaults: {backoff: {base: -3s}}", f'1: defaults.backoff.base: {WAIT} "-3s"'),
    ("defaults: {backoff: {base: 1w}}", f'1: defaults.backoff.base: {WAIT} "1w"'),
    ("defaults: {backoff: {base: 0s}}", f'1: defaults.backoff.base: {WAIT} "0s"'),
    ("defaults: {backoff: {base: 25h}}", f'1: defaults.backoff.base: {WAIT} "25h"'),
    ("defaults: {backoff: {base: null}}", f"1: defaults.backoff.base: {WAIT} nothing"),
    ("defaults: {backoff: {base: 4915112345678}}", f'1: defaults.backoff.base: {WAIT} "…" without a unit'),
    # Back-off as a whole
    ("defaults: {backoff: {base: 10m}}", f"1: defaults.backoff.base: {AT_MOST} 10m and a max of 5m"),
    ("defaults: {backoff: {max: 1.5s}}", f"1: defaults.backoff.max: {AT_MOST} 3s and a max of 1.5s"),
    (
        "defaults:\n  backoff: {base: 1m}\naccounts:\n  a:\n  b:\n    backoff:\n      max: 2s",
        f"7: accounts.b.backoff.max: {AT_MOST} 1m and a max of 2s",
    ),
    # Sizes
    ("defaults: {memory_limit: 100}", f'1: defaults.memory_limit: {SIZE} "100" without a unit'),
    ("defaults: {memory_limit: 200MB}", f'1: defaults.memory_limit: {SIZE} "200MB"'),
    ("defaults: {memory_limit: 200m}", f'1: defaults.memory_limit: {SIZE} "200m"'),
    ("defaults: {memory_limit: 1M}", f'1: defaults.memory_limit: {SIZE} "1M"'),
    ("defaults: {memory_limit: 16M}", f'1: defaults.memory_limit: {SIZE} "16M"'),
    ("defaults: {memory_limit: 47.9M}", f'1: defaults.memory_limit: {SIZE} "47.9M"'),
    ("defaults: {memory_limit: 2T}", f'1: defaults.memory_limit: {SIZE} "2T"'),
    # Phones
    ("accounts: {a: {phone: +4915112345678}}", f"1: {PHONE} {A_SUM}"),
    ("accounts: {a: {phone: 4915112345678}}", f"1: {PHONE} {A_SUM}"),
    ("accounts: {a: {phone: '4915112345678'}}", f"1: {PHONE} a number without +"),
    ("accounts: {a: {phone: +49x15112345678}}", f"1: {PHONE} a number with other characters than digits"),
    (
        "accounts: {a: {phone: '+4\u0669151123456'}}",
        f"1: {PHONE} a number with other characters than digits; {NINE} at line 1, column 26",
    ),
    (
        "accounts: {a: {phone: '+015112345678'}}",
        f"1: {PHONE} a number that starts with 0 instead of a country code",
    ),
    ("accounts: {a: {phone: '+155501'}}", f"1: {PHONE} a number with 6 digits instead of 7 to 15"),
    ("accounts: {a: {phone: '+1555010012345678'}}", f"1: {PHONE} a number with 16 digits instead of 7 to 15"),
    ("accounts: {a: {phone: true}}", f"1: {PHONE} true/false"),
    ("accounts: {a: {phone: ['+15550100']}}", f"1: {PHONE} a list"),
    (
        "accounts:\n a: {phone: '+15550100'}\n b: {}\n c: {phone: '+15550100', enabled: no}",
        "4: accounts.c.phone: expected a number that no other account has, found that of a on line 2",
    ),
    # Proxies
    ("defaults: {proxy: 'proxy:3128'}", f"1: {PROXY} one without ://"),
    ("defaults: {proxy: socks4://h:1}", f"1: {PROXY} socks4://"),
    ("defaults: {proxy: socks5h://h:1}", f"1: {PROXY} socks5h://"),
    ("defaults: {proxy: secretive://h:1}", f"1: {PROXY} another one"),
    ("defaults: {proxy: http://h}", f"1: {PROXY} one without a port"),
    ("defaults: {proxy: 'http://::1:80'}", f"1: {PROXY} one without a port"),
    ("defaults: {proxy: 'http://:80'}", f"1: {PROXY} one without a valid host name or address"),
    (
        "defaults: {proxy: 'http://ü:80'}",
        f"1: {PROXY} {UMLAUT_HOST}",
    ),
    ("defaults: {proxy: 'http://h:0'}", f"1: {PROXY} one whose port is not 1 to 65535"),
    ("defaults: {proxy: 'http://h:65536'}", f"1: {PROXY} one whose port is not 1 to 65535"),
    ("defaults: {proxy: 'http://h:80/path'}", f"1: {PROXY} one that does not end with host and port"),
    ("defaults: {proxy: 'http://u:s3cr3t/@h:80'}", f"1: {PROXY} {ESCAPE}"),
    ("defaults: {proxy: 'http://u:s3cr3t%@h:80'}", f"1: {PROXY} {ESCAPE}"),
    ("defaults: {proxy: 3128}", f"1: {PROXY} a number"),
    ("defaults: {proxy: !!binary c2VjcmV0}", f"1: {PROXY} a value with a tag"),
    ("defaults: {proxy: {url: socks5://u:s3cr3t@h:1}}", f"1: {PROXY} a mapping"),
    (
        "defaults: {proxy: http://h:1}\naccounts:\n  a:\n    proxy:",
        f"4: accounts.a.proxy: {BLANK_PROXY}",
    ),
    # Folders
    ("qr_dir: ${env:NOPE}/x", f"1: qr_dir: {FOLDER} $NOPE, which is not set"),
    (
        "accounts: {}\nqr_dir: /tmp/$PASSWORD",
        f"2: qr_dir: {FOLDER} $PASSWORD; {PLACES} write ${{env:PASSWORD}}",
    ),
    ("qr_dir: ''", f"1: qr_dir: {FOLDER} an empty path"),
    ("qr_dir: 3", f'1: qr_dir: {FOLDER} "3", which YAML takes for a number: {QUOTE}'),
    ('qr_dir: "a\\0b"', f"1: qr_dir: {FOLDER} a path with control characters"),
    ("state_dir: /a?b", f"1: state_dir: {FOLDER} a path with ?, which session files cannot have in theirs"),
    ("state_dir: /s\nqr_dir: /s/sessions", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/tracebacks", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/messages", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/processes", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/sessions/qr", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/quarantine/a/b", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/sessions/a", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/messages/a/codes", f"2: qr_dir: {ALONE}"),
    ("state_dir: /s\nqr_dir: /s/processes", f"2: qr_dir: {ALONE}"),
    ("qr_dir: /s\nstate_dir: /s", f"1: qr_dir: {ALONE}"),
    # Secrets and people in the wrong place
    (
        "start: {parallel: socks5://u:s3cr3t@h:1}",
        f"1: start.parallel: {COUNT} a text that is not shown, because it may hold a password",
    ),
    ("accounts: {'+4915112345678': {}}", f'1: accounts: {NAME} "…"'),
    ("accounts: {'49 151 123-45678': {}}", f'1: accounts: {NAME} "…"'),
    ("accounts: {'4915112345678': {prox: 1}}", '1: accounts."…".prox: unknown key; did you mean proxy?'),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
@both_loaders
def test_a_message_for_everything_that_is_wrong(
    text: str, expected: str, loader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_tree, "Loader", loader)
    assert problems(text) == [expected]


TAB = "found character that cannot start any token while scanning for the next token"
NO_KEY = "not valid YAML: did not find expected key while parsing a block mapping"
EMPTY = "expected settings, found an empty file; for no accounts, write `accounts: {}`"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f" {EMPTY}"),
        ("# only\n# comments\n", f" {EMPTY}"),
        ("---\n", f" {EMPTY}"),
        ("a: [1\nb: 2", "2: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence"),
        ("a: b: c", "1: not valid YAML: mapping values are not allowed in this context"),
        (
            "a:\n\tb: 1",
            f"2: not valid YAML: {TAB}; indent with spaces, not with tabs",
        ),
        (
            "accounts:\n  a: {}  # new\n    # what it keeps\n    note: x\n",
            f"4: {NO_KEY}; remove the {{}} at the end of line 2, because line 4 belongs into it",
        ),
        ("a: 'x", "1: not valid YAML: found unexpected end of stream while scanning a quoted scalar"),
        (
            "a: é\nb: \x01",
            f"2: not valid YAML: the character {CONTROL} at line 2, column 4 is not allowed in it",
        ),
        ("a: *b", "1: an alias without an anchor of that name before it"),
        ("a: &a [*a]", "1: an alias without an anchor of that name before it"),
        ("a: &a b\n*a : c", "2: expected a simple key, found a list, a mapping or an alias"),
        ("? [a]\n: b", "1: expected a simple key, found a list, a mapping or an alias"),
        ("{{a: b}: c}", "1: expected a simple key, found a list, a mapping or an alias"),
        ("a: 1\n---\nb: 2", "2: expected a single document, found a second"),
        ("accounts: {a: {<<: 3}}", "1: <<: expected a mapping or a list of mappings"),
        ("<<: [[{}]]", "1: <<: expected a mapping or a list of mappings"),
    ],
)
def test_a_message_for_what_is_no_such_document(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_everything_is_said_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        """\
quarantine_days: x
accounts:
  a: {phone: 1}
  B: {}
  c: {enabled: 2, proxy: x, foo: 3}
  c: {enabled: 4}
qr_group: 5
"""
    )
    assert [line.split(": expected")[0].split(": unknown")[0] for line in found] == [
        "1: quarantine_days", "3: accounts.a.phone", "4: accounts", "5: accounts.c.enabled",
        "5: accounts.c.proxy", "5: accounts.c.foo", "6: accounts.c", "6: accounts.c.enabled", "7: qr_group",
    ]  # fmt: skip


def test_a_wrong_file_does_not_fill_the_screen() -> None:
    found = problems("".join(f"k{number}: 1\n" for number in range(300)))
    assert len(found) == problems_of_file.MAX_PROBLEMS + 1
    assert found[-1] == " and 100 more"


def test_a_state_folder_that_cannot_be_found_is_said_without_a_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^f: --state-dir: expected a folder, found \$NOPE, which is not set"
    ):
        parse("{}", "f", state_dir="${env:NOPE}", environ=ENVIRON)


# What a file may cost


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "1: nested more than 16 levels deep"),
        ("- " * 100_000, "1: nested more than 16 levels deep"),
        ("{a: " * 100_000, "1: nested more than 16 levels deep"),
        ("[" + "a," * 110_000, "1: more than 100,000 keys and values"),
        (
            "defaults: &e {}\nstart: &n {<<: [" + ",".join(["*e"] * 30_000) + "]}\n"
            "accounts: {<<: [" + ",".join(["*n"] * 30_000) + "]}",
            "2: unfolds to too much through its aliases",
        ),
    ],
    ids=["lists", "blocks", "mappings", "long", "merges"],
)
def test_limits(text: str, expected: str) -> None:
    assert expected in problems(text)


def test_a_billion_laughs() -> None:
    text = "a: &a [lol]\n"
    for one, other in zip("abcdefghij", "bcdefghijk", strict=True):
        text += f"{other}: &{other} [{','.join([f'*{one}'] * 20)}]\n"
    assert len(problems(text + "accounts: {x: *k}")) == 12  # a line for every key, and one for the account


# Files


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: \xff", ":1: expected text in UTF-8, found the byte 0xFF; save the file as UTF-8"),
        (b"a: 1\nb: \xe4\xf6", ":2: expected text in UTF-8, found the byte 0xE4; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), ": expected text, found binary data; is this the right file?"),
        (b"\x89PNG\r\n\0\0", ": expected text, found binary data; is this the right file?"),
        (b"#" * (1 << 20) + b"\n", ": expected at most 1,048,576 bytes; is this the right file?"),
        (b"", f": {EMPTY}"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(path, environ=ENVIRON)
    assert str(caught.value) == f"{path}{expected}"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "a file").touch()
    cases = {
        "missing": (
            "there is no such file; make one with `orchestrator add NAME`, or name another with --config"
        ),
        "": "expected a file, found a folder",
        "pipe": "expected a file, found a pipe, socket or device",
        "circle": "its symbolic links lead in a circle",
        "a file/x": "a part of this path is a file, not a folder; name another with --config",
        "x" * 300: "cannot be read: File name too long",
    }
    for name, expected in cases.items():
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name, environ=ENVIRON)
        assert str(caught.value) == f"{tmp_path / name}: {expected}"
    with pytest.raises(ConfigError, match=r"^a\\x00b: this is not the path of a file$"):
        load("a\0b", environ=ENVIRON)


@as_root
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "f").touch(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="this user may not read it; start as the user it belongs to"):
            load(tmp_path / "f", environ=ENVIRON)
    finally:
        os.seteuid(0)


# The example


def test_the_example_shows_every_key_with_its_default() -> None:
    shown = yaml.safe_load(EXAMPLE.read_text())
    settings = load(EXAMPLE, environ=ENVIRON)
    assert settings == Settings(
        config_file=EXAMPLE,
        state_dir=Path("/home/ada/.local/state/orchestrator"),
        qr_dir=Path("/home/ada/.local/state/orchestrator/qr"),
        accounts={"support": AccountSettings("support")},
    )

    def keys(cls: type, *without: str) -> set[str]:
        return {field.name for field in fields(cls)} - set(without)

    flat = {f"start_{key}" for key in shown.pop("start")} | set(shown) - {"defaults"}
    assert flat == keys(Settings, "config_file", "digest", "missing_variables", "given", "given_to_all")
    assert set(shown["defaults"]["backoff"]) == keys(Backoff)
    assert set(shown["defaults"]["messages"]) == keys(Messages)
    assert set(shown["defaults"]["sending"]) == keys(Sending)
    own = ("phone", "enabled", "note", "disabled_until")
    assert set(shown["defaults"]) == keys(AccountSettings, "name", *own) | {"proxy_file"}
    assert set(shown["accounts"]["support"]) == {*own}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[]", ()),
        ('"*"', ("*",)),
        ('["*"]', ("*",)),
        ('"+49 151 0000 1234"', ("4915100001234",)),
        ('["+4915100001234", "+49 (151) 0000-1234"]', ("4915100001234",)),
        ("120363000000000001@g.us", ("120363000000000001@g.us",)),
        ('["4915100001234-1400000000@g.us", "269139479534551@lid"]',
         ("4915100001234-1400000000@g.us", "269139479534551@lid")),
    ],
)  # fmt: skip
def test_whose_messages_are_kept(text: str, wanted: tuple[str, ...]) -> None:
    settings = read(f"accounts:\n  a: {{messages: {{allow: {text}}}}}\n")
    assert settings.accounts["a"].messages == Messages(allow=wanted)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found nothing"),
        ("everybody", "found a text without digits"),
        ('"15550100"', "found a number without"),
        ("+15550100", "found one without quotes"),
        ("5", "found one without quotes"),
        ("true", "found"),
        ('["+15550100", [1]]', "found a list"),
        ('["+15550100", {a: 1}]', "found a mapping"),
        ("{a: 1}", "found a mapping"),
        ("ada@example.com", "found an address of another form"),
        ("status@broadcast", "found an address of another form"),
        ("120363000000000001@newsletter", "found an address of another form"),
        ("4915100001234@s.whatsapp.net", "found an address of another form"),
        ("[" + ", ".join(["'*'"] * 10_001) + "]", "found 10,001"),
    ],
)
def test_who_cannot_be_allowed(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"accounts:\n  a: {{messages: {{allow: {text}}}}}\n")
    assert "accounts.a.messages.allow: expected" in str(caught.value)
    assert found in str(caught.value)
    assert "15550100" not in str(caught.value).replace('"+15550100"', "")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sales", ("sales",)),
        ("[]", ()),
        ("[sales, brazil]", ("sales", "brazil")),
        ("[sales, sales, 1st.floor_a-b]", ("sales", "1st.floor_a-b")),
        ('["12", "on", "null"]', ("12", "on", "null")),
        ("[" + ", ".join(f"t{number}" for number in range(20)) + "]",
         tuple(f"t{number}" for number in range(20))),
    ],
)  # fmt: skip
def test_tags(text: str, wanted: tuple[str, ...]) -> None:
    assert read(f"accounts:\n  a: {{tags: {text}}}\n").accounts["a"].tags == wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found nothing"),
        ("5", "takes for a number"),
        ("[on]", "takes for true/false"),
        ("[sales, [a]]", "found a list"),
        ("{a: 1}", "found a mapping"),
        ("Sales", 'found "Sales"'),
        ("[sales, a b]", 'found "a b"'),
        ("[.a]", 'found ".a"'),
        ("['']", 'found ""'),
        ("['<img src=x onerror=alert(1)>']", "a tag of 1 to 63"),
        ("[" + "a" * 64 + "]", "a tag of 1 to 63"),
        ("[" + ", ".join(f"t{number}" for number in range(21)) + "]", "found 21"),
    ],
)
def test_what_is_no_tag(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"accounts:\n  a: {{tags: {text}}}\n")
    assert "accounts.a.tags: expected" in str(caught.value)
    assert found in str(caught.value)


def test_tags_of_an_account_replace_those_of_all() -> None:
    found = read("defaults: {tags: [all]}\naccounts:\n  a:\n  b: {tags: [own]}\n  c: {tags: []}\n").accounts
    assert [one.tags for one in found.values()] == [("all",), ("own",), ()]


def test_messages_of_an_account_are_laid_over_those_of_all() -> None:
    text = """
defaults:
  messages: {allow: "*", keep: 2d, media: never}
accounts:
  a: {}
  b: {messages: {allow: [], media: always, media_limit: 1M, calls: reject, from_me: true}}
"""
    accounts = read(text).accounts
    assert accounts["a"].messages == Messages(allow=("*",), keep=172_800.0, media="never")
    assert accounts["b"].messages == Messages(
        keep=172_800.0, media="always", media_limit=1 << 20, calls="reject", from_me=True
    )
    assert accounts["a"].needs_new_process(accounts["b"]) or accounts["a"].name != accounts["b"].name


@pytest.mark.parametrize(
    ("defaults", "own", "key"),
    [
        ("{}", "{keep: 31d}", "keep"),
        ("{}", "{keep_at_most: 1d}", "keep_at_most"),
        ("{keep: 20d}", "{keep_at_most: 9d}", "keep_at_most"),
    ],
)
def test_what_all_have_had_is_not_kept_longer_than_the_rest(defaults: str, own: str, key: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"accounts.a.messages.{key}: expected a keep of at most keep_at_most"
    ):
        read(f"defaults: {{messages: {defaults}}}\naccounts: {{a: {{messages: {own}}}}}\n")


def test_how_an_account_sends_is_laid_over_how_all_do() -> None:
    text = """
defaults:
  sending: {pacing: off, new_every: 2m, new_a_day_later: 50}
accounts:
  a: {}
  b: {sending: {pacing: on, on_unknown: resend, typing_most: 0s, media_limit: 1M}}
"""
    accounts = read(text).accounts
    assert accounts["a"].sending == Sending(pacing="off", new_every=120.0, new_a_day_later=50)
    assert accounts["b"].sending == Sending(
        pacing="on", new_every=120.0, new_a_day_later=50, on_unknown="resend", typing_most=0.0,
        media_limit=1 << 20,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("defaults", "own", "key"),
    [
        ("{}", "{new_a_day: 201}", "new_a_day"),
        ("{}", "{new_a_day_later: 19}", "new_a_day_later"),
        ("{new_a_day: 50}", "{new_a_day_later: 49}", "new_a_day_later"),
    ],
)
def test_new_chats_a_day_do_not_become_fewer(defaults: str, own: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"accounts.a.sending.{key}: expected a new_a_day of at most"):
        read(f"defaults: {{sending: {defaults}}}\naccounts: {{a: {{sending: {own}}}}}\n")


def test_what_the_example_has_in_comments_is_right_too() -> None:
    text, count = re.subn(r"(?m)^    # (proxy|backoff): ", r"    \1: ", EXAMPLE.read_text())
    assert count == 2
    assert read(text).accounts["support"].backoff == Backoff(max=600)


def test_values_can_be_checked_on_their_own() -> None:
    assert reader.check_value("phone", "+15550100") == "15550100"
    assert reader.check_value("memory_limit", "1G") == 1 << 30
    with pytest.raises(ConfigError, match=r"^phone: expected a number .* found a number without \+$"):
        reader.check_value("phone", "15550100")
    with pytest.raises(ConfigError, match=r'^memory_limit: expected a size .* found "1"$'):
        reader.check_value("memory_limit", "1")


# Whatever is in a file

WORDS = st.sampled_from(
    [
        "accounts", "defaults", "backoff", "base", "proxy", "phone", "enabled", "a", "3s", "null", "~",
        "true", "+1", '"+15550100"', "socks5://u:p@h:1", "{", "}", "[", "]", ",", ":", ": ", "\n", "\n  ",
        "\n    ", "- ", "? ", "&x ", "*x", "<<", "!", "!!str ", "!!binary ", "|\n", ">", "'", '"', "#",
        "%", "@", "`", "---\n", "...\n", "\t", "\r\n", "\x85", "\u2028", "\ufeff", "\0", "é", "\U0001f600",
        "\\", "$HOME", "1_0", "=",
    ]
)  # fmt: skip


def said_of(text: str) -> list[str]:
    """What is said of a text, nothing if it is right; any other error than a ConfigError passes through."""
    try:
        parse(text, "f", environ=ENVIRON)
    except ConfigError as error:
        return str(error).split("\n")
    return []


@both_loaders
@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=200) | st.lists(WORDS, max_size=30).map("".join))
def test_no_text_does_worse_than_a_config_error(text: str, loader: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_tree, "Loader", loader)
        assert all(line.startswith("f:") and line.isprintable() for line in said_of(text))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_config_error(data: bytes) -> None:
    try:
        text = file.decode(data, "f")
    except ConfigError:
        return
    said_of(text)


SECRET = "hunter2-pass"
NUMBER = "4915112345678"
WITH_SECRETS = f"""\
start: {{parallel: 2}}
defaults:
  proxy: socks5://user:{SECRET}@10.0.0.1:1080
  max_retries: 3
accounts:
  support:
    phone: "+{NUMBER}"
    proxy: "http://user:{SECRET}@h:1"
  sales: {{phone: "+15550100", proxy: 'http://user:{SECRET}@h:1', max_retries: 5}}
"""


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_message_holds_a_password_or_a_number(seed: int) -> None:
    chance = random.Random(seed)
    lines = WITH_SECRETS.splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line = lines[at]
        is_before = SECRET in line and chance.random() < 0.7
        end = line.index(SECRET) if is_before else len(line)
        place = chance.randrange(end + 1)
        match chance.randrange(4):
            case 0:
                line = line[:place] + line[min(end, place + chance.randint(1, 6)) :]
            case 1:
                line = line[:place] + chance.choice([*string.punctuation, *" \t\n", "proxy: "]) + line[place:]
            case 2:
                lines.insert(at, chance.choice(lines))
            case 3:
                other = chance.choice(lines)
                line = line[:place] + other
        lines[at] = line
    said = "\n".join(said_of("\n".join(lines)))
    assert NUMBER not in said
    # A password is told from other text by the URL it is in; cut in half, it is no password any more.
    assert f":{SECRET}" not in said
    assert f"{SECRET}@" not in said


DURATIONS = {"3s": 3.0, "500ms": 0.5, "2m": 120.0, "1h30m": 5400.0, "1.5s": 1.5}
NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,8}\Z")
BACKOFFS = st.fixed_dictionaries(
    {},
    optional={
        "base": st.sampled_from(["3s", "500ms", "1.5s"]),
        "factor": st.integers(1, 9) | st.sampled_from([1.5, 2.25]),
        "max": st.sampled_from(["2m", "1h30m"]),
        "jitter": st.sampled_from([0, 0.25, 1]),
        "reset_after": st.sampled_from(list(DURATIONS)),
    },
)
INHERITED = {
    "backoff": BACKOFFS | st.none(),
    "max_retries": st.integers(0, 1000),
    "pairing_rounds": st.integers(1, 1000),
    "proxy": st.none() | st.sampled_from(["http://h:1", "socks5://u:p%40@[::1]:1080"]),
    "device_name": st.text(
        st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=["Cc", "Cf", "Zs"]),
        min_size=1,
        max_size=50,
    ),
    "memory_limit": st.none() | st.sampled_from(["200M", "1G"]),
}
ACCOUNTS = st.fixed_dictionaries({}, optional={**INHERITED, "enabled": st.booleans()}) | st.none()


def built(name: str, *layers: dict[str, Any]) -> AccountSettings:
    """What the accounts must come to, worked out in the plainest way."""
    values: dict[str, Any] = {}
    backoff: dict[str, Any] = {}
    for layer in layers:
        backoff |= {key: DURATIONS.get(value, value) for key, value in (layer.get("backoff") or {}).items()}
        values |= {key: value for key, value in layer.items() if key != "backoff"}
    if values.get("memory_limit"):
        values["memory_limit"] = {"200M": 200 << 20, "1G": 1 << 30}[values["memory_limit"]]
    return AccountSettings(name=name, backoff=Backoff(**backoff), **values)


@settings(max_examples=60, deadline=None)
@given(
    defaults=st.fixed_dictionaries({}, optional=INHERITED) | st.none(),
    accounts=st.dictionaries(NAMES, ACCOUNTS, max_size=5) | st.none(),
    flow=st.sampled_from([True, False, None]),
)
def test_what_is_written_is_what_is_read(
    defaults: dict[str, Any] | None, accounts: dict[str, Any] | None, flow: bool | None
) -> None:
    text = yaml.safe_dump(
        {"defaults": defaults, "accounts": accounts},
        default_flow_style=flow,
        sort_keys=False,
        allow_unicode=True,
    )
    assert read(text).accounts == {
        name: built(name, defaults or {}, values or {}) for name, values in (accounts or {}).items()
    }


@given(st.text("ab \n\r\x85\u2028", max_size=20))
def test_lines_are_split_without_loss(text: str) -> None:
    lines = yaml_tree.split_lines(text)
    assert "".join(lines) == text
    assert all(lines)
    assert all(len(re.findall("\r\n|[\n\r\x85\u2028\u2029]", line)) <= 1 for line in lines)
