"""The protobuf messages a server has to know, down to the fields it reads or writes.

They are built at run time from the table below, so there is no generated code to keep in step
with the protobuf library. Field numbers are WhatsApp's; fields left out are skipped on reading.
"""

from __future__ import annotations

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

FieldType: TypeAlias = "int | Kind"


class ProtoError(ValueError):
    """Bytes that should be a protobuf message are none."""


class Kind:
    """One kind of message: its name and its fields, each a number and a type.

    A fixed-width number is as good as absent here: nothing the server reads has one.
    """

    def __init__(self, name: str, **fields: tuple[int, FieldType]) -> None:
        self.name: str = name
        # Optional fields know whether they are there, as in proto2, but a text must be UTF-8.
        file = descriptor_pb2.FileDescriptorProto(
            name=f"{name}.proto", package=_PACKAGE, syntax="editions", edition=descriptor_pb2.EDITION_2023
        )
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            entry = message.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
            if isinstance(kind, Kind):
                entry.type = _Field.TYPE_MESSAGE
                entry.type_name = f".{_PACKAGE}.{kind.name}"
                if f"{kind.name}.proto" not in file.dependency:
                    file.dependency.append(f"{kind.name}.proto")
            else:
                entry.type = _Field.Type.ValueType(kind)
        _POOL.Add(file)
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

# The plain text inside them.
SenderKeyDistributionMessage = Kind(
    "SenderKeyDistributionMessage", group_id=(1, STRING), distribution=(2, BYTES)
)
ExtendedText = Kind("ExtendedText", text=(1, STRING))


def _media(name: str, **fields: tuple[int, FieldType]) -> Kind:
    return Kind(name, url=(1, STRING), **fields)


ImageMessage = _media(
    "ImageMessage",
    mime=(2, STRING),
    caption=(3, STRING),
    sha256=(4, BYTES),
    length=(5, UINT),
    key=(8, BYTES),
    blob_sha256=(9, BYTES),
    direct_path=(11, STRING),
)
DocumentMessage = _media(
    "DocumentMessage",
    mime=(2, STRING),
    sha256=(4, BYTES),
    length=(5, UINT),
    key=(7, BYTES),
    file_name=(8, STRING),
    blob_sha256=(9, BYTES),
    direct_path=(10, STRING),
    caption=(20, STRING),
)
AudioMessage = _media(
    "AudioMessage",
    mime=(2, STRING),
    sha256=(3, BYTES),
    length=(4, UINT),
    key=(7, BYTES),
    blob_sha256=(8, BYTES),
    direct_path=(9, STRING),
)
VideoMessage = _media(
    "VideoMessage",
    mime=(2, STRING),
    sha256=(3, BYTES),
    length=(4, UINT),
    key=(6, BYTES),
    caption=(7, STRING),
    blob_sha256=(11, BYTES),
    direct_path=(13, STRING),
)
StickerMessage = _media(
    "StickerMessage",
    sha256=(2, BYTES),
    blob_sha256=(3, BYTES),
    key=(4, BYTES),
    mime=(5, STRING),
    direct_path=(8, STRING),
    length=(9, UINT),
)
_PLAIN: dict[str, tuple[int, FieldType]] = {
    "conversation": (1, STRING),
    "sender_key": (2, SenderKeyDistributionMessage),
    "image": (3, ImageMessage),
    "extended_text": (6, ExtendedText),
    "document": (7, DocumentMessage),
    "audio": (8, AudioMessage),
    "video": (9, VideoMessage),
    "sticker": (26, StickerMessage),
}
InnerMessage = Kind("InnerMessage", **_PLAIN)
DeviceSentMessage = Kind("DeviceSentMessage", destination=(1, STRING), message=(2, InnerMessage))
PlainMessage = Kind("PlainMessage", **_PLAIN, device_sent=(31, DeviceSentMessage))
