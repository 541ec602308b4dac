"""What the compose file, the chart, the documentation and the program say of a cluster is the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import CLUSTER, rendered

from orchestrator.accounts import deadlines
from orchestrator.cluster import deadlines as leases
from orchestrator.cluster.settings import NAME
from orchestrator.config.reader import load

ROOT = CLUSTER.parents[2]
DOCS = (ROOT / "docs/cluster.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text())
SINGLE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["whatsapp"]
SHARDS = {name: one for name, one in COMPOSE["services"].items() if name != "postgres"}
POSTGRES = COMPOSE["services"]["postgres"]
VALUES = yaml.safe_load((CLUSTER / "values.yaml").read_text())


def block(language: str, beginning: str) -> str:
    """Return the one block of the documentation that has some words."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```$", DOCS, re.MULTILINE | re.DOTALL)
    (found,) = (one for one in blocks if beginning in one)
    return str(found)


def test_shards_differ_by_their_names_alone() -> None:
    assert len(SHARDS) == 3
    bare = [{key: value for key, value in one.items() if key != "hostname"} for one in SHARDS.values()]
    assert all(one == bare[0] for one in bare)
    for name, one in SHARDS.items():
        assert one["hostname"] == name
        assert NAME.fullmatch(name)


@pytest.mark.parametrize(
    "key", ["image", "build", "restart", "ulimits", "pids_limit", "logging", "cap_drop", "security_opt"]
)
def test_a_shard_is_run_as_the_service_is(key: str) -> None:
    assert all(one[key] == SINGLE[key] for one in SHARDS.values())


def test_the_time_to_stop_is_enough_and_short_enough() -> None:
    stop = deadlines.COMPANIONS_STOPPING + deadlines.SHUTDOWN.outer
    graces = [int(one["stop_grace_period"].removesuffix("s")) for one in SHARDS.values()]
    assert {*graces, VALUES["terminationGracePeriodSeconds"]} == {30}
    assert stop + 5 <= 30
    assert "within its 30 seconds" in DOCS


def test_the_secrets_of_the_compose_file_are_those_that_the_documentation_makes() -> None:
    files = {name: about["file"] for name, about in COMPOSE["secrets"].items()}
    used = {name for one in COMPOSE["services"].values() for name in one["secrets"]}
    assert used == files.keys()
    for name, file in files.items():
        assert file == f"./secrets/{name}"
        assert re.search(rf"(>|-keyout |-out |\.crt ){re.escape(name)}\b", DOCS), name
    assert not {"postgres.admin", "postgres.key"} & {
        name for one in SHARDS.values() for name in one["secrets"]
    }


def test_the_database_asks_for_a_password_and_shows_a_certificate() -> None:
    words = POSTGRES["command"]
    assert words[::2] == ["-c"] * (len(words) // 2)
    settings = dict(word.split("=", 1) for word in words[1::2])
    assert settings["ssl"] == "on"
    for key in ("ssl_cert_file", "ssl_key_file"):
        assert settings[key].removeprefix("/run/secrets/") in POSTGRES["secrets"]
    assert (
        "--auth-local=scram-sha-256 --auth-host=scram-sha-256"
        in POSTGRES["environment"]["POSTGRES_INITDB_ARGS"]
    )
    assert not {name for name in POSTGRES["environment"] if name.endswith("PASSWORD")}
    assert "ports" not in POSTGRES


def test_the_dsn_of_the_documentation_is_one(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    from orchestrator.postgres import dsn

    root = tmp_path / "ca"
    root.write_text("-----BEGIN CERTIFICATE-----\n")
    (form,) = re.findall(r"printf '(postgres://.*)\\n'", DOCS)
    found = dsn.parse(form % ("ab12", root))
    assert (found.host, found.database, found.sslmode) == (
        "postgres",
        POSTGRES["environment"]["POSTGRES_DB"],
        "verify-full",
    )
    assert f"CREATE ROLE {found.user} LOGIN" in DOCS
    assert f"subjectAltName=DNS:{found.host}" in DOCS
    for place in re.findall(r"^postgres://\S+$", DOCS, re.MULTILINE):
        dsn.parse(place.replace("/PATH/TO/ca.crt", str(root)))


def test_the_configurations_of_the_documentation_are_shards(tmp_path: Path) -> None:
    script = block("sh", "openssl req")
    (compose,) = re.findall(r"accounts\.yaml <<'END'\n(.*?)^END$", script, re.MULTILINE | re.DOTALL)
    values = yaml.safe_load(block("yaml", "image:"))
    chart = rendered(values, chart=CLUSTER)["ConfigMap"]["data"]["accounts.yaml"]
    for text in (compose, chart, block("yaml", "dsn_file: postgres.secret")):
        file = tmp_path / "accounts.yaml"
        file.write_text(text)
        settings = load(file, environ={"RUNTIME_DIRECTORY": "/dev/shm/x", "HOME": "/"})
        assert settings.cluster is not None
        assert settings.cluster.shard is None
        assert settings.accounts.keys() == {"support"}
    assert "dsn_file: /run/secrets/postgres.dsn" in compose
    assert "postgres.dsn" in SHARDS["shard-1"]["secrets"]


def test_the_times_of_a_lease() -> None:
    said = re.search(r"its lease every (\d+) seconds, for (\d+) seconds", DOCS)
    assert said is not None
    assert (int(said[1]), int(said[2])) == (leases.RENEW_SECONDS, leases.LEASE_SECONDS)
    assert f"| its lease ends after {leases.LEASE_SECONDS:g} s, and the others take" in DOCS
    assert f"cannot reach the database for {leases.KILL_SECONDS:g} s |" in DOCS


def test_the_names_of_what_the_chart_makes() -> None:
    objects: dict[str, Any] = rendered(chart=CLUSTER, release="wa")
    assert f"{objects['StatefulSet']['metadata']['name']}-0 --" in DOCS
    labels = objects["Job"]["spec"]["template"]["metadata"]["labels"]
    assert f"logs -l app.kubernetes.io/name={labels['app.kubernetes.io/name']} " in DOCS
    assert objects["Job"]["spec"]["template"]["spec"]["containers"][0]["args"] == ["cluster", "init"]
