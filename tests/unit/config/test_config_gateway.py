"""The sections `http`, `webhooks` and `bots`: what they mean, and what is said of what is wrong in them."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.edit import add_account, remove_account, rename_account
from orchestrator.config.reader import parse
from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import CLOUD_TYPES, BotSettings, Http, Systemd, Tcp, Unix, Webhook
from orchestrator.errors import ConfigError

KEY, OTHER = bytes(range(32)), bytes(range(64, 96))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
SECOND = f"whsec_{base64.b64encode(OTHER).decode()}"
ACCOUNTS = "accounts: {support: , sales: }"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder of a configuration, with secrets of webhooks and bots in it."""
    for name, text in {"crm.secret": SECRET, "app.secret": "an app's secret\n", "key": "sk_1\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


Read = Callable[..., Settings]


@pytest.fixture
def read(folder: Path) -> Read:
    def parsed(*lines: str, **environ: str) -> Settings:
        text = "\n".join([*lines, ACCOUNTS])
        return parse(text, folder / "f.yaml", environ={"HOME": str(folder), **environ})

    return parsed


@pytest.fixture
def wrong(folder: Path) -> Callable[..., str]:
    def problems(*lines: str, **environ: str) -> str:
        text = "\n".join([*lines, ACCOUNTS])
        with pytest.raises(ConfigError) as caught:
            parse(text, folder / "f.yaml", environ={"HOME": str(folder), **environ})
        return str(caught.value).replace(f"{folder}/f.yaml:", "").replace(str(folder), "FOLDER")

    return problems


Wrong = Callable[..., str]


# What is right


def test_without_the_sections_there_is_no_gateway(read: Read) -> None:
    for text in ("", "http:\nwebhooks:\nbots:", "http: null\nwebhooks: {}\nbots: {}"):
        settings = read(text)
        assert (settings.http, settings.webhooks, settings.bots) == (None, {}, {})
        assert not settings.needs_gateway


def test_an_empty_section_is_a_server_with_its_defaults(read: Read) -> None:
    settings = read("http: {}")
    assert settings.http == Http()
    assert settings.http.listen == (Tcp("127.0.0.1", 8080),)
    assert settings.needs_gateway


def test_everything_that_can_be_said_of_the_server(read: Read, folder: Path) -> None:
    assert read(
        "http:",
        "  listen: ['0.0.0.0:80', '[2001:DB8::1]:443', localhost:1, unix:$XDG_DIR/s, unix:s, systemd]",
        "  public_url: HTTPS://WhatsApp.example.com:8443/gate/",
        "  allowed_hosts: [Orchestrator, gate.internal]",
        "  trusted_proxies: [127.0.0.1, 10.0.0.0/8, '::1']",
        "  max_body: 2M",
        "  link_ports: [443, 3000]",
        "  link_networks: 10.0.5.7",
        XDG_DIR="/run/user/1",
    ).http == Http(
        listen=(
            Tcp("0.0.0.0", 80),
            Tcp("2001:db8::1", 443),
            Tcp("127.0.0.1", 1),
            Unix(Path("/run/user/1/s")),
            Unix(folder / "s"),
            Systemd(),
        ),
        public_url="https://whatsapp.example.com:8443/gate",
        allowed_hosts=("orchestrator", "gate.internal"),
        trusted_proxies=("127.0.0.1/32", "10.0.0.0/8", "::1/128"),
        max_body=2 << 20,
        link_ports=(443, 3000),
        link_networks=("10.0.5.7/32",),
    )


def test_a_webhook_may_have_the_form_of_the_cloud_api(read: Read) -> None:
    settings = read(
        "webhooks:",
        "  crm:",
        "    url: http://h/",
        "    format: cloud",
        "    app_secret_file: app.secret",
        "    verify_token_file: app.secret",
        "    echoes: true",
    )

    assert settings.webhooks["crm"] == Webhook(
        name="crm",
        url="http://h/",
        format="cloud",
        app_secret=b"an app's secret",
        verify_token=b"an app's secret",
        echoes=True,
    )


def test_a_webhook_wants_only_events_with_a_form(read: Read) -> None:
    lines = ("    url: http://h/", "    app_secret_file: app.secret")
    some = "    events: [message.status, message.lost, account.*]"
    settings = read(
        "webhooks:", "  all:", *lines, "    format: cloud", "  some:", *lines, "    format: cloud", some,
        "  own:", *lines, some,
    )  # fmt: skip

    wanted = {name: one.wanted for name, one in settings.webhooks.items()}
    assert wanted == {
        "all": CLOUD_TYPES,
        "some": ("message.status",),
        "own": ("message.status", "message.lost", "account.*"),
    }


def test_buttons_may_be_sent_as_text(read: Read) -> None:
    settings = read("http: {interactive: text}")

    assert settings.http is not None
    assert settings.http.interactive == "text"


def test_everything_that_can_be_said_of_a_webhook(read: Read) -> None:
    settings = read(
        "webhooks:",
        "  crm:",
        "    url: https://user:pass@crm.example.com/hook?key=1",
        "    format: events",
        "    accounts: [support]",
        "    events: [message.*, account.code]",
        "    secret_file: crm.secret",
        "    app_secret_file: app.secret",
        "    headers: {X-Source: whatsapp, X-Number: 17, Authorization: Bearer x}",
        "    timeout: 20s",
        "    parallel: 4",
    )
    assert settings.webhooks["crm"] == Webhook(
        name="crm",
        url="https://user:pass@crm.example.com/hook?key=1",
        accounts=frozenset({"support"}),
        events=("message.*", "account.code"),
        secrets=(KEY,),
        app_secret=b"an app's secret",
        headers=(("X-Source", "whatsapp"), ("X-Number", "17"), ("Authorization", "Bearer x")),
        timeout=20.0,
        parallel=4,
    )
    assert settings.needs_gateway


def test_a_webhook_needs_a_url_and_a_secret_and_nothing_else(read: Read) -> None:
    webhook = read("webhooks: {crm: {url: 'http://127.0.0.1:9/', secret_file: crm.secret}}").webhooks["crm"]
    assert webhook == Webhook("crm", "http://127.0.0.1:9/", secrets=(KEY,))
    assert (webhook.accounts, webhook.events, webhook.timeout) == (None, ("*",), 15.0)


def test_a_secret_is_changed_by_a_second_line(read: Read, folder: Path) -> None:
    (folder / "crm.secret").write_text(f"{SECOND}\n{SECRET}\n")
    webhook = read("webhooks: {crm: {url: 'http://h/', secret_file: crm.secret}}").webhooks["crm"]
    assert webhook.secrets == (OTHER, KEY)


def test_a_secret_may_stand_in_a_variable_which_only_the_service_needs(read: Read) -> None:
    text = "webhooks: {crm: {url: 'http://h/', secret_env: CRM_SECRET}}"
    settings = read(text, CRM_SECRET=f"{SECRET} {SECOND}")
    assert settings.webhooks["crm"].secrets == (KEY, OTHER)
    assert settings.missing_variables == ()
    settings = read(text)
    assert settings.webhooks["crm"].secrets == ()
    assert settings.missing_variables == (("webhooks.crm.secret_env", "CRM_SECRET"),)


def test_everything_that_can_be_said_of_a_bot(read: Read, folder: Path) -> None:
    (folder / "code").mkdir()
    settings = read(
        "bots:",
        "  echo:",
        "    app: my.bot:make.it",
        "    path: code",
        "    accounts: support",
        "    events: message.received",
        "    env: [URL, ABSENT]",
        "    env_files: {KEY: key}",
        "    timeout: 1m",
        "    memory_limit: 1G",
        "    parallel: 1",
        URL="http://x",
    )
    assert replace(settings.bots["echo"], code="") == BotSettings(
        name="echo",
        app="my.bot:make.it",
        path=folder / "code",
        accounts=frozenset({"support"}),
        events=("message.received",),
        env=(("URL", "http://x"), ("KEY", "sk_1")),
        timeout=60.0,
        memory_limit=1 << 30,
        parallel=1,
    )
    assert settings.missing_variables == (("bots.echo.env", "ABSENT"),)


def test_a_bot_needs_an_app_and_nothing_else(read: Read, folder: Path) -> None:
    bot = read("bots: {echo: {app: 'my_bot:bot'}}").bots["echo"]
    assert replace(bot, code="") == BotSettings("echo", "my_bot:bot", folder)


def test_other_code_is_another_bot(read: Read, folder: Path) -> None:
    text = "bots: {echo: {app: 'my_bot:bot'}}"
    before = read(text).bots["echo"]
    assert read(text).bots["echo"] == before
    (folder / "my_bot.py").write_text("bot = 1")
    after = read(text).bots["echo"]
    assert after != before
    (folder / "notes.txt").touch()
    assert read(text).bots["echo"] == after


# Secrets are not shown


def test_what_is_secret_is_in_no_repr(read: Read) -> None:
    settings = read(
        "webhooks: {crm: {url: 'https://user:pa55word@h/hook?key=pa55word', secret_file: crm.secret,"
        " app_secret_file: app.secret, headers: {X-Key: pa55word}}}",
        "bots: {echo: {app: 'a:b', env: [PLACE], env_files: {KEY: key}}}",
        PLACE="pa55word",
    )
    shown = repr(settings)
    for secret in ("pa55word", "an app's secret", "sk_1", repr(KEY)):
        assert secret not in shown
    assert settings.webhooks["crm"].shown_url == "https://h/hook?…"
    keyed = replace(settings.webhooks["crm"], url="https://h:1/services/T0001/XXXXXXXXXXXXXXXXXXXXXXXX/")
    assert keyed.shown_url == "https://h:1/services/T0001/…/"


@pytest.mark.parametrize(
    "line",
    [
        "url: 'https://user:pa55word@h:99999/'", "url: 'ftp://user:pa55word@h/'", "url: ['https://u:pa55word@h']",
        "url: 'https://u:pa55word@h/#x'", "url: 'https://h/ pa55word'", "url: pa55word@h",
        "headers: {Host: pa55word}", 'headers: {X-A: "pa55word\\n"}', "headers: {X-A: [pa55word]}",
        "headers: {'X A': pa55word}", "headers: pa55word@x", "headers: [pa55word]",
        "secret_file: whsec_pa55word/pa55word", "secret_env: whsec_pa55word+/=",
        "app_secret_file: whsec_pa55word",
    ],
)  # fmt: skip
def test_no_message_has_a_secret(wrong: Wrong, line: str) -> None:
    said = wrong("webhooks:", "  crm:", *([] if "url" in line else ["    url: http://h/"]), f"    {line}")
    assert "pa55word" not in said


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=40))
def test_a_secret_in_a_variable_is_never_quoted(text: str) -> None:
    value = f"n33dle{text}n33dle"
    config = "webhooks: {crm: {url: 'http://h/', secret_env: S}}"
    with pytest.raises(ConfigError) as caught:
        parse(config, "f.yaml", environ={"HOME": "/h", "S": value})
    assert "n33dle" not in str(caught.value)


# What is wrong


@pytest.mark.parametrize(
    "value",
    [
        "8080", "':8080'", "'*:8080'", "example.com:80", "'127.0.0.1:0'", "'127.0.0.1:65536'", "'127.0.0.1'",
        "'::1:80'", "'[::1]'", "'[127.0.0.1:80'", "'unix:'", f"unix:/{'x' * 108}", "[]", "{}",
        "'127.0.0.1:080'", "'127.1:80'", "'0x7f000001:80'", "systemd:x", "[systemd, nonsense]", "null",
        "'127.0.0.1:\uff18\uff10'",
    ],
)  # fmt: skip
def test_a_place_to_listen_has_a_form(wrong: Wrong, value: str) -> None:
    assert "http.listen: expected" in wrong(f"http: {{listen: {value}}}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http: {listen: 'example.com:80'}", 'found "example.com:80", whose host is no address'),
        ("http: {listen: '::1:80'}", 'found "::1:80": put an IPv6 address in brackets'),
        ("http: {public_url: 'https://u:p@h/'}", "public_url: expected a URL of http:// or https:// without"),
        ("http: {public_url: 'https://h/?a'}", "found one with more than that"),
        ("http: {public_url: 'file:///etc/passwd'}", "found another one"),
        ("http: {allowed_hosts: ['a b']}", "expected the name of a host without a port"),
        ("http: {allowed_hosts: ['h:80']}", "expected the name of a host without a port"),
        ("http: {trusted_proxies: 10.0.0.1/8}", "expected an address such as 127.0.0.1"),
        ("http: {trusted_proxies: everybody}", "expected an address such as 127.0.0.1"),
        ("http: {link_ports: 0}", "expected a port from 1 to 65535"),
        ("http: {link_ports: [80, 65536]}", "expected a port from 1 to 65535"),
        ("http: {link_ports: []}", "expected a port from 1 to 65535"),
        ("http: {link_networks: inside}", "expected an address such as 127.0.0.1"),
        ("http: {max_body: 1G}", "expected a size"),
        ("http: {port: 80}", "http.port: unknown key; expected one of listen, public_url"),
        ("http: [1]", "expected a mapping of keys to values, found a list"),
        ("webhooks: {crm: {url: 'http://h/'}}", "expected a secret_file, because requests are signed"),
        ("webhooks: {crm: {secret_file: crm.secret}}", "webhooks.crm: expected the key url, found none"),
        ("webhooks: {crm: }", "webhooks.crm: expected the key url, found none"),
        ("webhooks: {CRM: {url: 'http://h/'}}", "1: webhooks: expected a name of 1 to 63"),
        ("bots: {1: {app: 'a:b'}}", "expected a name in quotes"),
        ("bots: {echo: {}}", "bots.echo: expected the key app, found none"),
        ("bots: {echo: {app: my_bot}}", "bots.echo.app: expected module:attribute"),
        ("bots: {echo: {app: '../my_bot:bot'}}", "bots.echo.app: expected module:attribute"),
        ("bots: {echo: {app: 'a:b()'}}", "bots.echo.app: expected module:attribute"),
        ("bots: {echo: {app: 'a:b', path: nowhere}}", "found FOLDER/nowhere, which does not exist"),
        ("bots: {echo: {app: 'a:b', path: key}}", "found FOLDER/key, which is no folder"),
        ("bots: {echo: {app: 'a:b', env: [LD_PRELOAD]}}", "found LD_PRELOAD, which changes how"),
        ("bots: {echo: {app: 'a:b', env: [A=b]}}", "expected the name of a variable"),
        ("bots: {echo: {app: 'a:b', env_files: {PYTHONPATH: key}}}", "found PYTHONPATH, which changes"),
        ("bots: {echo: {app: 'a:b', env: [KEY], env_files: {KEY: key}}}", "found KEY in env, too"),
        ("bots: {echo: {app: 'a:b', env_files: {KEY: nowhere}}}", "FOLDER/nowhere, which does not exist"),
        ("bots: {echo: {app: 'a:b', env_files: [key]}}", "expected a mapping of variables to paths"),
        ("bots: {echo: {app: 'a:b', ap: x}}", "bots.echo.ap: unknown key; did you mean app?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(wrong: Wrong, text: str, said: str) -> None:
    assert said in wrong(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("format: cloud", "webhooks.crm: expected an app_secret_file, which format: cloud needs, found none"),
        ("format: other", 'expected events or cloud, found "other"'),
        ("verify_token_file: app.secret", "verify_token_file: expected format: cloud beside this key"),
        ("echoes: true", "webhooks.crm.echoes: expected format: cloud beside this key"),
        (
            "format: cloud\n    app_secret_file: app.secret\n    events: [account.*]",
            "webhooks.crm.events: expected one of message.received,",
        ),
        ("accounts: []", "name of an account, or a list of such, or null, found an empty list"),
        ("accounts: [support, suport]", "expected names of accounts, found suport, which is none"),
        ("accounts: Support", "expected a name of 1 to 63"),
        ("events: []", "found an empty list"),
        ("events: message", '"*", a type such as message.received'),
        ("events: messages.*", 'found "messages.*"'),
        ("events: [message.recieved]", 'found "message.recieved"'),
        ("timeout: 61s", "expected a duration"),
        ("parallel: 0", "expected a whole number from 1 to 64"),
        ("headers: {Content-Type: text/plain}", "headers that the service does not set itself, found"),
        ("headers: {Webhook-Id: x}", "headers that the service does not set itself, found Webhook-Id"),
        ("headers: {X-A: x, x-a: y}", "expected every header once, found x-a twice"),
        ("headers: {X-A: }", "expected a text for X-A, found nothing"),
        ("headers: {X-A: 'ü'}", "of printable ASCII for X-A, found a value of another form"),
        ("headers: text", "expected a mapping of headers to texts, found a text"),
        ("secret_env: A\n    secret_file: crm.secret", "either secret_file or secret_env, found both"),
        ("secret_env: 1A", "expected the name of a variable"),
        ("secret: whsec_x", "webhooks.crm.secret: unknown key; did you mean secret_"),
        ("verify_tokn: x", "webhooks.crm.verify_tokn: unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_webhook_is_said(wrong: Wrong, line: str, said: str) -> None:
    secret = [] if line.startswith("secret_") else ["    secret_file: crm.secret"]
    assert said in wrong("webhooks:", "  crm:", "    url: http://h/", *secret, f"    {line}")


@pytest.mark.parametrize(
    "url",
    [
        "crm.example.com/hook", "ftp://h/", "http:///x", "http://", "https://h:0/", "https://h:65536/",
        "https://h:/", "https://[::1", "https://[h]/", "https://h/#fragment", "https://h/#", "https://a b/",
        "https://h\\x/", "http://-h../", f"https://h/{'x' * 2000}", "https://ü.example/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_url_has_a_form(wrong: Wrong, url: str) -> None:
    said = wrong("webhooks:", "  crm:", f"    url: '{url}'", "    secret_file: crm.secret")
    assert "webhooks.crm.url: expected a URL of http:// or https://" in said


@pytest.mark.parametrize(
    "url", ["https://h", "HTTPS://h./x?y=1", "http://[::1]:1/", "http://10.0.0.1:65535/a%20b", "http://a_b/"]
)
def test_these_are_urls(read: Read, url: str) -> None:
    assert read(f"webhooks: {{crm: {{url: '{url}', secret_file: crm.secret}}}}").webhooks["crm"].url == url


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "which is empty"),
        ("secret", "which has a secret that does not begin with whsec_"),
        ("whsec_ü", "which has a secret that is not in base64 after whsec_"),
        ("whsec_!!!!", "which has a secret that is not in base64"),
        (
            f"whsec_{base64.b64encode(bytes(23)).decode()}",
            "which has a secret of 23 bytes instead of 24 to 64",
        ),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "which has a secret of 65 bytes"),
        (f"{SECRET}\nwhsec_", "which has a secret 2 of 0 bytes"),
        ("\n".join([SECRET] * 3), "which has more than 2 lines"),
        (f"{SECRET}\u200b", "which has U+200B"),
    ],
)
def test_a_file_of_secrets_has_a_form(wrong: Wrong, folder: Path, content: str, said: str) -> None:
    (folder / "crm.secret").write_text(content)
    assert said in wrong("webhooks: {crm: {url: 'http://h/', secret_file: crm.secret}}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("webhooks: {crm: {url: 'crm.example.com', secret_file: crm.secret}}", "webhooks.crm.url"),
        ("webhooks: {crm: {url: , secret_file: crm.secret}}", "webhooks.crm.url"),
        ("webhooks: {crm: {url: 'http://h/', secret_file: nowhere}}", "webhooks.crm.secret_file"),
        ("webhooks: {crm: {url: 'http://h/', secret_env: 7}}", "webhooks.crm.secret_env"),
        ("webhooks: {crm: {url: 'http://h/', app_secret_file: nowhere}}", "webhooks.crm.app_secret_file"),
        ("bots: {echo: {app: my_bot}}", "bots.echo.app"),
        ("bots: {echo: {app: 'a:b', path: [1]}}", "bots.echo.path"),
    ],
)
def test_a_value_that_is_wrong_is_told_once(wrong: Wrong, folder: Path, text: str, key: str) -> None:
    if key.endswith(".path"):
        folder.chmod(0o777)  # so that the default would not do, either
    assert [line.split(": ")[1] for line in wrong(text).splitlines()] == [key]


def test_a_secret_that_is_null_is_none(wrong: Wrong) -> None:
    said = wrong("webhooks: {crm: {url: 'http://h/', secret_file: null}}")
    assert "webhooks.crm: expected a secret_file" in said


@pytest.mark.parametrize(
    "key", ["secret_file: crm.secret", "secret_file: crm.secret, app_secret_file: app.secret"]
)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_of_secrets_that_others_can_read_or_write_is_refused(
    wrong: Wrong, folder: Path, key: str, mode: int
) -> None:
    file = folder / key.split()[-1]
    file.chmod(mode)
    said = wrong(f"webhooks: {{crm: {{url: 'http://h/', {key}}}}}")
    assert f"{file.name}, which other users may read or write: `chmod 600 FOLDER/{file.name}`" in said


def test_a_bots_secret_that_others_can_read_is_refused(wrong: Wrong, folder: Path) -> None:
    (folder / "key").chmod(0o644)
    said = wrong("bots: {echo: {app: 'a:b', env_files: {KEY: key}}}")
    assert "FOLDER/key, which other users may read or write" in said


def test_one_name_is_one_consumers(wrong: Wrong) -> None:
    said = wrong("webhooks: {crm: {url: 'http://h/', secret_file: crm.secret}}", "bots: {crm: {app: 'a:b'}}")
    assert "bots.crm: expected a name that no webhook has, found crm" in said


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/api"),
        ("127.0.0.1:8080", "http://localhost:8080/"),
        ("127.0.0.1:8080", "http://x.LOCALHOST.:8080/"),
        ("127.0.0.1:8080", "http://user@127.0.0.1:8080/"),
        ("127.0.0.1:8080", "http://2130706433:8080/"),
        ("127.0.0.1:8080", "http://0x7f.1:8080/"),
        ("127.0.0.1:8080", "http://0177.0.0.1:8080/"),
        ("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/"),
        ("127.0.0.1:8080", "http://0.0.0.0:8080/"),
        ("0.0.0.0:80", "http://127.9.9.9/"),
        ("[::]:80", "http://[::1]/"),
        ("10.0.0.1:443", "https://10.0.0.1"),
        ("127.0.0.1:8080", "https://gate.example/hook"),
        ("127.0.0.1:8080", "https://GATE.example:443/"),
    ],
)
def test_a_webhook_does_not_lead_back_to_the_service(wrong: Wrong, listen: str, url: str) -> None:
    said = wrong(
        f"http: {{listen: '{listen}', public_url: 'https://gate.example/base'}}",
        f"webhooks: {{crm: {{url: '{url}', secret_file: crm.secret}}}}",
    )
    assert "webhooks.crm.url: expected the URL of another server, found one of the service itself" in said


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081/", "http://10.0.0.2:8080/", "https://gate.example:8080/"]
)
def test_a_webhook_may_lead_elsewhere_on_this_machine(read: Read, url: str) -> None:
    assert read("http: {}", f"webhooks: {{crm: {{url: '{url}', secret_file: crm.secret}}}}").webhooks


# M-15: whose code a bot runs


def bot_with(code: Path, change: Callable[[Path], Any]) -> str:
    (code / "package").mkdir(parents=True)
    for name in ("my_bot.py", "package/__init__.py"):
        (code / name).touch(0o600)
    change(code)
    return "bots: {echo: {app: 'my_bot:bot', path: code}}"


@pytest.mark.parametrize(
    "change",
    [
        lambda code: code.chmod(0o777),
        lambda code: code.chmod(0o1777),
        lambda code: (code / "my_bot.py").chmod(0o606),
        lambda code: (code / "package").chmod(0o707),
        lambda code: (code / "package/__init__.py").chmod(0o602),
        lambda code: (code.parent / "elsewhere").mkdir() or (code.parent / "elsewhere").chmod(0o777) or (
            (code / "link").symlink_to(code.parent / "elsewhere")
        ),
    ],
)  # fmt: skip
def test_a_bot_whose_code_others_can_write_is_refused(
    wrong: Wrong, folder: Path, change: Callable[[Path], Any]
) -> None:
    said = wrong(bot_with(folder / "code", change))
    assert (
        "bots.echo.path: expected a folder of the bot's own, found one where others may put a program" in said
    )
    assert "`chmod o-w FOLDER/" in said


@as_root
@pytest.mark.parametrize("what", ["", "my_bot.py", "package", "package/__init__.py"])
def test_a_bot_whose_code_is_somebody_elses_is_refused(wrong: Wrong, folder: Path, what: str) -> None:
    said = wrong(bot_with(folder / "code", lambda code: os.chown(code / what, 65534, 65534)))
    assert f"FOLDER/code{'/' if what else ''}{what} belongs to nobody" in said


def test_code_of_ones_own_is_used_with_links_that_lead_nowhere(read: Read, folder: Path) -> None:
    text = bot_with(folder / "code", lambda code: (code / "dead").symlink_to(code / "nothing"))
    assert read(text).bots["echo"].path == folder / "code"


def test_what_is_no_code_is_not_looked_at(read: Read, folder: Path) -> None:
    lines = (
        "state_dir: code/state",
        bot_with(folder / "code", lambda code: (code / "state/x").mkdir(parents=True)),
    )
    before = read(*lines).bots["echo"]
    for name in ("data.db", "state/x.py", ".git"):
        (folder / "code" / name).touch()
        (folder / "code" / name).chmod(0o666)
    assert read(*lines).bots["echo"] == before


def test_only_so_many_files_of_a_bot_are_looked_at(
    read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.config.bot_folder.MOST_FILES", 2)
    text = bot_with(folder / "code", lambda code: (code / "package/z.py").touch())
    before = read(text).bots["echo"]
    (folder / "code/package/z.py").write_text("changed")
    assert read(text).bots["echo"] == before


# Accounts that webhooks and bots name


@pytest.fixture
def edited(folder: Path) -> Path:
    file = folder / "accounts.yaml"
    file.write_text(
        "accounts: {support: {}, sales: {}}  # ours\n"
        "webhooks:\n"
        "  crm: {url: 'http://h/', secret_file: crm.secret, accounts: [sales, 'support']}\n"
        "  all: {url: 'http://h/', secret_file: crm.secret}\n"
        "bots:\n"
        "  support:  # a bot of that name\n"
        "    app: support:support\n"
        "    accounts: support  # alone\n"
    )
    return file


def test_an_account_that_is_renamed_keeps_its_webhooks_and_bots(edited: Path) -> None:
    before = edited.read_text()
    after = rename_account(edited, "support", "help", environ={"HOME": "/h"})
    assert list(after.accounts) == ["help", "sales"]
    assert after.webhooks["crm"].accounts == frozenset({"sales", "help"})
    assert after.webhooks["all"].accounts is None
    assert after.bots["support"].accounts == frozenset({"help"})
    assert edited.read_text() == before.replace("{support:", "{help:").replace(
        "'support']", "'help']"
    ).replace("accounts: support", "accounts: help")


def test_lists_of_accounts_that_share_an_anchor_are_renamed_once(edited: Path) -> None:
    edited.write_text(
        "accounts: {support: {}}\n"
        "webhooks:\n"
        "  a: {url: 'http://h/', secret_file: crm.secret, accounts: &us [support]}\n"
        "  b: {url: 'http://h/', secret_file: crm.secret, accounts: *us}\n"
    )
    after = rename_account(edited, "support", "help", environ={"HOME": "/h"})
    assert {one.accounts for one in after.webhooks.values()} == {frozenset({"help"})}


def test_an_account_that_webhooks_and_bots_name_is_not_removed(edited: Path) -> None:
    before = edited.read_text()
    with pytest.raises(ConfigError) as caught:
        remove_account(edited, "support", environ={"HOME": "/h"})
    assert "webhooks.crm.accounts and bots.support.accounts names support: take the name out" in str(
        caught.value
    )
    assert caught.value.key == "account_in_use"
    assert edited.read_text() == before


def test_other_accounts_come_and_go_beside_webhooks_and_bots(edited: Path) -> None:
    after = add_account(edited, "new", environ={"HOME": "/h"})
    assert remove_account(edited, "new", environ={"HOME": "/h"}).webhooks == after.webhooks


# Anything else is refused in good order


KEYS = ["http", "webhooks", "bots"]
INNER = [
    "listen",
    "public_url",
    "allowed_hosts",
    "trusted_proxies",
    "max_body",
    "link_ports",
    "link_networks",
    "url",
    "format",
    "accounts",
    "events",
    "secret_file",
    "secret_env",
    "app_secret_file",
    "verify_token_file",
    "echoes",
    "interactive",
    "headers",
    "timeout",
    "parallel",
    "app",
    "path",
    "env",
    "env_files",
    "memory_limit",
    "crm",
    "x",
]
TEXTS = st.sampled_from(
    [
        "a",
        "*",
        "support",
        "unix:/x",
        "127.0.0.1:80",
        "[::1]:80",
        "https://h/",
        "15s",
        "8",
        "-1",
        "1e99",
        "~",
        "systemd",
        "whsec_AAAA",
        "a:b",
        ".",
        "/",
        "nowhere",
        "\u0661",
        "1.5",
        "true",
        "2024-01-01",
        "0x10",
        "{",
        "[",
    ]
) | st.just("")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES | st.dictionaries(TEXTS, VALUES, max_size=2), max_size=3)
)
def test_any_values_give_settings_or_an_error_of_the_operators(values: dict[str, Any]) -> None:
    text = yaml.safe_dump({**values, "accounts": {"support": None}}, allow_unicode=True)
    with contextlib.suppress(ConfigError):
        parse(text, "f.yaml", environ={"HOME": "/h"})


@given(st.sampled_from(INNER), VALUES, st.sampled_from(KEYS))
def test_any_value_of_a_key_likewise(key: str, value: object, section: str) -> None:
    sections: dict[str, Any] = {
        "http": {key: value},
        "webhooks": {"crm": {"url": "https://h/", "secret_env": "S", key: value}},
        "bots": {"echo": {"app": "a:b", "path": "/", key: value}},
    }
    text = yaml.safe_dump({section: sections[section], "accounts": {"support": None}}, allow_unicode=True)
    with contextlib.suppress(ConfigError):
        parse(text, "f.yaml", environ={"HOME": "/h"})
