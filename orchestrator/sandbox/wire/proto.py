"""The protobuf messages a server has to know, down to the fields it reads or writes.

They are built at run time from tables, so there is no generated code to keep in step with the protobuf
library. Field numbers are WhatsApp's; fields left out are skipped on reading. What people send each other
is in `orchestrator.sandbox.wire.content`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

_POOL = descriptor_pool.DescriptorPool()
_PACKAGE = "orchestrator.sandbox"
_Field = descriptor_pb2.FieldDescriptorProto

BYTES = _Field.TYPE_BYTES
STRING = _Field.TYPE_STRING
UINT = _Field.TYPE_UINT64
BOOL = _Field.TYPE_BOOL
DOUBLE = _Field.TYPE_DOUBLE

FieldType: TypeAlias = "int | str | Kind"
"""A scalar's type, a kind, or the name of a kind of the same family."""


class Many:
    """A field that may be there any number of times."""

    def __init__(self, kind: FieldType) -> None:
        self.kind = kind


Table: TypeAlias = "Mapping[str, tuple[int, FieldType | Many]]"
"""The fields of a kind: a number and a type each."""


class ProtoError(ValueError):
    """Bytes that should be a protobuf message are none."""


class Kind:
    """One kind of message: its name and its fields, each a number and a type.

    A fixed-width number is as good as absent here: nothing the server reads has one.
    """

    def __init__(self, name: str, **fields: tuple[int, FieldType | Many]) -> None:
        self.name: str = name
        if fields:
            _add_file(name, {name: fields})
        self._class = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))

    def encode(self, **fields: Any) -> bytes:  # noqa: ANN401 - the fields' types stand in the table
        """Write a message; a field that is a message itself is given as a dict of its fields."""
        message: Message = self._class(**fields)
        return message.SerializeToString(deterministic=True)

    def decode(self, data: bytes) -> Any:  # noqa: ANN401 - the class is made at run time
        """Read a message; its fields are attributes, absent ones are empty or 0.

        Raises:
            ProtoError: The bytes are no such message, or a text in it is not UTF-8.
        """
        try:
            return self._class.FromString(data)
        except DecodeError:
            raise ProtoError(f"{len(data)} bytes are no {self.name}") from None


def family(name: str, tables: Mapping[str, Table]) -> dict[str, Kind]:
    """Make kinds of message that hold each other, in circles too; return them by name."""
    _add_file(name, tables)
    return {kind: Kind(kind) for kind in tables}


def _add_file(name: str, tables: Mapping[str, Table]) -> None:
    # Optional fields know whether they are there, as in proto2, but a text must be UTF-8.
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package=_PACKAGE, syntax="editions", edition=descriptor_pb2.EDITION_2023
    )
    for kind, fields in tables.items():
        message = file.message_type.add(name=kind)
        for field, (number, given) in fields.items():
            label = _Field.LABEL_REPEATED if isinstance(given, Many) else _Field.LABEL_OPTIONAL
            of = given.kind if isinstance(given, Many) else given
            entry = message.field.add(name=field, number=number, label=label)
            if isinstance(of, int):
                entry.type = _Field.Type.ValueType(of)
                continue
            entry.type = _Field.TYPE_MESSAGE
            entry.type_name = f".{_PACKAGE}.{of if isinstance(of, str) else of.name}"
            if isinstance(of, Kind) and f"{of.name}.proto" not in file.dependency:
                file.dependency.append(f"{of.name}.proto")
    _POOL.Add(file)


# The Noise handshake and the server's certificates.
ClientHello = Kind("ClientHello", ephemeral=(1, BYTES), static=(2, BYTES), payload=(3, BYTES))
ServerHello = Kind("ServerHello", ephemeral=(1, BYTES), static=(2, BYTES), payload=(3, BYTES))
ClientFinish = Kind("ClientFinish", static=(1, BYTES), payload=(2, BYTES))
HandshakeMessage = Kind(
    "HandshakeMessage",
    client_hello=(2, ClientHello),
    server_hello=(3, ServerHello),
    client_finish=(4, ClientFinish),
)
CertDetails = Kind(
    "CertDetails",
    serial=(1, UINT),
    issuer_serial=(2, UINT),
    key=(3, BYTES),
    not_before=(4, UINT),
    not_after=(5, UINT),
)
NoiseCert = Kind("NoiseCert", details=(1, BYTES), signature=(2, BYTES))
CertChain = Kind("CertChain", leaf=(1, NoiseCert), intermediate=(2, NoiseCert))

# What a client says of itself at the end of the handshake.
AppVersion = Kind("AppVersion", primary=(1, UINT), secondary=(2, UINT), tertiary=(3, UINT))
UserAgent = Kind("UserAgent", platform=(1, UINT), app_version=(2, AppVersion))
DeviceProps = Kind("DeviceProps", os=(1, STRING), platform_type=(3, UINT))
DevicePairingData = Kind(
    "DevicePairingData",
    registration_id=(1, BYTES),
    key_type=(2, BYTES),
    identity=(3, BYTES),
    signed_prekey_id=(4, BYTES),
    signed_prekey=(5, BYTES),
    signed_prekey_signature=(6, BYTES),
    device_props=(8, BYTES),
)
ClientPayload = Kind(
    "ClientPayload",
    username=(1, UINT),
    passive=(3, BOOL),
    user_agent=(5, UserAgent),
    device=(18, UINT),
    pairing_data=(19, DevicePairingData),
)

# The identity of a linked device, signed by the account.
DeviceIdentity = Kind(
    "DeviceIdentity",
    raw_id=(1, UINT),
    timestamp=(2, UINT),
    key_index=(3, UINT),
    account_type=(4, UINT),
    device_type=(5, UINT),
)
SignedDeviceIdentity = Kind(
    "SignedDeviceIdentity",
    details=(1, BYTES),
    account_signature_key=(2, BYTES),
    account_signature=(3, BYTES),
    device_signature=(4, BYTES),
)
SignedDeviceIdentityHMAC = Kind("SignedDeviceIdentityHMAC", details=(1, BYTES), hmac=(2, BYTES))

# Signal's messages.
SignalMessage = Kind(
    "SignalMessage",
    ratchet_key=(1, BYTES),
    counter=(2, UINT),
    previous_counter=(3, UINT),
    ciphertext=(4, BYTES),
)
PreKeySignalMessage = Kind(
    "PreKeySignalMessage",
    prekey_id=(1, UINT),
    base_key=(2, BYTES),
    identity_key=(3, BYTES),
    message=(4, BYTES),
    registration_id=(5, UINT),
    signed_prekey_id=(6, UINT),
)
SenderKeyDistribution = Kind(
    "SenderKeyDistribution",
    key_id=(1, UINT),
    iteration=(2, UINT),
    chain_key=(3, BYTES),
    signing_key=(4, BYTES),
)
SenderKeyMessage = Kind("SenderKeyMessage", key_id=(1, UINT), iteration=(2, UINT), ciphertext=(3, BYTES))
