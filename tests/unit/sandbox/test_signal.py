from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from orchestrator.sandbox.crypto import signal
from orchestrator.sandbox.crypto.keys import DJB, CryptoError, KeyPair
from orchestrator.sandbox.crypto.signal import (
    MAX_CHAINS,
    MAX_SESSIONS,
    PreKeyBundle,
    PreKeyMessage,
    ReceivingChain,
    Session,
    SignalError,
    SignalPhone,
)
from orchestrator.sandbox.crypto.xeddsa import sign
from orchestrator.sandbox.wire.proto import PreKeySignalMessage, SignalMessage

hexed = bytes.fromhex
A, B = "491510000001@s.whatsapp.net", "269139479534551:3@lid"

# The keys of libsignal's test of a ratcheting session (RatchetingSessionTest in libsignal-protocol-java,
# rust/protocol/tests/ratchet.rs in libsignal). Alice's two base keys there are no pair.
BOB = KeyPair.of(hexed("4875cc69ddf8ea0719ec947d61081135868d5fd801f02c0225e516df2156605e"))
BOB_SIGNED = KeyPair.of(hexed("583900131fb727998b7803fe6ac22cc591f342e4e42a8c8d5d78194209b8d253"))
ALICE = KeyPair.of(hexed("9040f0d4e09cf38f6dc7c13779c908c015a1da4fa78737a080eb0a6f4f5f8f58"))
ALICE_BASE_PUBLIC = hexed("472d1fb1a9862c3af6beaca8920277e2b26f4a79213ec7c906aeb35e03cf8950")
ALICE_BASE_PRIVATE = hexed("11ae7c64d1e61cd596b76a0db5012673391cae66edbfcf073b4da80516a47449")


def frozen(phone: SignalPhone) -> str:
    return json.dumps(phone.to_state())


def restarted(phone: SignalPhone) -> SignalPhone:
    return SignalPhone.from_state(json.loads(frozen(phone)))


def refuses(phone: SignalPhone, address: str, kind: str, data: bytes, match: str | None = None) -> None:
    before = frozen(phone)
    with pytest.raises(SignalError, match=match):
        phone.decrypt(address, kind, data)
    assert frozen(phone) == before


@pytest.fixture
def alice() -> SignalPhone:
    return SignalPhone.generate()


@pytest.fixture
def bob() -> SignalPhone:
    return SignalPhone.generate()


@pytest.fixture
def talking(alice: SignalPhone, bob: SignalPhone) -> None:
    """Both have received something, so both send ``msg``."""
    assert bob.decrypt(A, *alice.encrypt(B, b"hello", bob.bundle())) == b"hello"
    assert alice.decrypt(B, *bob.encrypt(A, b"hi")) == b"hi"


# --- Against libsignal -------------------------------------------------------------------------------


def test_the_keys_of_libsignals_test_are_read_right() -> None:
    assert BOB.typed.hex() == "05f1f43874f6966956c2dd473f8fa15adeb71d1cb991b2341692324cefb1c5e626"
    assert BOB_SIGNED.typed.hex() == "05ac248a8f263be6863576eb0362e28c828f0107a3379d34bab1586bf8c770cd67"
    assert ALICE.typed.hex() == "05b4a8455660ada65b401007f615e654041746432e3339c6875149bceefcb42b4a"


def test_a_responders_first_chain_is_libsignals() -> None:
    # test_ratcheting_session_as_bob, and the same in Java.
    opening = PreKeyMessage(ALICE_BASE_PUBLIC, ALICE.public, 1, 0, b"")
    session = Session.respond(BOB, BOB_SIGNED, opening)
    assert session.sending.hex() == "9797caca53c989bbe229a40ca7727010eb2604fc14945d77958a0aeda088b44d"
    assert session.ratchet == BOB_SIGNED
    assert (session.local, session.remote) == (BOB.public, ALICE.public)


def test_an_initiators_first_receiving_chain_is_libsignals(monkeypatch: pytest.MonkeyPatch) -> None:
    # test_ratcheting_session_as_alice in Rust; the Java test expects another chain, and the Rust one
    # remarks on that.
    base = KeyPair.of(ALICE_BASE_PRIVATE)
    made = iter([base, KeyPair.generate()])
    bundle = PreKeyBundle(1, BOB.public, 1, BOB_SIGNED.public, sign(BOB, BOB_SIGNED.typed))
    monkeypatch.setattr(KeyPair, "generate", lambda: next(made))
    session = Session.initiate(ALICE, 1, bundle)
    assert session.base == base.public
    ((key, chain),) = session.receiving.items()
    assert key == BOB_SIGNED.public
    assert chain.key.hex() == "ab9be50e5cb22a925446ab90ee5670545f4fd32902459ec274b6ad0ae5d6031a"
    opening = PreKeyMessage(base.public, ALICE.public, 1, 0, b"")
    assert Session.respond(BOB, BOB_SIGNED, opening).sending == chain.key


def test_chain_and_message_keys_are_libsignals() -> None:
    # libsignal-protocol-java, ChainKeyTest.testChainKeyDerivationV3.
    seed, following = signal.advance(
        hexed("8ab72d6f4cc5ac0d387eaf463378ddb28edd07385b1cb01250c715982e7ad48f")
    )
    assert following.hex() == "28e8f8fee54b801eef7c5cfb2f17f32c7b334485bbb70fac6ec10342a246d15d"
    cipher_key, mac_key, iv = signal._message_keys(seed)
    assert cipher_key.hex() == "bf51e9d75e0e31031051f82a2491ffc084fa298b7793bd9db620056febf45217"
    assert mac_key.hex() == "c6c77d6a73a354337a56435e34607dfe48e3ace14e77314dc6abc172e7a7030b"
    assert len(iv) == 16


# Made with libsignal for Node.js 6.0.0 (npm, WhiskeySockets/libsignal-node): a session begun with BOB's
# keys, and the plain texts "first" and "second" with 3 and 1 bytes of padding.
RECORDED_BEGINNING = (
    "3312210555574e15641c2c0c7ee5886a79e6886c6aed77d4b25a0db7f3e8caad02a2ab101a2105d8ea109866e779f5e9"
    "1899feabc61091187c72296fcb3e3ec0b463bee94f73192242330a2105fa6b40951547c930d331e1ef72a087da32c91d"
    "b037a6db8667918ff38fba6e06"
)
RECORDED = [
    (RECORDED_BEGINNING + rest, plain)
    for rest, plain in (
        ("10001800221046211956e8e5d48d0ab8a81d0c2c92902b7db644dc0ff32528e7243001", b"first"),
        ("100118002210d0978155bed433ebe04893de1266a6ce2f41679a7712e16328e7243001", b"second"),
    )
]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1,)])
def test_messages_of_another_implementation_are_decrypted(order: tuple[int, ...]) -> None:
    phone = SignalPhone(BOB, 1, BOB_SIGNED, sign(BOB, BOB_SIGNED.typed))
    for number in order:
        message, plain = RECORDED[number]
        assert phone.decrypt(A, "pkmsg", hexed(message)) == plain


def test_messages_have_the_fields_of_the_format(alice: SignalPhone, bob: SignalPhone) -> None:
    # An empty text is one block of ciphertext, whatever its padding.
    kind, data = alice.encrypt(B, b"", replace(bob.bundle(), prekey_id=77, prekey=BOB.public))
    assert (kind, data[:1]) == ("pkmsg", b"\x33")
    fields = PreKeySignalMessage.decode(data[1:])
    assert fields.prekey_id == 77
    assert fields.identity_key == alice.identity.typed
    assert fields.registration_id == alice.registration_id
    assert fields.signed_prekey_id == 1
    inner = fields.message
    ratchet = alice._sessions[B][0].ratchet
    # The client verifies the MAC over the message as it would write it itself: zeros are written out.
    assert inner[:36] == b"\x33\x0a\x21" + ratchet.typed
    assert inner[36:42].hex() == "100018002210"
    assert len(inner) == 42 + 16 + 8

    _, data = alice.encrypt(B, b"x", bob.bundle())
    assert not PreKeySignalMessage.decode(data[1:]).HasField("prekey_id")


# --- One session -------------------------------------------------------------------------------------


def test_the_initiator_sends_pkmsg_until_the_first_answer(alice: SignalPhone, bob: SignalPhone) -> None:
    sent = [alice.encrypt(B, b"1", bob.bundle()), alice.encrypt(B, b"2")]
    assert [kind for kind, _ in sent] == ["pkmsg", "pkmsg"]
    assert [bob.decrypt(A, *message) for message in sent] == [b"1", b"2"]
    answer = bob.encrypt(A, b"3")
    assert answer[0] == "msg"
    assert alice.encrypt(B, b"4")[0] == "pkmsg"
    assert alice.decrypt(B, *answer) == b"3"
    assert alice.encrypt(B, b"5")[0] == "msg"


def test_a_one_time_prekey_goes_into_both_ends() -> None:
    prekey = KeyPair.generate()
    bundle = PreKeyBundle(1, BOB.public, 5, BOB_SIGNED.public, sign(BOB, BOB_SIGNED.typed), 77, prekey.public)
    sender = Session.initiate(ALICE, 9, bundle)
    opening = PreKeyMessage.parse(sender.encrypt(b"x")[1])
    assert (opening.signed_prekey_id, opening.prekey_id) == (5, 77)
    receiver = Session.respond(BOB, BOB_SIGNED, opening, prekey)
    assert receiver.decrypt(opening.message) == b"x"
    assert sender.decrypt(receiver.encrypt(b"y")[1]) == b"y"
    for other in (None, KeyPair.generate()):
        with pytest.raises(SignalError, match="MAC"):
            Session.respond(BOB, BOB_SIGNED, opening, other).decrypt(opening.message)


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: replace(bundle, signature=bytes(64)),
        lambda bundle: replace(bundle, signed_prekey=KeyPair.generate().public),
        lambda bundle: replace(bundle, identity=KeyPair.generate().public),
        lambda bundle: replace(bundle, prekey_id=1, prekey=bytes(32)),
        lambda bundle: replace(bundle, prekey_id=1, prekey=b"short"),
    ],
)
def test_a_bundle_that_is_not_genuine_begins_nothing(
    alice: SignalPhone, bob: SignalPhone, change: Callable[[PreKeyBundle], PreKeyBundle]
) -> None:
    before = frozen(alice)
    with pytest.raises(SignalError):
        alice.encrypt(B, b"x", change(bob.bundle()))
    assert frozen(alice) == before
    assert not alice.has_session(B)


def test_without_session_and_bundle_nothing_is_sent(alice: SignalPhone) -> None:
    with pytest.raises(SignalError, match="bundle is needed"):
        alice.encrypt(B, b"x")


@pytest.mark.usefixtures("talking")
def test_any_changed_byte_of_a_message_is_noticed(alice: SignalPhone, bob: SignalPhone) -> None:
    kind, data = alice.encrypt(B, b"text")
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x41
        refuses(bob, A, kind, bytes(changed))
        refuses(bob, A, kind, data[:position])
    assert bob.decrypt(A, kind, data) == b"text"
    refuses(bob, A, kind, data, "decrypted before")


@given(strategies.binary(max_size=200), strategies.sampled_from(["pkmsg", "msg", "skmsg", ""]))
def test_garbage_is_refused(data: bytes, kind: str) -> None:
    phone = SignalPhone.generate()
    refuses(phone, A, kind, data)
    refuses(phone, A, kind, b"\x33" + data)


def test_a_message_of_another_pair_is_refused(alice: SignalPhone, bob: SignalPhone) -> None:
    carol = SignalPhone.generate()
    message = alice.encrypt(B, b"x", bob.bundle())
    refuses(carol, A, *message, match="MAC")
    bob.decrypt(A, *message)
    alice.decrypt(B, *bob.encrypt(A, b"y"))
    refuses(carol, A, *bob.encrypt(A, b"z"), match="there is none")
    refuses(bob, A, *alice.encrypt("carol", b"x", carol.bundle()))


def test_the_mac_holds_both_identities() -> None:
    prekey_message = hexed(RECORDED[0][0])
    session = Session.respond(BOB, BOB_SIGNED, PreKeyMessage.parse(prekey_message))
    inner = PreKeyMessage.parse(prekey_message).message
    for change in ({"local": ALICE.public}, {"remote": ALICE.public}):
        with pytest.raises(SignalError, match="MAC"):
            replace(session, **change).decrypt(inner)  # type: ignore[arg-type]
    assert session.decrypt(inner) == b"first"


@pytest.mark.usefixtures("talking")
def test_a_genuine_message_with_wrong_padding_is_refused(
    alice: SignalPhone, bob: SignalPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(signal, "pad", lambda plain: plain + b"\x10")
        message = alice.encrypt(B, b"x")
    refuses(bob, A, *message, match="padding")
    assert bob.decrypt(A, *alice.encrypt(B, b"y")) == b"y"


@given(strategies.binary(max_size=40))
def test_padding_comes_off_again(plain: bytes) -> None:
    padded = signal.pad(plain)
    count = len(padded) - len(plain)
    assert 1 <= count <= 15
    assert padded == plain + count * bytes([count])
    assert signal.unpad(padded) == plain


@pytest.mark.parametrize("padded", [b"", b"x\x00", b"x\x02", b"x\x10", 16 * b"\x10", b"\x03\x03"])
def test_wrong_padding_is_refused(padded: bytes) -> None:
    with pytest.raises(SignalError, match="padding"):
        signal.unpad(padded)


@pytest.mark.usefixtures("talking")
def test_two_thousand_messages_may_be_missing_but_no_more(alice: SignalPhone, bob: SignalPhone) -> None:
    sent = [alice.encrypt(B, b"%d" % number) for number in range(2002)]
    refuses(bob, A, *sent[2001], match="more than 2000 ahead")
    assert bob.decrypt(A, *sent[2000]) == b"2000"
    assert bob.decrypt(A, *sent[0]) == b"0"
    assert bob.decrypt(A, *sent[2001]) == b"2001"
    assert restarted(bob).decrypt(A, *sent[1]) == b"1"


def test_the_oldest_of_too_many_missing_messages_are_given_up() -> None:
    chain = ReceivingChain(bytes(32))
    chain.use(chain.find(1500))
    chain.use(chain.find(3000))
    assert len(chain.skipped) == 2000
    assert min(chain.skipped) == 999
    with pytest.raises(SignalError, match="no longer kept"):
        chain.find(998)
    chain.use(chain.find(999))
    with pytest.raises(SignalError, match="decrypted before"):
        chain.find(999)


@pytest.mark.usefixtures("talking")
def test_messages_of_the_last_chains_may_still_arrive(alice: SignalPhone, bob: SignalPhone) -> None:
    late = []
    for number in range(MAX_CHAINS + 2):
        late.append((alice.encrypt(B, b"late %d" % number), b"late %d" % number))
        assert bob.decrypt(A, *alice.encrypt(B, b"now")) == b"now"
        assert alice.decrypt(B, *bob.encrypt(A, b"turn")) == b"turn"
    for message, _ in late[:-MAX_CHAINS]:
        refuses(bob, A, *message)
    for message, plain in reversed(late[-MAX_CHAINS:]):
        assert bob.decrypt(A, *message) == plain


@pytest.mark.usefixtures("talking")
def test_the_last_number_of_the_chain_before_is_sent_along(alice: SignalPhone, bob: SignalPhone) -> None:
    for _ in range(3):
        bob.decrypt(A, *alice.encrypt(B, b"x"))
    alice.decrypt(B, *bob.encrypt(A, b"turn"))
    assert SignalMessage.decode(alice.encrypt(B, b"x")[1][1:-8]).previous_counter == 2


# --- Several sessions --------------------------------------------------------------------------------


def test_two_that_begin_at_the_same_time_end_up_in_one_session(alice: SignalPhone, bob: SignalPhone) -> None:
    from_alice = alice.encrypt(B, b"a", bob.bundle())
    from_bob = bob.encrypt(A, b"b", alice.bundle())
    assert (from_alice[0], from_bob[0]) == ("pkmsg", "pkmsg")
    assert alice.decrypt(B, *from_bob) == b"b"
    assert bob.decrypt(A, *from_alice) == b"a"
    # Each now prefers the other's; whoever speaks first decides.
    assert bob.decrypt(A, *alice.encrypt(B, b"c")) == b"c"
    assert alice._sessions[B][0].base == bob._sessions[A][0].base
    for number in range(5):
        assert alice.decrypt(B, *bob.encrypt(A, b"%d" % number)) == b"%d" % number
        assert bob.decrypt(A, *alice.encrypt(B, b"%d" % number)) == b"%d" % number
    assert len(alice._sessions[B]) == len(bob._sessions[A]) == 2


@pytest.mark.usefixtures("talking")
def test_a_bundle_begins_a_new_session_and_the_old_one_still_decrypts(
    alice: SignalPhone, bob: SignalPhone
) -> None:
    under_way = bob.encrypt(A, b"old")
    kind, data = alice.encrypt(B, b"new", bob.bundle())
    assert kind == "pkmsg"
    assert alice.decrypt(B, *under_way) == b"old"
    assert bob.decrypt(A, kind, data) == b"new"
    assert bob.decrypt(A, *alice.encrypt(B, b"old again")) == b"old again"


def test_ten_older_sessions_are_kept(alice: SignalPhone, bob: SignalPhone) -> None:
    answers = []
    for number in range(MAX_SESSIONS + 1):
        assert bob.decrypt(A, *alice.encrypt(B, b"x", bob.bundle())) == b"x"
        answers.append(bob.encrypt(A, b"%d" % number))
    assert len(alice._sessions[B]) == len(bob._sessions[A]) == MAX_SESSIONS
    refuses(alice, B, *answers[0])
    for number, answer in enumerate(answers[1:], start=1):
        assert alice.decrypt(B, *answer) == b"%d" % number


@pytest.mark.usefixtures("talking")
def test_a_dropped_session_is_forgotten(alice: SignalPhone, bob: SignalPhone) -> None:
    bob.drop_session(A)
    bob.drop_session(A)
    assert not bob.has_session(A)
    refuses(bob, A, *alice.encrypt(B, b"lost"), match="there is none")
    assert alice.decrypt(B, *bob.encrypt(A, b"new", alice.bundle())) == b"new"
    assert bob.decrypt(A, *alice.encrypt(B, b"and back")) == b"and back"


def test_sessions_of_different_addresses_are_apart(alice: SignalPhone, bob: SignalPhone) -> None:
    bob.decrypt(A, *alice.encrypt(B, b"x", bob.bundle()))
    assert bob.has_session(A)
    assert not bob.has_session(B)
    refuses(bob, B, "msg", alice.encrypt(B, b"y")[1])


def test_prekeys_that_a_phone_does_not_have_are_refused(alice: SignalPhone, bob: SignalPhone) -> None:
    prekey = KeyPair.generate().public
    refuses(
        bob, A, *alice.encrypt(B, b"x", replace(bob.bundle(), prekey_id=3, prekey=prekey)), match="prekey"
    )
    refuses(bob, A, *alice.encrypt(B, b"x", replace(bob.bundle(), signed_prekey_id=2)), match="prekey")


def test_an_identity_cannot_change_within_a_session(alice: SignalPhone, bob: SignalPhone) -> None:
    bob.decrypt(A, *alice.encrypt(B, b"x", bob.bundle()))
    kind, data = alice.encrypt(B, b"y")
    other = data.replace(alice.identity.typed, KeyPair.generate().typed)
    refuses(bob, A, kind, other, "changed its identity")
    assert bob.decrypt(A, kind, data) == b"y"


def test_a_new_identity_at_an_address_begins_anew(bob: SignalPhone) -> None:
    for _ in range(2):
        alice = SignalPhone.generate()
        assert bob.decrypt(A, *alice.encrypt(B, b"x", bob.bundle())) == b"x"
        assert alice.decrypt(B, *bob.encrypt(A, b"y")) == b"y"


def test_weak_keys_in_a_message_are_refused(bob: SignalPhone) -> None:
    typed = DJB + bytes(32)
    inner = b"\x33" + SignalMessage.encode(ratchet_key=typed, counter=0, ciphertext=b"x") + bytes(8)
    for base, identity in ((typed, ALICE.typed), (ALICE.typed, typed)):
        fields = {"base_key": base, "identity_key": identity, "message": inner, "signed_prekey_id": 1}
        refuses(bob, A, "pkmsg", b"\x33" + PreKeySignalMessage.encode(**fields), "X25519")


# --- State -------------------------------------------------------------------------------------------


def test_a_phone_is_made_with_the_identity_of_its_account() -> None:
    phone = SignalPhone.generate(BOB)
    assert phone.identity == BOB
    assert phone.bundle().identity == BOB.public
    assert 1 <= phone.registration_id <= 16380
    assert (phone.bundle().prekey_id, phone.bundle().prekey) == (None, None)


@pytest.mark.usefixtures("talking")
def test_a_state_is_the_whole_phone(alice: SignalPhone, bob: SignalPhone) -> None:
    alice.encrypt(B, b"missing")
    bob.decrypt(A, *alice.encrypt(B, b"x"))
    # So that every number in the state is another than at the beginning.
    for _ in range(2):
        alice.decrypt(B, *[bob.encrypt(A, b"x") for _ in range(3)][-1])
        bob.decrypt(A, *alice.encrypt(B, b"x"))
    bob.encrypt(A, b"x")
    assert bob._sessions[A][0].previous_counter == 2
    again = restarted(bob)
    assert frozen(again) == frozen(bob)
    assert again.bundle() == bob.bundle()
    assert again.decrypt(A, *alice.encrypt(B, b"y")) == b"y"


@pytest.mark.usefixtures("talking")
def test_a_state_is_apart_from_the_phone(alice: SignalPhone, bob: SignalPhone) -> None:
    alice.encrypt(B, b"x", bob.bundle())
    state = alice.to_state()
    before = json.dumps(state)
    again = SignalPhone.from_state(state)
    for phone in (alice, again):
        phone.encrypt(B, b"y")
        phone.drop_session(B)
    assert json.dumps(state) == before


def malformed_states() -> Iterator[object]:
    yield from (None, [], {}, {"identity": "zz"})
    for name in ("identity", "registration_id", "signed_prekey", "signature", "sessions"):
        state = SignalPhone.generate().to_state()
        del state[name]
        yield state
    yield SignalPhone.generate().to_state() | {"identity": ""}
    yield SignalPhone.generate().to_state() | {"sessions": {A: [{}]}}
    yield SignalPhone.generate().to_state() | {"sessions": []}


def test_what_is_no_state_is_refused() -> None:
    for state in malformed_states():
        with pytest.raises(SignalError, match="not the state of a phone"):
            SignalPhone.from_state(state)  # type: ignore[arg-type]


def test_secrets_are_not_shown(alice: SignalPhone, bob: SignalPhone) -> None:
    alice.encrypt(B, b"x", bob.bundle())
    session = alice._sessions[B][0]
    for shown in (repr(alice), repr(session), repr(session.receiving)):
        assert repr(session.root) not in shown
        assert "private" not in shown


def test_errors_are_of_one_family() -> None:
    assert issubclass(SignalError, CryptoError)


def test_the_bounds_are_libsignals_where_it_has_them() -> None:
    # MAX_FORWARD_JUMPS in newer versions is greater; these are the numbers of version 3's time, which
    # the Go port still has.
    assert (signal.MAX_SKIPPED, MAX_CHAINS, MAX_SESSIONS) == (2000, 5, 11)


# --- Everything at once ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A message on the wire, and what a test has to know of it."""

    sender: str
    kind: str
    data: bytes
    plain: bytes
    base: bytes
    turn: int


class Conversation(RuleBasedStateMachine):
    """Two phones on a wire that loses, delays and repeats; each message must arrive exactly once.

    What may not arrive is known exactly: messages of a session that the receiver has dropped (unless
    they open it again), and of chains that are more than five turns old.
    """

    @initialize()
    def begin(self) -> None:
        self.phones = {A: SignalPhone.generate(), B: SignalPhone.generate()}
        self.wire: list[Sent] = []
        self.delivered: list[Sent] = []
        self.known: dict[str, set[bytes]] = {A: set(), B: set()}
        self.ratchets: dict[tuple[str, bytes], list[bytes]] = {}
        self.newest: dict[tuple[str, bytes], int] = {}

    @rule(
        sender=strategies.sampled_from([A, B]),
        plain=strategies.binary(max_size=40),
        anew=strategies.booleans(),
    )
    def send(self, sender: str, plain: bytes, anew: bool) -> None:
        phone, other = self.phones[sender], B if sender == A else A
        room = len(self.known[A] | self.known[B]) < MAX_SESSIONS
        bundle = self.phones[other].bundle() if room and (anew or not phone.has_session(other)) else None
        if bundle is None and not phone.has_session(other):
            return
        kind, data = phone.encrypt(other, plain, bundle)
        session = phone._sessions[other][0]
        self.known[sender].add(session.base)
        ratchets = self.ratchets.setdefault((sender, session.base), [])
        if session.ratchet.public not in ratchets:
            ratchets.append(session.ratchet.public)
        turn = ratchets.index(session.ratchet.public)
        self.wire.append(Sent(sender, kind, data, plain, session.base, turn))

    @precondition(lambda self: self.wire)
    @rule(choice=strategies.data())
    def deliver(self, choice: strategies.DataObject) -> None:
        sent = self.wire.pop(choice.draw(strategies.integers(0, len(self.wire) - 1)))
        receiver = B if sent.sender == A else A
        phone, known, session = self.phones[receiver], self.known[receiver], (receiver, sent.base)
        unknown = sent.base not in known and sent.kind == "msg"
        if unknown or self.newest.get(session, 0) - sent.turn >= MAX_CHAINS:
            refuses(phone, sent.sender, sent.kind, sent.data)
        else:
            assert phone.decrypt(sent.sender, sent.kind, sent.data) == sent.plain
            known.add(sent.base)
            self.newest[session] = max(self.newest.get(session, 0), sent.turn)
            self.delivered.append(sent)

    @precondition(lambda self: self.delivered)
    @rule(choice=strategies.data())
    def repeat(self, choice: strategies.DataObject) -> None:
        sent = choice.draw(strategies.sampled_from(self.delivered))
        refuses(self.phones[B if sent.sender == A else A], sent.sender, sent.kind, sent.data)

    @precondition(lambda self: self.wire)
    @rule(choice=strategies.data())
    def change(self, choice: strategies.DataObject) -> None:
        sent = choice.draw(strategies.sampled_from(self.wire))
        # Only the message inside a pkmsg is covered by a MAC.
        inner = PreKeyMessage.parse(sent.data).message if sent.kind == "pkmsg" else sent.data
        start = sent.data.index(inner)
        # Drawn from a fixed range, because the padding makes the length of a message random.
        bit = 8 * start + choice.draw(strategies.integers(0, 9999)) % (8 * len(inner))
        changed = bytearray(sent.data)
        changed[bit // 8] ^= 1 << bit % 8
        refuses(self.phones[B if sent.sender == A else A], sent.sender, sent.kind, bytes(changed))

    @precondition(lambda self: self.wire)
    @rule(choice=strategies.data())
    def lose(self, choice: strategies.DataObject) -> None:
        self.wire.pop(choice.draw(strategies.integers(0, len(self.wire) - 1)))

    @rule(name=strategies.sampled_from([A, B]))
    def restart(self, name: str) -> None:
        before = frozen(self.phones[name])
        self.phones[name] = restarted(self.phones[name])
        assert frozen(self.phones[name]) == before

    @rule(name=strategies.sampled_from([A, B]))
    def drop(self, name: str) -> None:
        # What is under way in either direction belongs to the forgotten sessions; it is lost.
        self.phones[name].drop_session(B if name == A else A)
        self.wire.clear()
        self.delivered.clear()
        self.known[name].clear()
        for record in (self.ratchets, self.newest):
            for key in [key for key in record if key[0] == name]:
                del record[key]


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
