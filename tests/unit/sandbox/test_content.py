"""The numbers of the fields in what phones send are WhatsApp's: neonize's own tables have them, too."""

import importlib
import importlib.util
import sys
import types
from typing import Any

import pytest

from orchestrator.sandbox.wire import content
from orchestrator.sandbox.wire.proto import Kind

SHORT = {
    "mime": "mimetype",
    "sha256": "filesha256",
    "blob_sha256": "fileencsha256",
    "length": "filelength",
    "key": "mediakey",
    "sender_key": "senderkeydistribution",
    "destination": "destinationjid",
    "distribution": "axolotlsenderkeydistribution",
}
"""Names that the tables shorten."""
E2E, VNAME = "waE2E.WAWebProtobufsE2E_pb2", "waVnameCert.WAWebProtobufsVnameCert_pb2"


def neonize_module(name: str) -> Any:  # noqa: ANN401
    """Import a module of neonize's protobuf without the package around it, which loads Go's library."""
    if "neonize" not in sys.modules:
        spec = importlib.util.find_spec("neonize")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        package = types.ModuleType("neonize")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["neonize"] = package
        try:
            return importlib.import_module(f"neonize.proto.{name}")
        finally:
            del sys.modules["neonize"]
    return importlib.import_module(f"neonize.proto.{name}")


def plain(name: str) -> str:
    return name.replace("_", "").lower().replace("message", "")


def differences(ours: Any, theirs: Any, seen: set[str]) -> list[str]:  # noqa: ANN401
    """Compare two descriptors, and what they hold, field by field."""
    if ours.name in seen:
        return []
    seen.add(ours.name)
    wrong = []
    for field in ours.fields:
        place = f"{ours.name}.{field.name} = {field.number}"
        other = theirs.fields_by_number.get(field.number)
        if other is None:
            wrong.append(f"{place}: {theirs.name} has no such number")
            continue
        if plain(other.name) not in (plain(field.name), SHORT.get(field.name)):
            wrong.append(f"{place}: is {other.name}")
        if field.is_repeated != other.is_repeated:
            wrong.append(f"{place}: repeated")
        if field.message_type is not None and other.message_type is not None:
            wrong += differences(field.message_type, other.message_type, seen)
        elif wire_type(field) != wire_type(other):
            wrong.append(f"{place}: another type than {other.name}")
    return wrong


def wire_type(field: Any) -> str:  # noqa: ANN401
    """Name what stands for the field on the wire, and how its bytes are read."""
    kinds = {1: "double", 8: "number", 9: "text", 11: "bytes", 12: "bytes"}
    return kinds.get(field.type, "number")


@pytest.mark.parametrize(
    ("kind", "module", "name"),
    [
        (content.Message, E2E, "Message"),
        (content.DeviceSent, E2E, "Message"),
        (content.PollVoteMessage, E2E, "PollVoteMessage"),
        (content.HistorySync, "waHistorySync.WAWebProtobufsHistorySync_pb2", "HistorySync"),
        (content.VerifiedName, VNAME, "VerifiedNameCertificate"),
        (content.VerifiedNameDetails, VNAME, "VerifiedNameCertificate.Details"),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)  # fmt: skip
def test_every_field_has_the_number_and_type_that_neonize_knows(kind: Kind, module: str, name: str) -> None:
    theirs: Any = neonize_module(module)
    for part in name.split("."):
        theirs = getattr(theirs, part)

    assert differences(kind.decode(b"").DESCRIPTOR, theirs.DESCRIPTOR, set()) == []


def test_a_field_that_nobody_knows_outlives_reading_and_writing() -> None:
    unknown = bytes.fromhex("8a fa 01 02 68 69")  # field 4001, "hi"
    message = content.Message.decode(content.Message.encode(conversation="x") + unknown)

    assert unknown in message.SerializeToString()
