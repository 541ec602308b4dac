from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import example, given, strategies

from orchestrator.sandbox.crypto import keys, linking
from orchestrator.sandbox.crypto.keys import CryptoError, KeyPair
from orchestrator.sandbox.crypto.linking import LinkingError, QRText, QRTextError, SignedIdentity
from orchestrator.sandbox.crypto.xeddsa import sign, verify
from orchestrator.sandbox.wire.proto import SignedDeviceIdentity, SignedDeviceIdentityHMAC

ACCOUNT, DEVICE, STRANGER = (KeyPair.generate() for _ in range(3))
SECRET = bytes(range(32))
NOISE, IDENTITY = 32 * b"\x01", 32 * b"\x02"
ADDRESS = "https://wa.me/settings/linked_devices#"


def encoded(*parts: bytes) -> str:
    return ",".join(base64.b64encode(part).decode() for part in parts)


TEXT = f"2@abc+/=,{encoded(NOISE, IDENTITY, SECRET)},6"


@pytest.mark.parametrize("text", [TEXT, ADDRESS + TEXT, f"  {ADDRESS}{TEXT}\n"])
def test_a_qr_text_is_read(text: str) -> None:
    assert QRText.parse(text) == QRText("2@abc+/=", NOISE, IDENTITY, SECRET, "6")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "5 parts"),
        ("https://example.org/", "5 parts"),
        (f"ref,{encoded(NOISE, IDENTITY, SECRET)}", "has 4"),
        (f"{TEXT},7", "has 6"),
        (f",{encoded(NOISE, IDENTITY, SECRET)},6", "empty"),
        (f"ref,{encoded(NOISE, IDENTITY, SECRET)},", "empty"),
        (f"ref,{encoded(NOISE[1:], IDENTITY, SECRET)},6", "Noise key .* 31 bytes"),
        (f"ref,{encoded(NOISE, IDENTITY + b'x', SECRET)},6", "identity key .* 33 bytes"),
        (f"ref,{encoded(NOISE, IDENTITY)},s3cr3t!,6", "secret .* no base64"),
        (f"ref,{encoded(NOISE, IDENTITY)},sécrèt,6", "secret .* no base64"),
    ],
)
def test_what_is_wrong_with_a_qr_text_is_said(text: str, complaint: str) -> None:
    with pytest.raises(QRTextError, match=complaint):
        QRText.parse(text)


@given(strategies.lists(strategies.text(alphabet="01xyzé+/=#@", min_size=12)).map(",".join))
@example(f"ref,{encoded(NOISE, IDENTITY, SECRET + b'x')},6")
@example(f"ref,{encoded(NOISE, IDENTITY)},6,{encoded(SECRET)}")
def test_no_part_of_a_qr_text_is_repeated_in_an_error(text: str) -> None:
    with pytest.raises(QRTextError) as caught:
        QRText.parse(text)
    assert caught.value.__cause__ is None
    assert not any(part in str(caught.value) for part in text.split(",") if len(part) > 3)


def test_a_qr_text_does_not_show_itself() -> None:
    assert repr(QRText.parse(TEXT)) == "QRText(client_type='6')"


def identity() -> SignedIdentity:
    return linking.sign_identity(ACCOUNT, DEVICE.public, raw_id=7, timestamp=1_700_000_000, key_index=3)


def test_an_identity_is_signed_by_the_account() -> None:
    made = identity()
    # Field 1: 7, field 2: the time, field 3: 3, fields 4 and 5: 0, all written out.
    assert made.details.hex() == "08071080e2cfaa061803" + "20002800"
    assert verify(ACCOUNT.public, b"\x06\x00" + made.details + DEVICE.public, made.signature)
    assert made.encoded == (
        b"\x0a\x0e" + made.details + b"\x12\x20" + ACCOUNT.public + b"\x1a\x40" + made.signature
    )
    seal = hmac.digest(SECRET, made.encoded, "sha256")
    assert made.sealed(SECRET) == b"\x0a" + bytes([len(made.encoded)]) + made.encoded + b"\x12\x20" + seal


def test_the_device_signs_back() -> None:
    made = identity()
    answer = linking.answer_identity(made.sealed(SECRET), SECRET, DEVICE)
    fields = SignedDeviceIdentity.decode(answer)
    assert fields.account_signature_key == b""
    covered = b"\x06\x01" + made.details + DEVICE.public + ACCOUNT.public
    assert verify(DEVICE.public, covered, fields.device_signature)
    linking.check_device_signature(made, DEVICE.public, answer)


def test_the_device_refuses_another_secret_account_or_device() -> None:
    sealed = identity().sealed(SECRET)
    with pytest.raises(CryptoError, match="another secret"):
        linking.answer_identity(sealed, bytes(32), DEVICE)
    with pytest.raises(CryptoError, match="by the account"):
        linking.answer_identity(sealed, SECRET, STRANGER)
    forged = SignedIdentity(identity().details, STRANGER.public, identity().signature)
    with pytest.raises(CryptoError, match="by the account"):
        linking.answer_identity(forged.sealed(SECRET), SECRET, DEVICE)


@pytest.mark.parametrize("sealed", [b"", b"\xff", SignedDeviceIdentityHMAC.encode(details=b"\xff")])
def test_the_device_refuses_garbage(sealed: bytes) -> None:
    with pytest.raises(CryptoError):
        linking.answer_identity(sealed, SECRET, DEVICE)


def test_the_phone_refuses_an_answer_that_is_not_the_devices() -> None:
    made = identity()
    answer = linking.answer_identity(made.sealed(SECRET), SECRET, DEVICE)
    with pytest.raises(CryptoError, match="by the device"):
        linking.check_device_signature(made, STRANGER.public, answer)
    with pytest.raises(CryptoError, match="another identity"):
        linking.check_device_signature(identity(), DEVICE.public, answer)
    unsigned = SignedDeviceIdentity.encode(details=made.details, account_signature=made.signature)
    with pytest.raises(CryptoError, match="by the device"):
        linking.check_device_signature(made, DEVICE.public, unsigned)
    wrong = SignedDeviceIdentity.encode(
        details=made.details,
        account_signature=made.signature,
        device_signature=sign(DEVICE, b"\x06\x00" + made.details + DEVICE.public + ACCOUNT.public),
    )
    with pytest.raises(CryptoError, match="by the device"):
        linking.check_device_signature(made, DEVICE.public, wrong)
    with pytest.raises(CryptoError):
        linking.check_device_signature(made, DEVICE.public, b"\xff")


@pytest.mark.parametrize("text", ["ABCD2345", "ABCD-2345", "abcd-2345", " aBcD2345\n", "AbCd-2345"])
def test_a_code_may_be_written_in_several_ways(text: str) -> None:
    assert linking.normalise_code(text) == "ABCD2345"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has 0"),
        ("ABCD234", "has 7"),
        ("ABCD-23456", "has 9"),
        ("ABC-D2345", "has 9"),
        ("ABCD--2345", "has 9"),
        ("ABCD 2345", "has 9"),
        *((f"ABCD234{wrong}", "only characters") for wrong in "0OIUoiu!-"),
    ],
)
def test_what_is_wrong_with_a_code_is_said_without_the_code(text: str, complaint: str) -> None:
    with pytest.raises(LinkingError, match=complaint) as caught:
        linking.normalise_code(text)
    assert not text[:4] or text[:4] not in str(caught.value).replace(linking.CODE_ALPHABET, "")


def test_codes_are_made_up_from_their_alphabet() -> None:
    assert len(set(linking.CODE_ALPHABET)) == 32
    codes = {linking.make_code() for _ in range(50)}
    assert len(codes) == 50
    assert all(linking.normalise_code(code) == code for code in codes)


def test_a_wrapped_key_comes_back_with_the_code_alone() -> None:
    wrapped = linking.wrap(DEVICE.public, "ABCD2345")
    assert len(wrapped) == 80
    assert linking.unwrap(wrapped, "ABCD2345") == DEVICE.public
    assert linking.unwrap(wrapped, "ABCD2346") != DEVICE.public
    assert linking.wrap(DEVICE.public, "ABCD2345") != wrapped


def test_a_key_is_wrapped_as_it_always_was() -> None:
    # No standard has a vector for this; computed once with OpenSSL's PBKDF2 and AES-256-CTR
    # (openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt iter:131072 …, openssl enc -aes-256-ctr).
    wrapped = bytes(range(48)) + bytes.fromhex(
        "8965496085f2743f40fe2914ad22eccb7af2a60eec01bd79e54912157e28df1c"
    )
    assert linking.unwrap(wrapped, "ABCD2345") == bytes(range(100, 132))


@pytest.mark.parametrize("size", [0, 79, 81])
def test_a_wrapped_key_has_one_size(size: int) -> None:
    with pytest.raises(CryptoError, match="80 bytes"):
        linking.unwrap(bytes(size), "ABCD2345")


def test_both_ends_of_the_code_derive_one_secret() -> None:
    code, ephemeral = linking.make_code(), KeyPair.generate()
    hello = linking.primary_hello(linking.wrap(ephemeral.public, code), code)
    bundle, secret = linking.companion_finish(ephemeral, DEVICE, code, hello.wrapped, ACCOUNT.public)
    assert len(bundle) == 156
    assert len(secret) == 32
    assert linking.open_bundle(hello, ACCOUNT, DEVICE.public, bundle) == secret

    for position in (0, 31, 32, 43, 44, 155):
        changed = bytearray(bundle)
        changed[position] ^= 1
        with pytest.raises(CryptoError, match="does not open"):
            linking.open_bundle(hello, ACCOUNT, DEVICE.public, bytes(changed))
    for cut in (0, 40, 44, 155):
        with pytest.raises(CryptoError, match="does not open"):
            linking.open_bundle(hello, ACCOUNT, DEVICE.public, bundle[:cut])
    with pytest.raises(CryptoError, match="other identities"):
        linking.open_bundle(hello, ACCOUNT, STRANGER.public, bundle)
    with pytest.raises(CryptoError, match="other identities"):
        linking.open_bundle(hello, STRANGER, DEVICE.public, bundle)


def test_the_phone_opens_a_bundle_put_together_by_hand() -> None:
    ephemeral, salt, nonce, random = KeyPair.generate(), 32 * b"s", 12 * b"n", 32 * b"r"
    hello = linking.primary_hello(linking.wrap(ephemeral.public, "ABCD2345"), "ABCD2345")
    shared = ephemeral.agree(linking.unwrap(hello.wrapped, "ABCD2345"))
    key = keys.hkdf(shared, salt=salt, info=b"link_code_pairing_key_bundle_encryption_key", length=32)
    bundle = salt + nonce + keys.gcm_encrypt(key, nonce, DEVICE.public + ACCOUNT.public + random)
    secret = keys.hkdf(shared + DEVICE.agree(ACCOUNT.public) + random, info=b"adv_secret", length=32)
    assert linking.open_bundle(hello, ACCOUNT, DEVICE.public, bundle) == secret


def test_a_wrong_code_is_noticed_when_the_bundle_is_opened_and_the_right_one_still_works() -> None:
    ephemeral = KeyPair.generate()
    wrapped = linking.wrap(ephemeral.public, "ABCD2345")
    for code in ("ABCD2346", "ABCD2345"):
        hello = linking.primary_hello(wrapped, code)
        bundle, secret = linking.companion_finish(
            ephemeral, DEVICE, "ABCD2345", hello.wrapped, ACCOUNT.public
        )
        if code == "ABCD2345":
            assert linking.open_bundle(hello, ACCOUNT, DEVICE.public, bundle) == secret
        else:
            with pytest.raises(CryptoError, match="code was wrong"):
                linking.open_bundle(hello, ACCOUNT, DEVICE.public, bundle)
