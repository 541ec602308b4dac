"""The units as they are shipped, and what is put into them for an installation."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from orchestrator.accounts import deadlines
from orchestrator.cli.unit import install, plan
from orchestrator.cli.unit.plan import QR_GROUP, SHIPPED, Unit, UnitError
from orchestrator.config.reader import parse
from orchestrator.errors import ConfigError
from orchestrator.service import startup

ROOT = Path(__file__).resolve().parents[3]
EXPOSURE = 1.5
"""What `systemd-analyze security` may find at most."""


@pytest.fixture(params=["orchestrator.service", "orchestrator@.service"])
def shipped(request: pytest.FixtureRequest) -> Path:
    return SHIPPED / str(request.param)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        assert not os.environ.get("ORCHESTRATOR_TESTS_MUST_BOOT"), "there is no systemd-analyze"
        pytest.skip("there is no systemd-analyze on this machine")
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def settings(path: Path) -> dict[str, list[str]]:
    """Return what a unit sets, by key."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def seconds(text: str) -> float:
    units = {"s": 1, "min": 60}
    match = re.fullmatch(r"(\d+)([a-z]+)", text)
    assert match is not None, text
    return int(match[1]) * units[match[2]]


def test_systemd_has_nothing_to_say_against_it(shipped: Path, tmp_path: Path) -> None:
    # Its exit code says little; every line it prints is a complaint.
    copy = tmp_path / shipped.name.replace("@.", "@sales.")
    copy.write_text(shipped.read_text().replace("=/opt/orchestrator/bin/orchestrator ", "=/bin/true "))
    done = analyze("verify", "--man=no", copy)
    assert (done.stderr, done.stdout, done.returncode) == ("", "", 0)


def test_systemd_complains_when_there_is_a_reason(tmp_path: Path) -> None:
    copy = tmp_path / "orchestrator.service"
    copy.write_text((SHIPPED / copy.name).read_text().replace("[Service]\n", "[Service]\nRestartWatts=3\n"))
    assert "RestartWatts" in analyze("verify", "--man=no", copy).stderr


def test_it_exposes_little_and_explains_the_rest(shipped: Path) -> None:
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:.0f}", "--no-pager", shipped)
    assert done.returncode == 0, done.stdout
    (level,) = re.findall(r"Overall exposure level .*: (\d+\.\d)", done.stdout)
    assert float(level) <= EXPOSURE
    comments = "".join(line for line in shipped.read_text().splitlines() if line.startswith("#"))
    found = json.loads(analyze("security", "--offline=yes", "--json=short", shipped).stdout)
    missing = [one["name"] for one in found if one["exposure"] not in (None, "0.0")]
    assert missing
    for name in missing:
        if "_(INET|INET6)" in name or "AF_UNIX" in name:
            assert "Internet, and sockets of this machine" in comments
        elif "SystemCallFilter=~@privileged" in name:
            assert "one call is needed" in comments
        else:
            directives = re.findall(r"[A-Za-z]+=", name)
            assert directives, name
            for directive in directives:
                assert directive in comments, directive


def test_the_template_is_the_same_with_folders_of_its_own() -> None:
    plain = settings(SHIPPED / "orchestrator.service")
    template = settings(SHIPPED / "orchestrator@.service")
    assert template.pop("Description") == [f"{plain.pop('Description')[0]} of %i"]
    for key in ("ExecStart", "ExecReload"):
        (value,) = plain[key]
        plain[key] = [value.replace("/etc/orchestrator/", "/etc/orchestrator-%i/")]
    assert plain["User"] == ["orchestrator"]
    for key in ("User", "StateDirectory", "RuntimeDirectory", "ConfigurationDirectory"):
        plain[key] = ["orchestrator-%i"]
    assert template == plain


def test_its_times_and_limits_are_those_of_the_service(shipped: Path) -> None:
    values = {key: value[-1] for key, value in settings(shipped).items()}
    stop = deadlines.COMPANIONS_STOPPING + deadlines.SHUTDOWN.outer + deadlines.REAP_SECONDS
    assert seconds(values["TimeoutStopSec"]) >= stop + 5
    assert int(values["LimitNOFILE"]) == startup.OPEN_FILES
    assert values["Type"] == "notify"
    assert values["KillMode"] == "mixed"
    assert "DynamicUser" not in values


# What is put in


def changes(one: Unit, name: str) -> list[tuple[str, str]]:
    """Return the lines in which what is written is not what is shipped."""
    mark, _, written = one.files()[one.path].partition("\n")
    assert re.fullmatch(r"# Written by orchestrator install-unit \S+; sha256 [0-9a-f]{64}", mark)
    pairs = zip((SHIPPED / name).read_text().splitlines(), written.splitlines(), strict=True)
    return [(before, after) for before, after in pairs if before != after]


def test_what_is_written_is_what_is_shipped() -> None:
    assert changes(Unit(), "orchestrator.service") == []
    assert changes(Unit("sales"), "orchestrator@.service") == []
    one = Unit(None, "ada", Path("/srv/wa/a.yaml"), Path("/opt/wa/bin/orchestrator"))
    assert changes(one, "orchestrator.service") == [
        (
            "ExecStart=/opt/orchestrator/bin/orchestrator --config /etc/orchestrator/accounts.yaml run",
            "ExecStart=/opt/wa/bin/orchestrator --config /srv/wa/a.yaml run",
        ),
        (
            "ExecReload=/opt/orchestrator/bin/orchestrator --config /etc/orchestrator/accounts.yaml reload",
            "ExecReload=/opt/wa/bin/orchestrator --config /srv/wa/a.yaml reload",
        ),
        ("User=orchestrator", "User=ada"),
    ]
    assert "m ada orchestrator-qr\n" in one.files()[one.sysusers]
    assert users(Unit()) == (SHIPPED / "orchestrator.sysusers.conf").read_text()
    assert users(Unit("sales")).splitlines()[-3:] == [
        'u orchestrator-sales - "WhatsApp accounts" /var/lib/orchestrator-sales',
        "g orchestrator-qr -",
        "m orchestrator-sales orchestrator-qr",
    ]


def users(one: Unit) -> str:
    return one.files()[one.sysusers].partition("\n")[2]


@pytest.mark.parametrize("instance", [None, "sales"])
def test_the_first_configuration_is_valid_and_fits(instance: str | None) -> None:
    one = Unit(instance)
    found = parse(one.first_config(), one.config_file, environ={})
    assert (found.state_dir, found.qr_dir, found.qr_group) == (one.state, one.runtime / "qr", QR_GROUP)
    assert found.accounts == {}


# What is refused


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have the program beside this Python, as pip installs it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/orchestrator").write_text("")
    (tmp_path / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))


@pytest.fixture
def _in_sight(_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the unit see everything, wherever these tests are."""
    monkeypatch.setattr(plan, "HIDDEN", ())
    monkeypatch.setattr(plan, "check_open", lambda *_: None)
    if os.geteuid() != 0:  # then these tests' own packages are not root's
        monkeypatch.setattr(plan, "check_owner", lambda *_: None)
        monkeypatch.setattr(plan, "check_config_owner", lambda *_: None)


@pytest.mark.usefixtures("_installed")
def test_a_python_that_the_unit_would_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "HIDDEN", (Path(sys.base_prefix).resolve(),))
    with pytest.raises(
        UnitError, match=r"is below /.*hides from the service.*/usr/bin/python3 -m venv /opt/orchestrator"
    ):
        plan.plan(None, None, None)


def test_a_program_that_is_not_there_is_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(UnitError, match="install the package with pip"):
        plan.plan(None, None, None)


@pytest.mark.usefixtures("_in_sight")
def test_users_that_will_not_do_are_refused() -> None:
    with pytest.raises(UnitError, match="the user no-such-user does not exist: make the user with `useradd"):
        plan.plan(None, "no-such-user", None)
    with pytest.raises(UnitError, match="needs no root privileges"):
        plan.plan(None, "root", None)
    for instance in ("qr", "a.b", "x" * 19):
        with pytest.raises(UnitError, match=f"orchestrator-{instance} is not a valid user name"):
            plan.plan(instance, None, None)
    assert plan.plan("x" * 18, None, None).user == f"orchestrator-{'x' * 18}"
    with pytest.raises(ConfigError, match="is no account name"):
        plan.plan("../x", None, None)


@pytest.mark.usefixtures("_in_sight")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accounts: {}", r"write `state_dir: /var/lib/orchestrator` into this file"),
        ("state_dir: /srv/wa\naccounts: {}", r"`state_dir: /var/lib/orchestrator`.*and move /srv/wa there"),
        ("accounts: 3", "expected a mapping of names"),
        (None, "there is no such file"),
    ],
)
def test_configurations_that_will_not_do_are_refused(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        plan.plan(None, None, file)


@pytest.mark.usefixtures("_in_sight")
@pytest.mark.parametrize("name", ["a b.yaml", "a%i.yaml", "a$x.yaml", "a'.yaml"])
def test_paths_that_mean_something_to_systemd_are_refused(name: str) -> None:
    with pytest.raises(UnitError, match="a unit cannot have all characters of this path"):
        plan.plan(None, None, Path("/srv") / name)


def test_only_root_can_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(UnitError, match="only root can install a unit: use sudo"):
        install.check_machine()


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets that far")
def test_without_systemd_it_is_not_written() -> None:
    with pytest.raises(UnitError, match="systemd does not run on this machine"):
        install.check_machine()
