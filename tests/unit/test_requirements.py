"""The files of requirements/ name all that an installation gets, and pip refuses anything else."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from support.scripts import loaded

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".ci/hashes"
PIP = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def hashes() -> ModuleType:
    return loaded(PROGRAM)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program and all that it looks at, elsewhere."""
    for name in (".ci/hashes", "pyproject.toml", "orchestrator/system/pythons.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def check(folder: Path) -> tuple[int, str]:
    command = [sys.executable, str(folder / ".ci/hashes"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def change(name: str, pattern: str, by: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        changed = re.sub(pattern, by, text, count=1, flags=re.MULTILINE)
        assert changed != text
        (folder / name).write_text(changed)

    return edit


RUN, SANDBOX, DEV = (f"requirements/{name}.txt" for name in ("run", "sandbox", "dev"))
WRONG = [
    (change(RUN, r"^httpx==(.|\n)*?[0-9a-f]\n", ""), "lacks httpx"),
    (change(RUN, r"^setuptools==(.|\n)*?[0-9a-f]\n", ""), "lacks setuptools"),
    (change(SANDBOX, r"^pynacl==(.|\n)*?[0-9a-f]\n", ""), "lacks pynacl"),
    (change(RUN, r"^neonize==\S+", "neonize==0.7.0"), "neonize 0.7.0 is not what is asked for"),
    (change("pyproject.toml", r'"psutil>=6"', '"psutil>=99"'), "psutil .* is not what is asked for"),
    (
        change("pyproject.toml", r'"psutil>=6"', '"psutil>=6", "nothing-of-this-name"'),
        "lacks nothing-of-this",
    ),
    (change("pyproject.toml", r'^  "ruff.*\n', ""), "nothing needs ruff"),
    (change(DEV, r"^--require-hashes\n", ""), "is not as it was written"),
    (change(RUN, r"^--only-binary.*\n", ""), "is not as it was written"),
    (change(RUN, r"^psutil==(\S+).*\n(.*sha256.*\n)+", r"psutil==\1\n"), "is not as it was written: psutil"),
    (change(RUN, r"^(psutil==\S+)", r"--index-url=https://nowhere.invalid/\n\1"), "is not as it was written"),
    (change(DEV, r"^(?=attrs==)", r"psutil==7.2.2 --hash=sha256:" + "0" * 64 + "\n"), "in an earlier file"),
    (lambda folder: (folder / DEV).unlink(), "No such file"),
]


def test_the_files_agree_with_what_the_package_asks_for() -> None:
    assert check(ROOT) == (0, "the files of requirements/ are as they should be\n")


@pytest.mark.parametrize(("harm", "said"), WRONG, ids=[said for _, said in WRONG])
def test_files_that_do_not_agree_are_told(copy: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(copy)
    code, output = check(copy)
    assert code == 1
    assert re.search(said, output)


def test_the_files_name_no_place_to_look_for_packages() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text()
        assert "/" not in text.replace(".ci/hashes", "")
        assert "index" not in text


def a_wheel(folder: Path) -> Path:
    """Make a package by the name of a real one."""
    folder.mkdir()
    path = folder / "mdurl-0.1.2-py3-none-any.whl"
    info = "mdurl-0.1.2.dist-info"
    files = {
        "mdurl.py": b"HERE = True\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: mdurl\nVersion: 0.1.2\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def install(tmp_path: Path, hashes: ModuleType) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Have pip install a package from its wheel into an environment of its own, as a file of ours says."""
    wheel = a_wheel(tmp_path / "wheels")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)

    def run(
        change_hash: Callable[[str], str] = str, *, by_hash: bool = True
    ) -> subprocess.CompletedProcess[str]:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text = hashes.render("run", {"mdurl": hashes.Pin("0.1.2", frozenset([change_hash(digest)]))})
        requirements = tmp_path / "requirements.txt"
        requirements.write_text(text if by_hash else text.partition(" \\\n")[0] + "\n")
        command = [*PIP, "--python", str(venv / "bin/python"), "install", "--no-index"]
        done = subprocess.run(
            [*command, "--find-links", str(wheel.parent), "-r", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
        )
        found = subprocess.run([venv / "bin/python", "-c", "import mdurl"], capture_output=True, check=False)
        assert (found.returncode == 0) == (done.returncode == 0), done.stdout + done.stderr
        return done

    return run


def test_pip_installs_what_has_the_hash(install: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = install()
    assert done.returncode == 0, done.stderr


def test_pip_refuses_what_has_another_hash(install: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = install(lambda digest: ("1" if digest[0] == "0" else "0") + digest[1:])
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_pip_refuses_what_has_no_hash(install: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = install(by_hash=False)
    assert done.returncode == 1
    assert "hash" in done.stderr


@pytest.mark.parametrize(
    ("wheel", "python", "machine", "fits"),
    [
        ("a-1-py3-none-any.whl", (3, 11), "x86_64", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 11), "x86_64", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 12), "x86_64", False),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", (3, 11), "aarch64", False),
        ("a-1-cp38-abi3-manylinux_2_34_aarch64.whl", (3, 13), "aarch64", True),
        ("a-1-cp313-cp313t-manylinux_2_17_x86_64.whl", (3, 13), "x86_64", False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", (3, 11), "x86_64", False),
        ("a-1-cp311-cp311-macosx_11_0_arm64.whl", (3, 11), "aarch64", False),
        ("a-1-cp311-cp311-win_amd64.whl", (3, 11), "x86_64", False),
        ("a-1-py2.py3-none-manylinux1_x86_64.whl", (3, 11), "x86_64", True),
    ],
)
def test_which_wheels_are_for_what_is_promised(
    hashes: ModuleType, wheel: str, python: tuple[int, int], machine: str, fits: bool
) -> None:
    tags = hashes.parse_wheel_filename(wheel)[3]
    assert hashes.Target(python, machine).fits(tags) is fits
