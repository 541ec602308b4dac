"""Which certificates Go reads: each once, if it trusts the same ones then."""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.system import certificates
from orchestrator.system.certificates import complete
from orchestrator.worker.library import integrity

NOWHERE = {b"SSL_CERT_DIR": b"/nonexistent"}


def once(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return the variables with which Go reads each certificate once, if there are any."""
    found = complete(environ)
    return {} if found is None else found.variables()


def certificate(number: int, *, wide: bool = False) -> str:
    text = f"MIIB{number:060d}=="
    body = "\n".join(text[at : at + 16] for at in range(0, len(text), 16)) if wide else text
    return f"# number {number}\n-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


class System:
    """A machine's certificates."""

    def __init__(self, top: Path) -> None:
        self.bundle, self.folder, self.other = top / "bundle.pem", top / "certs", top / "more"
        self.folder.mkdir()
        self.bundle.write_text("".join(map(certificate, range(5))))
        for number in range(5):
            (self.folder / f"{number}.pem").write_text(certificate(number))


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    made = System(tmp_path)
    monkeypatch.setattr(certificates, "FILES", (str(tmp_path / "none"), str(made.bundle)))
    monkeypatch.setattr(certificates, "_FOLDERS", (str(made.folder), str(made.other)))
    return made


@pytest.mark.usefixtures("system")
def test_folders_with_the_same_certificates_are_not_read() -> None:
    assert once({}) == NOWHERE
    assert once({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) == NOWHERE, "as if there were none"


@pytest.mark.parametrize("there", ["folder", "other"])
def test_folders_with_another_certificate_are_read(there: str, system: System) -> None:
    folder: Path = getattr(system, there)
    folder.mkdir(exist_ok=True)
    (folder / "company.crt").write_text(certificate(1) + certificate(77))
    assert once({}) == {}
    system.bundle.write_text(system.bundle.read_text() + certificate(77, wide=True))
    assert once({}) == NOWHERE, "however its lines are broken"


def test_folders_that_an_operator_names_are_read_if_they_have_more(system: System, tmp_path: Path) -> None:
    (system.folder / "not looked at.pem").write_text(certificate(66))
    one, two = tmp_path / "one", tmp_path / "two"
    for number, folder in enumerate((one, two)):
        folder.mkdir()
        (folder / "any name").write_text(certificate(number))
    assert once({"SSL_CERT_DIR": f"{one}:{two}:{tmp_path / 'none'}"}) == NOWHERE
    (two / "another").write_text(certificate(77))
    assert once({"SSL_CERT_DIR": f"{one}:{two}"}) == {}
    assert once({"SSL_CERT_DIR": str(one)}) == NOWHERE


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("named", ["sandbox.pem", "missing.pem", "empty.pem", "certs"])
def test_a_file_that_an_operator_names_must_have_them_all(named: str, tmp_path: Path) -> None:
    (tmp_path / "sandbox.pem").write_text(certificate(1))
    (tmp_path / "empty.pem").touch()
    assert once({"SSL_CERT_FILE": str(tmp_path / named)}) == {}


def test_a_file_that_an_operator_names_and_that_has_them_all_will_do(system: System, tmp_path: Path) -> None:
    more = tmp_path / "more.pem"
    more.write_text(certificate(9) + system.bundle.read_text())
    assert once({"SSL_CERT_FILE": str(more)}) == NOWHERE


def test_without_a_file_folders_are_read(system: System) -> None:
    system.bundle.unlink()
    assert once({}) == {}


def test_without_folders_there_is_nothing_to_read(system: System) -> None:
    for path in system.folder.iterdir():
        path.unlink()
    system.folder.rmdir()
    assert once({}) == NOWHERE


@pytest.mark.parametrize(
    "what", ["link", "loop", "chain", "folder", "pipe", "text", "trusted", "secret", "bytes"]
)
def test_what_is_no_certificate_is_passed_over(what: str, system: System) -> None:
    path = system.folder / "other"
    match what:
        case "link":
            path.symlink_to("1.pem")
        case "loop":
            path.symlink_to("other")
        case "chain":
            for number in range(1200):
                (system.folder / f"link{number}").symlink_to(f"link{number + 1}")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "text":
            path.write_bytes(bytes(range(256)) * 10)
        case "trusted":  # of OpenSSL, which Go does not read
            path.write_text(certificate(88).replace(" CERT", " TRUSTED CERT"))
        case "bytes":
            Path(os.fsdecode(bytes(system.folder) + b"/\xff\n")).write_text(certificate(1))
        case "secret":
            path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert once({}) == NOWHERE


@pytest.mark.parametrize(
    ("bundle", "is_read"),
    [
        (certificate(1) + certificate(2), True),
        ((certificate(1) + certificate(2)).replace("\n", "\r\n"), True),
        (certificate(1) + certificate(2, wide=True) + "the end", True),
        (certificate(1).rstrip() + certificate(2).partition("\n")[2], False),
        ((certificate(1) + certificate(2)).replace("-----\nMIIB", "-----\nA: header\n\nMIIB"), False),
        ((certificate(1) + certificate(2)).replace("-----BEGIN", " -----BEGIN"), False),
        ((certificate(1) + certificate(2)).replace("-----BEGIN CERT", "-----BEGIN X509 CERT"), False),
    ],
    ids=["plain", "windows", "with more", "one line", "header", "indented", "other name"],
)
def test_the_file_has_what_go_takes_for_certificates(bundle: str, is_read: bool, system: System) -> None:
    """Two certificates on one line are none to Go, and programs that join files leave such lines."""
    system.bundle.write_text(bundle, newline="")
    for number in (0, 3, 4):
        (system.folder / f"{number}.pem").unlink()
    assert bool(once({})) == is_read


def test_a_file_that_changes_is_not_relied_on(system: System) -> None:
    found = complete({})
    assert found is not None
    assert found.variables() == NOWHERE
    kept = system.bundle.read_bytes()
    system.bundle.write_bytes(kept[:100])
    assert found.variables() == {}
    system.bundle.unlink()
    assert found.variables() == {}
    system.bundle.write_bytes(kept)
    assert found.variables() == {}, "another file with the same bytes is looked through first"


@pytest.mark.parametrize("what", ["more", "less", "link", "new folder", "no folder", "earlier file"])
def test_a_folder_that_changes_is_read(what: str, system: System, tmp_path: Path) -> None:
    found = complete({})
    assert found is not None
    assert found.variables() == NOWHERE
    match what:
        case "more":
            (system.folder / "company.pem").write_text(certificate(77))
        case "less":
            (system.folder / "1.pem").unlink()
        case "link":  # as Kubernetes shows another version of a Secret
            (tmp_path / "version").mkdir()
            system.folder.rename(tmp_path / "was")
            system.folder.symlink_to(tmp_path / "version")
        case "new folder":
            system.other.mkdir()
        case "no folder":
            system.folder.rename(tmp_path / "away")
        case "earlier file":  # Go takes this one in the place of the other
            (tmp_path / "none").write_text(certificate(77))
    assert found.variables() == {}


@pytest.mark.parametrize("where", ["folder", "file", "bundle", "first"])
@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_what_cannot_be_read_for_a_moment_may_be_there(
    where: str, error: int, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go may be able to read that a moment later: an authority of the company must not be missing then."""
    fails = {
        "folder": system.folder,
        "file": system.folder / "1.pem",
        "bundle": system.bundle,
        "first": tmp_path / "none",
    }[where]

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *rest: Any) -> Any:  # noqa: ANN401
            if path == str(fails):
                raise OSError(error, os.strerror(error))
            return real(path, *rest)

        return call

    monkeypatch.setattr(os, "open", failing(os.open))
    monkeypatch.setattr(os, "listdir", failing(os.listdir))
    assert once({}) == {}


def test_a_read_that_fails_is_no_empty_file(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    real, broken = os.read, (system.folder / "3.pem").stat().st_ino

    def read(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_ino == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", read)
    assert once({}) == {}


def test_the_library_is_of_the_go_whose_source_was_read() -> None:
    """Another version may look elsewhere, or read other certificates: read its crypto/x509 first."""
    _, library, _ = integrity.library()
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        at = data.find(b"\xff Go buildinf:")
        about = data[at : at + 64]
    found = re.search(rb"go(1\.\d+)", about)
    assert found is not None
    assert found[1].decode() == certificates.GO


@pytest.mark.parametrize("how", ["pipe", "folder", "loop", "none"])
def test_a_file_that_is_none_is_passed_over_as_go_does(
    how: str, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = system.folder.parent / "strange"
    match how:
        case "pipe":
            os.mkfifo(strange)
        case "folder":
            strange.mkdir()
        case "loop":
            strange.symlink_to(strange)
    monkeypatch.setattr(certificates, "FILES", (str(strange), str(system.bundle)))
    assert once({}) == NOWHERE
    assert once({"SSL_CERT_FILE": str(strange)}) == {}


def test_no_folder_of_no_name_is_looked_into(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.pem").write_text(certificate(77))
    monkeypatch.chdir(here)
    assert once({"SSL_CERT_DIR": f":{system.folder}::"}) == NOWHERE


def test_what_is_too_large_to_look_at_is_left_to_go(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_MOST_BYTES", 700)
    assert once({}) == NOWHERE
    (system.folder / "large").write_text(certificate(1) * 10)
    assert once({}) == {}
    system.bundle.write_text(system.bundle.read_text() * 10)
    assert once({}) == {}, "two that are too large are not the same"


@pytest.mark.usefixtures("system")
def test_a_folder_with_too_many_files_is_left_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_MOST_FILES", 4)
    assert once({}) == {}
