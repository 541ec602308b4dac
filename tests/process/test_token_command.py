"""The commands `token …`, without a service."""

from __future__ import annotations

import json
import os
import re
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.cli import PATIENCE, STAND_IN, Cli, bare, wait_for
from support.ports import free_port

from orchestrator.access import token as form
from orchestrator.access.tokens import Tokens
from orchestrator.errors import ExitCode


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.configure("support: {}", "sales: {}")
    return made


def test_a_token_is_printed_once_and_kept_as_a_hash(cli: Cli) -> None:
    done = cli("token", "add", "crm", "--scope", "read,send", "--account", "support", "--expires", "90d")
    text = done.stdout.removesuffix("\n")
    assert re.fullmatch(r"orc_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    assert done.stderr == ""
    kept = Tokens(cli.state / "tokens")
    kept.load()
    holder = kept.check(text, 0.0)
    assert holder is not None
    assert holder.scopes == frozenset({"read", "send"})
    assert holder.accounts == frozenset({"support"})
    secret = form.split(text)[1]
    for file in cli.state.rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes()
    assert stat.S_IMODE((cli.state / "tokens").stat().st_mode) == 0o700
    assert stat.S_IMODE((cli.state / "tokens/tokens.json").stat().st_mode) == 0o600


def test_tokens_are_listed_without_what_lets_anybody_in(cli: Cli) -> None:
    assert "orchestrator token add" in bare(cli("token", "list").stderr)
    assert json.loads(cli("token", "list", "--json").stdout) == []
    made = json.loads(
        cli("token", "add", "a", "--scope", "operate", "--scope", "read", "--expires", "1h", "--json").stdout
    )
    assert made.pop("token").startswith(f"orc_{made['id']}_")
    cli("token", "add", "b", "--scope", "metrics")
    first, second = json.loads(cli("token", "list", "--json").stdout)
    assert first == made
    assert (first["scopes"], first["accounts"], first["last_used"]) == (["read", "operate"], None, None)
    assert first["expires"] > first["created"]
    assert (second["name"], second["expires"]) == ("b", None)
    (cli.state / "gateway/token-uses.json").write_text(json.dumps({first["id"]: 20_000}))
    lines = cli("token", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "ID", "SCOPES", "ACCOUNTS", "EXPIRES", "LAST", "USED", "SESSIONS"]
    assert lines[2].split()[:5] == ["a", first["id"], "read,", "operate", "all"]
    assert lines[2].split()[-2:] == ["2024-10-04", "0"]
    assert lines[3].split() == ["b", second["id"], "metrics", "all", "never", "-", "0"]


def test_removed_tokens_are_gone(cli: Cli) -> None:
    cli("token", "add", "a", "--scope", "read")
    cli("token", "add", "b", "--scope", "read")
    assert '"c"' in cli("token", "remove", "a", "c", code=ExitCode.FAILED).stderr
    assert cli("token", "remove", "a", "a").stdout == "a: removed\n"
    assert [one["name"] for one in json.loads(cli("token", "list", "--json").stdout)] == ["b"]


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["../x", "--scope", "read"], 'a token cannot be called "../x": 1 to 63 of a-z', ExitCode.USAGE),
        (["crm", "--scope", "read,admin"], '"admin" is no scope: choose from read, send', ExitCode.USAGE),
        (["crm", "--scope", ""], '"" is no scope', ExitCode.USAGE),
        (["crm"], "--scope", ExitCode.USAGE),
        (["crm", "--scope", "read", "--expires", "90"], "without a unit", ExitCode.USAGE),
        (["crm", "--scope", "read", "--expires", "soon"], "expected a duration", ExitCode.USAGE),
        (["crm", "--scope", "read", "--account", "suport"], "you mean support?", ExitCode.NO_SUCH_ACCOUNT),
        (["crm", "--scope", "read", "--account", "A/B"], 'no account "A/B"', ExitCode.NO_SUCH_ACCOUNT),
        (["crm", "--scope", "read,metrics", "--account", "support"], "of all accounts", ExitCode.USAGE),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_makes_no_token(
    cli: Cli, arguments: list[str], said: str, code: ExitCode
) -> None:
    assert said in " ".join(cli("token", "add", *arguments, code=code).stderr.replace("│", " ").split())
    assert not (cli.state / "tokens/tokens.json").exists()


def test_a_token_needs_no_configuration_that_can_be_read(cli: Cli) -> None:
    cli.config.write_text("accounts: [")
    assert cli("token", "add", "crm", "--scope", "read").stdout.startswith("orc_")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
def test_root_makes_no_token_in_the_state_folder_of_somebody_else(cli: Cli) -> None:
    cli.state.mkdir(0o700)
    os.chown(cli.state, 65534, 65534)
    assert "belongs to nobody" in cli("token", "add", "crm", "--scope", "read", code=ExitCode.FAILED).stderr


# The service


def test_a_service_is_open_to_others_from_the_first_token_on(cli: Cli) -> None:
    port, inside = free_port(), free_port()
    top = f"http: {{listen: ['0.0.0.0:{port}', '127.0.0.1:{inside}']}}\n"
    cli.configure("support: {}", top=top)
    with cli.service():
        # In a container nobody could run a command otherwise, not even the one that makes a token.
        cli.until("support", "pairing")
        wait_for(lambda: answer(inside, None) == 401, "the address of this machine alone is open")
        assert answer(port, None) is None
        said = bare(cli.log.read_text())
        assert f"the gateway cannot listen on 0.0.0.0:{port}" in said
        assert "`orchestrator token add NAME" in said
        assert f"0.0.0.0:{port} can be reached from other machines" in bare(
            cli.run_any(cli.line("doctor")).stdout
        )
        cli.configure("support: {}", "sales: {}", top=top)
        cli("reload")  # which opens nothing
        assert answer(port, None) is None
        token = cli("token", "add", "me", "--scope", "read").stdout.strip()
        wait_for(lambda: answer(port, token) == 200, "the other address is open, too")


def test_a_reload_does_not_open_the_server_to_others_without_a_token(cli: Cli) -> None:
    cli.configure("support: {}")
    with cli.service():
        cli.configure("support: {}", "new: {}", top="http: {listen: '0.0.0.0:8080'}\n")
        assert "token add" in cli("reload", code=ExitCode.FAILED).stderr
        assert set(cli.accounts()) == {"support"}


def test_a_variable_with_a_secret_is_the_services_alone(cli: Cli) -> None:
    top = "webhooks: {crm: {url: 'http://127.0.0.1:9/', secret_env: CRM_SECRET}}\n"
    cli.configure("support: {}", top=top)
    said = cli("run", code=ExitCode.FAILED, program=STAND_IN).stderr
    assert "webhooks.crm.secret_env: set $CRM_SECRET in the service's environment" in said
    cli("add", "sales", "--disabled")
    assert set(cli.accounts()) == {"support", "sales"}


def answer(port: int, token: str | None) -> int | None:
    """Return the status of an answer of the HTTP server, None if nothing listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/accounts")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=PATIENCE
        ) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_a_running_service_knows_a_token_as_soon_as_the_command_has_ended(cli: Cli) -> None:
    port = free_port()
    cli.configure("support: {}", top=f"http: {{listen: '127.0.0.1:{port}'}}\n")
    with cli.service():
        while answer(port, None) is None:
            time.sleep(0.1)
        token = cli("token", "add", "crm", "--scope", "read").stdout.strip()
        assert answer(port, token) == 200
        assert answer(port, token[:-1] + ("A" if token[-1] != "A" else "E")) == 401
        cli("token", "add", "other", "--scope", "metrics")
        assert answer(port, token) == 200
        cli("token", "remove", "crm")
        assert answer(port, token) == 401
        assert json.loads(cli("token", "list", "--json").stdout)[0]["name"] == "other"
    assert token.encode() not in cli.log.read_bytes()
    assert form.split(token)[1].encode() not in cli.log.read_bytes()
