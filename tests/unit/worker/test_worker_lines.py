"""The library's lines: what they tell, and what of them is shown."""

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.worker import events
from orchestrator.worker.library.lines import (
    HIDDEN,
    UNDECRYPTED,
    Scrubber,
    is_noise,
    log_event,
    login_line,
    secret_is_missing,
    store_has_failed,
)

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with other tests."""
KEY = base64.b64encode(bytes(range(100, 132))).decode()
REF = "2@" + base64.b64encode(bytes(range(60))).decode()
QR = f"https://wa.me/settings/linked_devices#{REF},{KEY},{KEY},{KEY},6"

DELETES = "sending LoggedOut event and deleting session"


@pytest.mark.parametrize("word", ["timeout", "success", "error", "passkey-request", "err-unexpected-state"])
def test_the_only_report_on_linking(word: str) -> None:
    assert login_line(f"Login event: {word}") == events.LoginLine(word)


@pytest.mark.parametrize(
    "line", ["", "x Login event: timeout", "Login event:", "Login event: a b", "139671934066992"]
)
def test_lines_that_report_nothing(line: str) -> None:
    assert login_line(line) is None


@pytest.mark.parametrize(
    ("logger", "message", "event"),
    [
        ("Client", 'Unknown connect failure: <failure reason="418"/>', events.RefusalLogged(418)),
        (
            "Client",
            'Temporary ban connect failure: <failure code="999" expire="3600" reason="402"/>',
            events.RefusalLogged(402, 999, 3600.0),
        ),
        (
            "Client",
            f"Got 403: primary device is gone connect failure, {DELETES}",
            events.RefusalLogged(403, deleted=True),
        ),
        (
            "Client",
            f"Got 401: logged out from another device connect failure, {DELETES}",
            events.RefusalLogged(401, deleted=True),
        ),
        (
            "Client",
            f"Got device removed stream error, {DELETES}",
            events.RefusalLogged(401, deleted=True),
        ),
        ("Client", "Got 500/x connect failure and deleting session", events.RefusalLogged(500)),
        (
            "Client",
            f"Got 401: x/y connect failure, {DELETES}",
            events.RefusalLogged(401),
        ),
        (
            "Client",
            "Got 503/ connect failure, assuming automatic reconnect will handle it",
            events.RefusalLogged(503),
        ),
        (
            "Client",
            "Client outdated (405) connect failure (client version: 2.3000.1)",
            events.RefusalLogged(405),
        ),
        ("Client", 'Unknown stream error: <stream:error code="516"/>', events.StreamError("516")),
        (
            "Client",
            "Failed to pair device: invalid device identity HMAC in pair success message",
            events.LinkingFailed("invalid device identity HMAC in pair success message"),
        ),
        (
            "Client",
            "Error reconnecting after autoreconnect sleep: Bad Gateway",
            events.RedialFailed("Bad Gateway"),
        ),
        ("Client", "Failed to reconnect after 515 code: no", events.RedialFailed("no", for_good=True)),
        (
            "Client.Socket",
            "Error reading from websocket: failed to get reader: received close frame: status = StatusNormal",
            events.SocketLost(
                orderly=True, error="failed to get reader: received close frame: status = StatusNormal"
            ),
        ),
        (
            "Client.Socket",
            "Error reading from websocket: read: connection reset by peer",
            events.SocketLost(orderly=False, error="read: connection reset by peer"),
        ),
        (
            "Client",
            "Failed to save push name of 10062@lid in device store: database or disk is full",
            events.DiskFull(),
        ),
        (
            "Client",
            "Error decrypting message 3EB0 from 10062@lid: failed to store session: pq: no room (53100)",
            events.StoreLost(),
        ),
        (
            "Client",
            "Failed to get prekey: pq: cannot execute INSERT in a read-only transaction (25006)",
            events.StoreLost(),
        ),
    ],
)
def test_the_log_tells_what_no_event_does(logger: str, message: str, event: events.Event) -> None:
    assert log_event(f"whatsmeow.{logger}", message) == event


@pytest.mark.parametrize(
    "message",
    [
        "Push name of 10062@lid changed from Bob to Failed to : pq: (53100)",
        "Failed to store session: pq: duplicate key value violates unique constraint (23505)",
        "Failed to store session: pq: no room (53100) is what they said",
    ],
)
def test_not_every_word_of_a_database_is_about_its_room(message: str) -> None:
    assert log_event("whatsmeow.Client", message) is None


@pytest.mark.parametrize(
    "why",
    [
        "failed to check if store has session for 5_1:0: read tcp 1.2.3.4:5->6.7.8.9: read: reset",
        "failed to load session: dial tcp 10.0.0.1:5432: connect: connection refused",
        "failed to store session: write tcp [::1]:1->[::1]:2: write: broken pipe",
        "failed to load session: dial unix /run/postgresql/.s.PGSQL.5432: connect: no such file or directory",
        "failed to store session: driver: bad connection",
        "failed to check if store has session: sql: database is closed",
        "failed to load session: unexpected EOF",
        "failed to load session: EOF",
        "failed to check if store has session for 35_1:0: EOF",
        "failed to load session for 10062.1:25: unexpected EOF",
        "failed to store session: pq: terminating connection due to administrator command (57P01)",
        "failed to load session: pq: the database system is shutting down (57P03)",
        "failed to load session: pq: permission denied for table whatsmeow_sessions (42501)",
        "failed to store session: pq: could not extend file: No space left on device (53100)",
        "failed to store session: pq: cannot execute INSERT in a read-only transaction (25006)",
    ],
)
@pytest.mark.parametrize("id_", ["3EB0C4", "of\nseveral lines", "(57P01)"])
def test_a_message_that_the_database_has_kept_from_being_decrypted(id_: str, why: str) -> None:
    begin = (
        f"Error decrypting message {id_} from 10062:5@lid in 1203@g.us: failed to decrypt normal message: "
    )
    assert store_has_failed(begin + why)
    assert not store_has_failed(f"{begin}{why} (7 more)")
    assert not store_has_failed((begin + why).replace("Error", "Warning", 1))
    assert UNDECRYPTED in begin.encode()


@pytest.mark.parametrize(
    "why",
    [
        "failed to decrypt prekey message: no signed prekey with ID 7",
        "failed to decrypt normal message: message: received message with old counter (index: 3, count: 2)",
        "failed to decrypt normal message: mismatching MAC in signal message",
        "failed to decrypt group message: no sender key for 10062@lid in 1203@g.us",
        # Whoever sends a message makes the library say this, and it would come again and again.
        "failed to decrypt normal message: unexpected EOF",
        "failed to decrypt normal message: EOF",
        "proto: cannot parse invalid wire-format data",
        "failed to store session: pq: duplicate key value violates unique constraint (23505)",
    ],
)
@pytest.mark.parametrize(
    "id_", ["3EB0C4", "x: driver: bad connection", "failed to load session: EOF", "read tcp 1.2.3.4:5: reset"]
)
def test_a_message_that_cannot_be_decrypted_ends_nothing(id_: str, why: str) -> None:
    assert not store_has_failed(f"Error decrypting message {id_} from 10062:5@lid: {why}")


@pytest.mark.parametrize("logger", ["whatsmeow.Client.Recv", "Whatsmeow.Database", "root"])
def test_only_the_clients_own_words_count(logger: str) -> None:
    assert log_event(logger, 'Unknown connect failure: <failure reason="418"/>') is None


@settings(CALM)
@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    login_line(text)
    log_event("whatsmeow.Client", text)
    log_event("whatsmeow.Client.Socket", text)
    is_noise(text)
    Scrubber([text[:3]]).clean(text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "  \t ",
        "139671934066992",
        "Press Ctrl+C to exit",
        "Login event: success\r",
        "Pair Code:  ABCD-EFGH",
        "\x1b[7m█▀▀▀▀▀█ ▄▀ █▀▀▀▀▀█\x1b[0m",
    ],
)
def test_what_need_not_be_shown(line: str) -> None:
    assert is_noise(line)


@pytest.mark.parametrize(
    "line", ["panic: no", "SendMessage: Error sending message: no", "goroutine 1 [running]:"]
)
def test_what_has_to_be_shown(line: str) -> None:
    assert not is_noise(line)


@pytest.mark.parametrize("secret", [QR, REF, KEY, "ABCD-EFGH", "4915100001@s.whatsapp.net"])
@pytest.mark.parametrize("around", ["{}", "Emitting QR code {}", "x {} y\nand {}", "({})"])
def test_what_looks_like_a_secret_is_not_shown(secret: str, around: str) -> None:
    shown = Scrubber().clean(around.format(secret, secret))
    for part in (REF, KEY, "ABCD-EFGH", "4915100001"):
        assert part not in shown


def test_known_secrets_are_hidden_wherever_they_turn_up() -> None:
    scrubber = Scrubber(["hunter2", "", "user:hunter2"])
    assert scrubber.clean("to user:hunter2 at hunter2's") == f"to {HIDDEN} at {HIDDEN}'s"
    scrubber.add("a word")
    assert scrubber.clean("it is a word") == f"it is {HIDDEN}"


AGAIN = "failed to decrypt normal message: received message with old counter (index: 4, count: 2)"
IN_GROUP = "failed to decrypt group message: received message with old counter (current: 43, received: 42)"
OPENING = "failed to decrypt prekey message: received message with old counter (index: 1, count: 0)"
ADA, GROUP = "269139479534551@lid", "120363000000000001@g.us"


@pytest.mark.parametrize(
    ("line", "sender", "chat"),
    [
        (f"Ignoring message 3EB0A1 from {ADA}: {AGAIN}", ADA, ADA),
        (f"Ignoring message 3EB0A1 from 269139479534551:3@lid in {ADA}: {OPENING}", ADA, ADA),
        (f"Ignoring message 3EB0A1 from {ADA} in {GROUP}: {IN_GROUP}", ADA, GROUP),
        (f"Ignoring message 3EB0A1 from 4915100001.1:12@s.whatsapp.net in {GROUP}: {IN_GROUP}",
         "4915100001@s.whatsapp.net", GROUP),
        (f"Ignoring message 3EB0A1 from {ADA} in 4915-16@g.us: {IN_GROUP}", ADA, "4915-16@g.us"),
        (f"Ignoring message 3EB0A1 from {ADA} in status@broadcast: {IN_GROUP}", ADA, "status@broadcast"),
        (f"Ignoring message 3EB0A1 from {ADA}: {AGAIN.partition(' (')[0]}", ADA, ADA),
    ],
)  # fmt: skip
def test_a_message_that_came_before(line: str, sender: str, chat: str) -> None:
    assert log_event("whatsmeow.Client", line) == events.Repeated("3EB0A1", sender, chat)
    assert log_event("whatsmeow.Client.Socket", line) is None
    assert log_event("other", line) is None


@pytest.mark.parametrize(
    "line",
    [
        # The sender chooses the identifier, and would like others to seem to have lost something.
        f"Ignoring message A from 1@lid: {AGAIN} from {ADA}: {AGAIN}",
        f"Ignoring message A from 1@lid in 2@g.us: {IN_GROUP} from {ADA}: {AGAIN}",
        f"Ignoring message A from 1@lid: {AGAIN}\n from {ADA}: {AGAIN}",
        f"Ignoring message A\n from {ADA}: {AGAIN}",
        f"Ignoring message  from {ADA}: {AGAIN}",
        f"Ignoring message {'A' * 200} from {ADA}: {AGAIN}",
        f"Ignoring message A from {'9' * 100}@lid: {AGAIN}",
        f"Ignoring message A from ada@LID!: {AGAIN}",
        f"Ignoring message A from {ADA}: something else",
        f"Ignoring message A from {ADA}: {AGAIN} and more",
        f"  Ignoring message A from {ADA}: {AGAIN}",
        "Ignoring message A from",
        "Stored many message secret keys from history sync",
    ],
)
def test_lines_that_look_like_it(line: str) -> None:
    assert log_event("whatsmeow.Client", line) is None


def test_secrets_of_a_history() -> None:
    line = "Stored 312 message secret keys from history sync"
    assert log_event("whatsmeow.Client", line) == events.HistoryCopied()


@CALM
@given(st.text(max_size=60))
def test_an_identifier_never_makes_another_sender(text: str) -> None:
    event = log_event("whatsmeow.Client", f"Ignoring message {text} from {ADA}: {AGAIN}")
    assert event is None or event == events.Repeated(text, ADA, ADA)


def test_such_a_line_is_shown_without_whose_it_is() -> None:
    line = f"Ignoring message 3EB0B27B0038A24D1DB452 from 4915100001234@s.whatsapp.net in {GROUP}: {IN_GROUP}"
    for text in (line, f"Ignoring message 3EB0B27B0038A24D1DB452 from {ADA}: {AGAIN}"):
        shown = Scrubber().clean(text)
        assert not any(word in shown for word in ("4915100001234", "269139479534551", "120363000000000001"))
        assert "3EB0B27B0038A24D1DB452" not in shown
    for what in ("Ignoring", "Error decrypting", "Unavailable"):
        assert (
            Scrubber()
            .clean(f"{what} message a needle from b from {ADA}: {AGAIN}")
            .startswith(f"{what} message [hidden] from …")
        )


@pytest.mark.parametrize(
    ("logger", "line", "missing"),
    [
        ("whatsmeow.Client", "Failed to store message secret key for outgoing message 3EB0A: disk", True),
        ("whatsmeow.Client", "Failed to store message secret key for 3EB0A: disk", False),
        ("whatsmeow.Client", "Stored message secret key for outgoing message 3EB0A", False),
        ("whatsmeow.Client.Send", "Failed to store message secret key for outgoing message 3EB0A", False),
    ],
)
def test_a_secret_that_could_not_be_written_down_is_told(logger: str, line: str, *, missing: bool) -> None:
    assert secret_is_missing(logger, line) is missing
