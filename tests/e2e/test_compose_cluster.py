"""compose.cluster.yaml, carried out as docs/cluster.md says, with a Postgres in the place of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.container import Container, options_of, service_of
from support.container_engine import Engine
from support.postgres import FreshDatabase, serving

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(2400)

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose.cluster.yaml"
DOCS = (ROOT / "docs/cluster.md").read_text()
SHARDS = ("shard-1", "shard-2", "shard-3")
UNCONFINED = (
    "--no-healthcheck",
    "--network",
    "host",
    "--cgroups",
    "disabled",
    "--ulimit",
    "nproc=30000:30000",
)


class Project:
    """The folder of the compose file, and the database.

    Args:
        folder: Where the files are that the documentation makes.
        database: A database of a server whose certificate those files have.
        number: The phone of the account.
    """

    def __init__(self, folder: Path, database: FreshDatabase, number: str) -> None:
        self.folder, self.database = folder, database
        dsn = folder / "secrets/postgres.dsn"
        said = dsn.read_text()
        root = said.partition("sslrootcert=")[2]
        # The compose file makes the role and the network; here they are of the tests.
        place = f"{database.role}:{database.password}@postgres:{database.server.port}/{database.name}"
        dsn.chmod(0o600)
        dsn.write_text(f"postgres://{place}?sslmode=verify-full&sslrootcert={root}")
        dsn.chmod(0o400)
        config = folder / "config/accounts.yaml"
        config.write_text(config.read_text().replace("+15550100", number))

    def options(self, shard: str) -> list[str]:
        """Return what the file says of a shard, as options of podman."""
        secrets = {path.name: path for path in (self.folder / "secrets").iterdir()}
        volumes = {"./config": self.folder / "config", **secrets}
        return [*options_of(service_of(FILE, shard), volumes), "--add-host", "postgres:127.0.0.1"]


@pytest.fixture
def project(folder: Path, make_number: Callable[[], str]) -> Iterator[Project]:
    """What the documentation has people do before the first start."""
    (script,) = re.findall(r"^```sh\n(mkdir -p config secrets.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    subprocess.run(
        ["sh", "-euc", script.replace("sudo ", "")], cwd=folder, check=True, capture_output=True, text=True
    )
    for path in (folder, folder / "config"):
        path.chmod(0o755)
    with serving(max_connections="200") as server:
        server.stop()
        leaf = server.data / "leaf.pem"
        leaf.write_text("".join((folder / f"secrets/postgres.{end}").read_text() for end in ("crt", "key")))
        server.start()
        yield Project(folder, server.make_database(), make_number())


def test_three_shards_keep_an_account_when_one_is_lost(
    engine: Engine, image: str, project: Project, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    def init(*, code: int = 0) -> subprocess.CompletedProcess[str]:
        line = ["run", "--rm", *UNCONFINED, *project.options("shard-1"), image, "cluster", "init"]
        done = engine.podman(*line, check=False)
        assert done.returncode == code, done
        return done

    with project.database.superuser() as connection:
        connection.execute(init(code=1).stdout.encode())
    assert "tables" in init().stdout
    number = re.findall(r'phone: "(.*)"', (project.folder / "config/accounts.yaml").read_text())[0]
    sandbox.client.add_phone(number, "Support")
    with ExitStack() as running:
        shards = {}
        for name in SHARDS:
            (tmp_path / name).mkdir()
            one = Container(engine, image, name, project.options(name), sandbox, tmp_path / name)
            shards[name] = running.enter_context(one)
        for one in shards.values():
            one.until_ready()
        owner = shards["shard-1"].until(lambda: _owner(shards), "a shard has the account")
        shards[owner].scan("support", number, sandbox, tmp_path)
        shards[owner].until_connected("support")
        engine.podman("kill", owner)
        others = {name: one for name, one in shards.items() if name != owner}
        other = next(iter(others.values()))
        new = other.until(lambda: _owner(others), "another shard has the account")
        others[new].until_connected("support")
        assert [one["phone"] for one in sandbox.client.connections()].count(number) == 1
        assert "Successfully paired" not in others[new].log
        for one in others.values():
            assert one.stop() == 0
    shutil.rmtree(project.folder / "secrets")


def _owner(shards: dict[str, Container]) -> str | None:
    """Return which of some shards has the account, as any of them says."""
    for one in shards.values():
        listed = one.orchestrator("list", "support", "--json", check=False).stdout
        for account in json.loads(listed or "[]"):
            if account["shard"] in shards:
                return str(account["shard"])
    return None
