"""What ``install-unit`` does to a machine, and takes back, under a real systemd that is booted for it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import bare
from support.service import ROOT
from support.systemd_box import Box, need_box
from support.systemd_unit import HOME, PROGRAM, install_wheel

from orchestrator.cli.unit.plan import marked

UNIT = Path("/etc/systemd/system/orchestrator.service")
SYSUSERS = Path("/etc/sysusers.d/orchestrator.conf")
CONFIG = Path("/etc/orchestrator/accounts.yaml")
EXAMPLE = Path("/etc/orchestrator/accounts.example.yaml")


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Box]:
    need_box()
    wheel: Path = request.getfixturevalue("wheel")
    with Box() as box:
        install_wheel(box, wheel)
        yield box


@pytest.fixture
def box(machine: Box) -> Iterator[Box]:
    """A machine with the package and without a unit."""
    with machine.telling():
        yield machine
    for name in ("orchestrator", "orchestrator@sales"):
        machine.path(f"/etc/systemd/system/{name}.service").unlink(missing_ok=True)
        machine.path(f"/etc/sysusers.d/{name}.conf").unlink(missing_ok=True)
    folders = [f"{place}/orchestrator{end}" for place in ("/etc", "/var/lib") for end in ("", "-sales")]
    machine.run("rm", "-rf", *folders)
    machine.systemctl("daemon-reload")


def install(box: Box, *options: str | Path) -> list[str]:
    return box.run(PROGRAM, "install-unit", *options).stdout.splitlines()


def refused(box: Box, *options: str | Path, program: Path = PROGRAM) -> str:
    done = box.run(program, "install-unit", *options, check=False)
    assert done.returncode == 1, done
    assert not box.path(UNIT).exists() or "edited" in done.stderr
    return done.stderr


def about(box: Box, path: Path) -> str:
    return box.run("stat", "--format=%U:%G %a", path).stdout.strip()


def test_it_is_written_once_with_its_user_and_folders(box: Box) -> None:
    planned = box.run(PROGRAM, "install-unit", "--dry-run").stdout
    assert not box.path(UNIT).exists()
    assert not box.path("/etc/orchestrator").exists()
    assert install(box) == [
        f"wrote {UNIT}",
        f"wrote {SYSUSERS}",
        "/var/lib/orchestrator: belongs to orchestrator, mode 0700",
        "/etc/orchestrator: belongs to root, mode 2750",
        f"wrote {CONFIG}, for `orchestrator add`",
        f"wrote {EXAMPLE}, which shows every key of the configuration",
        "to start the service now and at every boot: systemctl enable --now orchestrator",
        "to apply a change: systemctl restart orchestrator",
    ]
    written = box.path(UNIT).read_text()
    assert f"# {UNIT}\n{written}" in planned
    assert written.partition("\n")[2] == (ROOT / "systemd/orchestrator.service").read_text()
    assert about(box, UNIT) == "root:root 644"
    assert about(box, CONFIG) == "root:orchestrator 640"
    assert about(box, EXAMPLE) == "root:root 644"
    assert box.path(EXAMPLE).read_text().partition("\n")[2] == (ROOT / "accounts.example.yaml").read_text()
    assert about(box, Path("/var/lib/orchestrator")) == "orchestrator:orchestrator 700"
    groups = box.run("id", "-nG", "orchestrator").stdout.split()
    assert sorted(groups) == ["orchestrator", "orchestrator-qr"]
    verified = box.run("systemd-analyze", "verify", "--man=no", UNIT)
    assert verified.stdout + verified.stderr == ""
    # Once more, and nothing is done.
    assert install(box)[0] == f"{UNIT} is up to date"
    assert len(install(box)) == 3
    # What somebody has made of the example stays.
    box.path(EXAMPLE).write_text("# mine\n")
    kept, unit, *_ = install(box)
    assert kept.startswith(f"kept {EXAMPLE}, which was edited")
    assert unit == f"{UNIT} is up to date"
    assert box.path(EXAMPLE).read_text() == "# mine\n"


def test_what_somebody_has_changed_is_let_alone(box: Box) -> None:
    install(box)
    text = box.path(UNIT).read_text()
    box.path(UNIT).write_text(text.replace("WatchdogSec=30s", "WatchdogSec=90s"))
    for options in ((), ("--uninstall",), ("--uninstall", "--dry-run")):
        assert "was edited: move your changes to `systemctl edit orchestrator`" in refused(box, *options)
    assert "WatchdogSec=90s" in box.path(UNIT).read_text()
    # One that an older version has written is not an edited one.
    mark = "# Written by orchestrator install-unit 0.0.1; sha256 "
    old = "[Service]\nExecStart=/bin/true\n"
    box.path(UNIT).write_text(f"{mark}{hashlib.sha256(old.encode()).hexdigest()}\n{old}")
    assert install(box)[0] == f"wrote {UNIT}"
    assert box.path(UNIT).read_text() == text


def test_an_installation_that_others_can_change_is_refused(box: Box) -> None:
    changes: list[tuple[list[str | Path], list[str | Path]]] = [
        (["chown", "nobody", HOME], ["chown", "root", HOME]),
        (["chmod", "g+w", HOME], ["chmod", "g-w", HOME]),
        (["chmod", "g+w", HOME.parent], ["chmod", "g-w", HOME.parent]),
        (["chmod", "o+w", PROGRAM], ["chmod", "o-w", PROGRAM]),
        (["chown", "-h", "nobody", HOME / "bin/python"], ["chown", "-h", "root", HOME / "bin/python"]),
    ]
    for change, back in changes:
        box.run(*change)
        try:
            said = refused(box)
            assert f"{change[-1]}" in said
            assert "so others than root decide what the unit runs" in said
            assert refused(box, "--dry-run") == said
        finally:
            box.run(*back)
    box.run("mkdir", "-p", "/etc/orchestrator")
    box.path(CONFIG).write_text("state_dir: /var/lib/orchestrator\naccounts: {}\n")
    box.run("chown", "nobody", CONFIG)
    assert f"{CONFIG} belongs to nobody, so others than root decide" in refused(box)
    box.run("chown", "root", CONFIG)
    install(box)


def test_it_is_taken_back_but_for_the_state(box: Box) -> None:
    install(box)
    box.systemctl("enable", "orchestrator")
    box.path("/var/lib/orchestrator/session").write_text("precious")
    dry_run = box.run(PROGRAM, "install-unit", "--uninstall", "--dry-run", user="nobody")
    assert dry_run.stdout.splitlines() == [
        "would stop and disable orchestrator",
        f"would remove {UNIT}",
        f"would remove {SYSUSERS}",
        f"would keep: /var/lib/orchestrator, {CONFIG.parent}",  # which nobody may look into
    ]
    assert box.systemctl("is-enabled", "orchestrator").stdout == "enabled\n"
    assert install(box, "--uninstall") == [
        "stopped and disabled orchestrator",
        f"removed {UNIT}",
        f"removed {SYSUSERS}",
        f"kept: /var/lib/orchestrator, {CONFIG}",
    ]
    assert box.path("/var/lib/orchestrator/session").read_text() == "precious"
    assert not box.path("/etc/systemd/system/multi-user.target.wants/orchestrator.service").is_symlink()
    assert box.systemctl("cat", "orchestrator", check=False).returncode != 0
    once_more = [f"{UNIT} is not installed", f"would keep: /var/lib/orchestrator, {CONFIG}"]
    assert install(box, "--uninstall", "--dry-run") == once_more
    assert install(box, "--uninstall") == [one.replace("would keep", "kept") for one in once_more]
    box.path(SYSUSERS).write_text(marked("u orchestrator -\n"))
    assert install(box, "--uninstall", "--dry-run")[0] == f"would remove {SYSUSERS}"
    assert install(box, "--uninstall")[0] == f"removed {SYSUSERS}"


def test_a_user_and_a_configuration_of_ones_own(box: Box) -> None:
    assert "the user ada does not exist" in refused(box, "--user", "ada")
    box.run("useradd", "--system", "--user-group", "ada")
    config = Path("/srv/wa.yaml")
    box.path(config).write_text("state_dir: /var/lib/orchestrator\naccounts: {}\n")
    box.path(config).chmod(0o600)
    said = refused(box, "--user", "ada", "--config", config)
    assert f"{config} is closed to the user ada (mode 0600): `chgrp ada {config}`, `chmod g+r" in said
    box.run("chgrp", "ada", config)
    box.run("chmod", "g+r", config)
    said = "\n".join(install(box, "--user", "ada", "--config", config))
    assert "the unit may not write" not in said  # the codes are in the state folder
    text = box.path(UNIT).read_text()
    assert "\nUser=ada\n" in text
    assert re.findall(r"^Exec\w+=(.*)$", text, re.MULTILINE) == [
        f"{PROGRAM} --config {config} run",
        f"{PROGRAM} --config {config} reload",
    ]
    assert about(box, Path("/var/lib/orchestrator")) == "ada:ada 700"
    assert not box.path(CONFIG).exists()
    assert "orchestrator-qr" in box.run("id", "-nG", "ada").stdout
    box.path(config).write_text("state_dir: /var/lib/orchestrator\nqr_dir: /srv/codes\naccounts: {}\n")
    assert "`ReadWritePaths=/srv/codes`" in "\n".join(install(box, "--user", "ada", "--config", config))


def test_a_configuration_that_was_there_is_made_readable(box: Box) -> None:
    box.run("mkdir", "-m", "700", CONFIG.parent)
    box.path(CONFIG).write_text("accounts: {a: {}}\n")
    box.path(CONFIG).chmod(0o600)
    assert "write `state_dir: /var/lib/orchestrator` into this file" in refused(box)
    box.path(CONFIG).write_text("state_dir: /var/lib/orchestrator\naccounts: {a: {}}\n")
    done = install(box)
    assert f"{CONFIG}: now readable by the service's group" in done
    assert about(box, CONFIG) == "root:orchestrator 640"
    assert about(box, CONFIG.parent) == "root:orchestrator 2750"
    assert "a: {}" in box.path(CONFIG).read_text()


def test_an_installation_that_it_could_not_see_or_enter_is_refused(box: Box, wheel: Path) -> None:
    place = Path("/root/venv")
    install_wheel(box, wheel, place)
    said = refused(box, program=place / "bin/orchestrator")
    assert "is below /root" in said
    assert "/usr/bin/python3 -m venv /opt/orchestrator" in said
    box.run("chmod", "700", HOME)
    try:
        assert f"{HOME} is closed to the user orchestrator (mode 0700)" in refused(box)
    finally:
        box.run("chmod", "755", HOME)
    assert "systemd hides /home from the service" in refused(box, "--config", "/home/ada/accounts.yaml")
    done = box.run(PROGRAM, "install-unit", user="nobody", check=False)
    assert done.returncode == 1
    assert "only root can install a unit" in done.stderr
    assert box.run(PROGRAM, "install-unit", "--dry-run", user="nobody").stdout.startswith(f"# {UNIT}\n")
    install(box)
    done = box.run(PROGRAM, "install-unit", "--dry-run", user="nobody", check=False)
    assert done.stderr == f"orchestrator: {CONFIG}: this user may not look there: try again with sudo\n"


def test_an_instance_has_a_unit_and_folders_of_its_own(box: Box) -> None:
    done = install(box, "--instance", "sales")
    assert done[0] == "wrote /etc/systemd/system/orchestrator@sales.service"
    assert done[-2] == "to start the service now and at every boot: systemctl enable --now orchestrator@sales"
    assert about(box, Path("/var/lib/orchestrator-sales")) == "orchestrator-sales:orchestrator-sales 700"
    config = box.path("/etc/orchestrator-sales/accounts.yaml").read_text()
    assert "state_dir: /var/lib/orchestrator-sales\n" in config
    assert "qr_dir: /run/orchestrator-sales/qr\n" in config
    box.systemctl("enable", "orchestrator@sales")
    assert box.systemctl("is-enabled", "orchestrator@sales").stdout == "enabled\n"
    assert box.show("orchestrator@sales", "StateDirectory") == "orchestrator-sales"
    install(box)
    assert (
        "is no account name"
        in box.run(PROGRAM, "install-unit", "--uninstall", "--instance", "../sales", check=False).stderr
    )
    install(box, "--instance", "sales", "--uninstall")
    assert box.path(UNIT).exists()
    assert not box.path("/etc/systemd/system/orchestrator@sales.service").exists()


# What commands advise while it does not run


def say(box: Box, *arguments: str | Path, code: int, user: str | None = None) -> str:
    done = box.run(PROGRAM, *arguments, user=user, check=False)
    assert done.returncode == code, done
    return bare(done.stdout + done.stderr)


def test_while_it_does_not_run_commands_name_its_unit(box: Box) -> None:
    install(box)
    install(box, "--instance", "sales")
    sales = ("--config", Path("/etc/orchestrator-sales/accounts.yaml"))
    for options, name in (((), "orchestrator"), (sales, "orchestrator@sales")):
        start = f"`systemctl start {name}`"
        said = say(box, *options, "add", "support", code=0).splitlines()
        assert said[1:] == [
            f"the service is not running; {start} starts it",
            "then, to link the account: `orchestrator link support`",
        ]
        assert f"start the service with {start}, or name" in say(box, *options, "stop", "support", code=4)
        assert f"you can   start the service: {start}\n" in say(box, *options, "explain", "support", code=0)
        found = json.loads(box.run(PROGRAM, *options, "doctor", "--json", check=False).stdout)
        (about,) = [one for one in found if one["check"] == "service"]
        assert (about["status"], about["advice"]) == ("OK", f"{start} starts the service")
    # Another's state folder or configuration.
    elsewhere = ("--state-dir", "/srv/state")
    assert "`orchestrator run`" in say(box, *elsewhere, "stop", "support", code=4)
    assert "`orchestrator run`" in say(box, *elsewhere, "explain", "support", code=0)
    box.path("/srv/a.yaml").write_text("state_dir: /var/lib/orchestrator\naccounts: {}\n")
    assert "`orchestrator run`" in say(box, "--config", "/srv/a.yaml", "add", "support", code=0)
    # The same folder, on another disk.
    box.run("mv", "/var/lib/orchestrator", "/srv/wa")
    box.run("ln", "-s", "/srv/wa", "/var/lib/orchestrator")
    for named in ((), ("--state-dir", "/srv/wa")):
        assert "`systemctl start orchestrator`" in say(box, *named, "stop", "support", code=4)
    # None is left.
    install(box, "--uninstall")
    assert "`orchestrator run`" in say(box, "stop", "support", code=4)
    assert "`systemctl start orchestrator@sales`" in say(box, *sales, "stop", "support", code=4)


def test_root_is_told_to_let_its_user_work_on_its_state(box: Box) -> None:
    install(box)
    box.run(PROGRAM, "add", "support")
    owner = "/var/lib/orchestrator: belongs to orchestrator, but this user is root: "
    advice = "`sudo -u orchestrator orchestrator …`"
    for command in (("repair", "support", "--no-wait"), ("remove", "support", "--yes"), ("run",)):
        said = say(box, *command, code=1)
        assert (
            f"{owner}start the service with `systemctl start orchestrator`, or run this as the folder's user"
            in said
        )
        assert advice in said
        assert "chown" not in said
    say(box, "repair", "support", "--no-wait", code=0, user="orchestrator")
    said = say(box, "doctor", code=1)  # WhatsApp cannot be reached from here
    assert "/var/lib/orchestrator: owner and modes are right, for a service of orchestrator" in said
    assert "chown" not in said
    assert re.findall(r"^FAIL +(\S+)", said, re.MULTILINE) == ["WhatsApp"]
    install(box, "--uninstall")
    assert f"{owner}run this as the folder's user: {advice}" in say(
        box, "repair", "support", "--no-wait", code=1
    )


def test_what_systemd_has_in_its_environment_by_mistake_stays_outside(box: Box) -> None:
    install(box)
    mistakes = {
        "GODEBUG": "x509usefallbackroots=1",
        "LD_LIBRARY_PATH": "/nowhere",
        "LD_PRELOAD": "",
        "ORCHESTRATOR_SANDBOX_ROOT_KEY": "00",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "PYTHONSTARTUP": "/nowhere",
        "SSL_CERT_DIR": "/nowhere",
        "SSL_CERT_FILE": "/nowhere",
    }
    box.systemctl("set-environment", "WANTED=1", *(f"{name}={value}" for name, value in mistakes.items()))
    try:
        box.systemctl("start", "orchestrator")  # with that PYTHONHOME no Python starts
        environ = box.run("cat", f"/proc/{box.show('orchestrator', 'MainPID')}/environ").stdout
        names = {entry.partition("=")[0] for entry in environ.split("\0")}
        assert "WANTED" in names
        assert names.isdisjoint(mistakes)
    finally:
        box.systemctl("unset-environment", "WANTED", *mistakes)
        box.systemctl("stop", "orchestrator")
