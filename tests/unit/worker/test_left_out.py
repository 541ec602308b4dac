"""Which packages neonize imports and an account's process never uses, read in neonize's sources.

When neonize is raised, these tests say what a new version does with the packages. Only then may its number go
into `left_out.VERSIONS`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator.worker.library import left_out, package

NEONIZE = package.package()
OURS = Path(left_out.__file__).parent
SOURCES = [
    path
    for path in sorted(NEONIZE.rglob("*.py"))
    if not {"proto", "aioze", "ext", "download.py"} & set(path.relative_to(NEONIZE).parts)
]
"""neonize without the definitions of messages, which import protobuf only, without what nothing of ours
imports, and without the module for downloads, which `package.forbid_download` replaces."""
USES = {
    "client.NewClient._generate_link_preview": {"link_preview", "magic"},
    "client.NewClient._upload_sticker": {"magic"},
    "client.NewClient.build_audio_message": {"magic"},
    "client.NewClient.build_document_message": {"magic"},
    "client.NewClient.build_image_message": {"magic"},
    "client.NewClient.build_sticker_message": {"magic"},
    "client.NewClient.build_video_message": {"magic"},
    "client.NewClient.send_album": {"magic"},
    "events.Event.__onqr": {"segno"},
    "utils.__init__.gen_vcard": {"PhoneNumberFormat", "format_number", "parse"},
    "utils.enum.MediaType.from_magic": {"magic"},
    "utils.iofile.get_bytes_from_name_or_url": {"requests"},
    "utils.iofile.get_bytes_from_name_or_url_async": {"httpx"},
    "utils.sticker.aio_convert_to_webp": {"magic"},
    "utils.sticker.convert_to_webp": {"magic"},
}
"""Where neonize uses the packages."""
REACHED = {
    "NewClient._generate_link_preview": "send_message previews links of texts; `Client.send` refuses texts",
    "get_bytes_from_name_or_url": "the picture of such a preview",
    "Event.__onqr": "the callback for codes of a client that has none; `Client` sets one at once",
    "MediaType.from_magic": "upload guesses a type that it is not given; `Client.upload` gives one",
}
"""What a method that we call could call in turn, and why that does not happen."""


def used(tree: ast.AST, names: set[str], place: str) -> Iterator[tuple[str, str]]:
    """Yield where a name is used, by the function around the use, and the name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
            yield from used(node, names - arguments, f"{place}.{node.name}")
        elif isinstance(node, ast.ClassDef):
            yield from used(node, names, f"{place}.{node.name}")
        else:
            if isinstance(node, ast.Name) and node.id in names:
                yield place, node.id
            yield from used(node, names, place)


def taken(tree: ast.AST) -> Iterator[str]:
    """Yield the names under which a module has the packages, or what it takes out of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                first, _, rest = one.name.partition(".")
                if first in left_out.PACKAGES:
                    assert not rest, f"{one.name} is no stand-in"
                    yield one.asname or first
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            first, _, rest = node.module.partition(".")
            if first in left_out.PACKAGES:
                assert not rest, f"{node.module} is no stand-in"
                assert {one.name for one in node.names} <= left_out.PACKAGES[first]
                yield from (one.asname or one.name for one in node.names)


def test_the_installed_version_is_known() -> None:
    assert metadata.version("neonize") in left_out.VERSIONS, "read what it uses, then add it"


def test_neonize_uses_the_packages_where_it_is_known_to() -> None:
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        module = ".".join(path.relative_to(NEONIZE).with_suffix("").parts)
        for place, name in used(tree, set(taken(tree)), module):
            found.setdefault(place, set()).add(name)
    assert found == USES


def test_what_we_call_is_none_of_it() -> None:
    called: set[str] = set()
    for name in ("client.py", "groups.py"):
        for node in ast.walk(ast.parse((OURS / name).read_text())):
            if isinstance(node, ast.Attribute):
                called.add(node.attr)
    methods = {place.rpartition(".")[2] for place in USES}
    assert {"send_message", "upload", "connect", "PairPhone"} <= called
    assert not called & methods


def test_what_we_call_leads_to_none_of_it_but_where_we_know_why_not() -> None:
    """By the names of what methods call, whatever they are called on."""
    calls: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls.setdefault(node.name, set()).update(
                    one.attr if isinstance(one, ast.Attribute) else one.id
                    for one in ast.walk(node)
                    if isinstance(one, ast.Attribute | ast.Name)
                )
    todo = {"__init__"} | {
        node.attr
        for name in ("client.py", "groups.py")
        for node in ast.walk(ast.parse((OURS / name).read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "_client"
    }
    reached: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo |= calls.get(name, set())
    methods = {place.rpartition(".")[2] for place in USES}
    assert reached & methods == {name.rpartition(".")[2] for name in REACHED}


# What the stand-ins do. They would stay in this process, so another one is asked.


def python(program: str, path: Path | None = None) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"from orchestrator.worker.library import left_out\n{program}"],
        env={"PYTHONPATH": f"{path}:{OURS.parents[2]}" if path else str(OURS.parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("use", "name"),
    [
        ("import httpx; httpx.get('https://example.org')", "httpx.get"),
        ("import requests; hasattr(requests, 'get')", "requests.get"),
        ("from segno import make_qr", "segno.make_qr"),
        ("import magic; magic.from_buffer(b'')", "magic.from_buffer"),
        (
            "from linkpreview import link_preview; link_preview('https://example.org')",
            "linkpreview.link_preview",
        ),
        ("from phonenumbers import parse; parse('+1')", "phonenumbers.parse"),
        ("from phonenumbers import PhoneNumberFormat as F; F.E164", "phonenumbers.PhoneNumberFormat.E164"),
    ],
)
def test_what_is_left_out_says_so_when_somebody_uses_it(use: str, name: str) -> None:
    program = f"""
left_out.leave_out({min(left_out.VERSIONS)!r})
try:
    {use}
except left_out.LeftOutError as error:
    print(error)
"""
    logged, said = python(f"import logging, sys\nlogging.basicConfig(stream=sys.stdout)\n{program}")
    assert logged == f"ERROR:orchestrator.worker.library.left_out:{said}"
    assert said.startswith(f"{name} was used, which is left out of accounts' processes")


def test_a_part_of_a_package_that_is_left_out_cannot_be_imported() -> None:
    program = f"""
left_out.leave_out({min(left_out.VERSIONS)!r})
try:
    import requests.exceptions
except ImportError as error:
    print(error)
"""
    assert python(program) == ["No module named 'requests.exceptions'; 'requests' is not a package"]


def test_an_unknown_version_gets_the_real_packages_as_far_as_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "magic.py").write_text("raise ImportError('failed to find libmagic')\n")
    (tmp_path / "segno.py").write_text("raise SystemExit('bye')\n")
    (tmp_path / "phonenumbers.py").write_text("parse = print\n")
    program = """
import sys
left_out.leave_out("0.5.9999")
print([name for name in left_out.PACKAGES if isinstance(sys.modules[name], left_out.LeftOut)])
from phonenumbers import parse
parse("real")
"""
    assert python(program, tmp_path) == ["['magic', 'segno']", "real"]


def test_what_is_there_already_stays() -> None:
    program = f"""
import segno
left_out.leave_out({min(left_out.VERSIONS)!r})
import segno as again
print(again is segno, callable(segno.make_qr))
"""
    assert python(program) == ["True True"]
