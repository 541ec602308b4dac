from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings, strategies

from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.sender_keys import MAX_KEYS, ReceivedSenderKeys, SenderKey
from orchestrator.sandbox.crypto.signal import SignalError
from orchestrator.sandbox.crypto.xeddsa import sign, verify
from orchestrator.sandbox.wire.proto import SenderKeyDistribution, SenderKeyMessage

hexed = bytes.fromhex


def received(*keys: SenderKey) -> ReceivedSenderKeys:
    made = ReceivedSenderKeys()
    for key in keys:
        made.process(key.distribution())
    return made


def frozen(keys: ReceivedSenderKeys) -> str:
    return json.dumps(keys.to_state())


def restarted(keys: ReceivedSenderKeys) -> ReceivedSenderKeys:
    return ReceivedSenderKeys.from_state(json.loads(frozen(keys)))


def refuses(keys: ReceivedSenderKeys, data: bytes, match: str | None = None) -> None:
    before = frozen(keys)
    with pytest.raises(SignalError, match=match):
        keys.decrypt(data)
    assert frozen(keys) == before


# Made with @whiskeysockets/baileys 6.17.16 (npm), which counts 0, 2, 4 …: a sender key and three
# messages, whose plain texts have 3, 1 and 2 bytes of padding.
DISTRIBUTION = (
    "3308f49df58c0110001a207175fd091d724a679de22b5dde1af7161a041cdecec58daee7f97ce9f8583c0e"
    "222105e2b924d311a9c5eebce4856e6cee6c40ce1d65422e2353c03c7556fc81760512"
)
MESSAGES = {
    b"first": (
        "3308f49df58c0110001a1051c6b4ffa4982c330444c4b0d9dff578e72fe4d68c9caacb9e335a5ad43b7df0f4b50696c7"
        "46501bdcc78eb4d1e59d40cf97b0ab62e2691057eaf7fa28f77f92b1e7a954e709b8d8de03695cdb59bf06"
    ),
    b"second": (
        "3308f49df58c0110021a10e23f458528d41bda9f52c5c50d1578d86964dd511989e692d02b5c3af3e8d7b8982981eac3"
        "694b981a6fabc296c4e5127624b4f09fe5ff86ef758821285d028590700089a478e4e96e737ffc3550d402"
    ),
    b"third": (
        "3308f49df58c0110041a1028bb97a3a8eb9f131d760628e8fae52a73f50194839b30de9d190d6d025317b3b3a1672bf5"
        "a778f99ef1267e3c986db9b4ac6d1e071fa19884a08287367e9a8c9e06b9844b596cf1b7e387ceb7cc010c"
    ),
}


@given(strategies.permutations(sorted(MESSAGES)))
def test_messages_of_another_implementation_are_decrypted(order: list[bytes]) -> None:
    keys = ReceivedSenderKeys()
    keys.process(hexed(DISTRIBUTION))
    for plain in order:
        assert keys.decrypt(hexed(MESSAGES[plain])) == plain


def test_keys_and_messages_have_the_form_of_the_format() -> None:
    key = SenderKey(5, KeyPair.generate(), 32 * b"c")
    assert key.distribution() == (
        b"\x33\x08\x05\x10\x00\x1a\x20" + 32 * b"c" + b"\x22\x21\x05" + key.signing.public
    )
    # An empty text is one block of ciphertext, whatever its padding.
    message = key.encrypt(b"")
    assert message[:7].hex() == "33080510001a10"
    assert len(message) == 7 + 16 + 64
    assert verify(key.signing.public, message[:-64], message[-64:])
    assert key.distribution()[1:5].hex() == "08051001"


@settings(max_examples=50, deadline=None)
@given(strategies.lists(strategies.binary(max_size=40), max_size=12), strategies.randoms(), strategies.data())
def test_messages_arrive_once_in_any_order(
    texts: list[bytes],
    random: Random,
    choice: strategies.DataObject,
) -> None:
    key = SenderKey.make()
    before = [key.encrypt(b"before") for _ in range(choice.draw(strategies.integers(0, 2)))]
    keys = received(key)
    sent = []
    for text in texts:
        sent.append((key.encrypt(text), text))
        key = SenderKey.from_state(json.loads(json.dumps(key.to_state())))
    random.shuffle(sent)
    for data, text in sent[: choice.draw(strategies.integers(0, len(sent)))]:
        # Drawn from a fixed range, because the padding makes the length of a message random.
        position, value = random.randrange(1000) % len(data), random.randrange(1, 256)
        changed = bytearray(data)
        changed[position] ^= value
        refuses(keys, bytes(changed))
        assert keys.decrypt(data) == text
        refuses(keys, data, "decrypted before")
        keys = restarted(keys)
    for data in before:
        refuses(keys, data)


@given(strategies.binary(max_size=150))
def test_garbage_is_refused(data: bytes) -> None:
    keys = received(SenderKey.make())
    refuses(keys, data)
    refuses(keys, b"\x33" + data)


def test_a_message_is_refused_without_its_key() -> None:
    key = SenderKey.make()
    refuses(ReceivedSenderKeys(), key.encrypt(b"x"), "unknown")
    refuses(received(SenderKey.make()), key.encrypt(b"x"), "unknown")


def test_a_message_must_be_signed_by_the_sender_of_the_key() -> None:
    key = SenderKey.make()
    keys = received(key)
    forged = replace(key, signing=KeyPair.generate())
    refuses(keys, forged.encrypt(b"x"), "not signed")
    assert keys.decrypt(key.encrypt(b"x")) == b"x"


def test_a_signed_message_that_does_not_decrypt_changes_nothing() -> None:
    key = SenderKey.make()
    keys = received(key)
    message = b"\x33" + SenderKeyMessage.encode(key_id=key.key_id, iteration=3, ciphertext=b"short")
    refuses(keys, message + sign(key.signing, message), "AES-CBC")


def test_two_thousand_messages_may_be_missing_but_no_more() -> None:
    key = SenderKey.make()
    keys = received(key)
    sent = [key.encrypt(b"%d" % number) for number in range(2002)]
    refuses(keys, sent[2001], "more than 2000 ahead")
    for number in (2000, 0, 2001, 1999):
        assert keys.decrypt(sent[number]) == b"%d" % number


def test_a_key_sent_again_goes_on_where_it_stands() -> None:
    key = SenderKey.make()
    keys = received(key)
    missing = key.encrypt(b"missing")
    assert keys.decrypt(key.encrypt(b"x")) == b"x"
    keys.process(key.distribution())
    assert keys.decrypt(missing) == b"missing"
    refuses(keys, missing, "decrypted before")
    assert keys.decrypt(key.encrypt(b"y")) == b"y"


def test_the_last_keys_of_a_sender_are_kept() -> None:
    assert MAX_KEYS == 5
    made = [SenderKey.make() for _ in range(MAX_KEYS + 1)]
    keys = received(*made)
    refuses(keys, made[0].encrypt(b"x"), "unknown")
    for key in made[1:]:
        assert keys.decrypt(key.encrypt(b"x")) == b"x"


GOOD = SenderKey(1, KeyPair.generate(), bytes(32))


@pytest.mark.parametrize(
    "distribution",
    [
        b"",
        b"\x33",
        b"\x34" + GOOD.distribution()[1:],
        b"\x33\xff",
        b"\x33" + SenderKeyDistribution.encode(key_id=1, chain_key=bytes(31), signing_key=GOOD.signing.typed),
        b"\x33"
        + SenderKeyDistribution.encode(key_id=1, chain_key=bytes(32), signing_key=GOOD.signing.public),
    ],
    ids=["empty", "version only", "version 4", "no protobuf", "short chain key", "untyped signing key"],
)
def test_what_is_no_sender_key_is_refused(distribution: bytes) -> None:
    keys = received(GOOD)
    before = frozen(keys)
    with pytest.raises(SignalError):
        keys.process(distribution)
    assert frozen(keys) == before


def test_secrets_are_not_shown() -> None:
    assert "private" not in repr(GOOD)
    assert repr(GOOD.chain) not in repr(GOOD)
