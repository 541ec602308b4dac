# ruff: noqa: E501 - what the library prints has long lines

import logging
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store.codes import draw
from orchestrator.system.masking import mask_number
from orchestrator.system.redaction import RedactingFilter, redact

BOT, ADA, NOBODY = "4915123456701", "4915123456702", "4915123456799"
BOT_LID, ADA_LID = "469567656726543", "520549316056178"
GROUP = "120363979544230949"
REF = "2@57t2FvZiwKKTDTQPkkfUptsTrKWbPFc8t/7JVp9iqOA0Fz+GBcMsXWAM07QGSYK4WnWZ0wSInLe1tEpI"
NOISE, IDENTITY, ADV = (
    "wCh6LBqCBSTfT+JAwYXuYcC8RMEGJPWFAEq9QBkQkTE=",
    "sbcoiV5xY1U5H8q1c7u2VnEbLZ9jGJUmQ98YuelZyS8=",
    "Dy0FFcjl5GTsW2uiSYp97eu1iTyqitbIqbb73VIAESw=",
)
CODE = f"https://wa.me/settings/linked_devices#{REF},{NOISE},{IDENTITY},{ADV},6"
KEY = "b1b728895e716355391fcab573bbb656711b2d9f6318952643df18b9e959c92f"

# What neonize 0.5.2 printed at DEBUG in the sandbox: linking, messages, a group, look-ups, unlinking. Numbers,
# names and keys are made up; long lists of keys are cut to a few.
PRINTED = {
    f'<iq from="s.whatsapp.net" id="sandbox-1" t="1795354074" type="set" xmlns="md"><pair-device><ref>{REF}</ref>'
    "<ref>2@2AWGDcaYB4LyxyfTYESAJyOnclvdf5jgMY3EA4Cn0j0RxtqcWsRv40vR8dIbrmAnp7AW2Q2sFZ4c+kpI</ref></pair-device></iq>": (
        '<iq from="s.whatsapp.net" id="sandbox-1" t="1795354074" type="set" xmlns="md"><pair-device><ref>…</ref>'
        "<ref>…</ref></pair-device></iq>"
    ),
    f"Emitting QR code {CODE}": "Emitting QR code [QR code]",
    '<iq from="s.whatsapp.net" id="sandbox-2" t="1795354074" type="set" xmlns="md"><pair-success><device-identity>'
    f'<!-- 156 bytes --></device-identity><biz/><device jid="{BOT}:1@s.whatsapp.net" lid="{BOT_LID}:1@lid"/>'
    '<platform name="android"/></pair-success></iq>': (
        '<iq from="s.whatsapp.net" id="sandbox-2" t="1795354074" type="set" xmlns="md"><pair-success><device-identity>'
        '<!-- 156 bytes --></device-identity><biz/><device jid="+49…01:1@s.whatsapp.net" lid="…43:1@lid"/>'
        '<platform name="…"/></pair-success></iq>'
    ),
    '<stream:error code="515"/>': '<stream:error code="515"/>',
    '<stream:error code="401"><conflict type="device_removed"/></stream:error>': (
        '<stream:error code="401"><conflict type="device_removed"/></stream:error>'
    ),
    "Login event: success": "Login event: success",
    "Press Ctrl+C to exit": "Press Ctrl+C to exit",
    "Got 515 code, reconnecting...": "Got 515 code, reconnecting...",
    f"Successfully paired {BOT}:1@s.whatsapp.net": "Successfully paired +49…01:1@s.whatsapp.net",
    "Closing channel with status {Event:success Error:<nil> Code: Timeout:0s PasskeyRequest:<nil>}": (
        "Closing channel with status {Event:success Error:<nil> Code: Timeout:0s PasskeyRequest:<nil>}"
    ),
    "Frame websocket read pump starting 0x37e31acc2000": "Frame websocket read pump starting 0x37e31acc2000",
    f'<success abprops="1" display_name="Bob Bot" lid="{BOT_LID}:1@lid" location="cln" props="27" t="1795354074"/>': (
        '<success abprops="1" display_name="…" lid="…43:1@lid" location="cln" props="27" t="1795354074"/>'
    ),
    "Database has 0 prekeys, server says we have 812": "Database has 0 prekeys, server says we have 812",
    '<iq id="181.96-2" to="s.whatsapp.net" type="set" xmlns="encrypt"><registration>9013fb62</registration>'
    f"<type>05</type><identity>{KEY}</identity><list><key><id>000001</id><value>{KEY}</value></key></list></iq>": (
        '<iq id="181.96-2" to="s.whatsapp.net" type="set" xmlns="encrypt"><registration>…</registration>'
        "<type>…</type><identity>…</identity><list><key><id>…</id><value>…</value></key></list></iq>"
    ),
    f"LID for {ADA}@s.whatsapp.net not found, fetching user info": (
        "LID for +49…02@s.whatsapp.net not found, fetching user info"
    ),
    f"Replacing SendMessage destination with LID {ADA}@s.whatsapp.net -> {ADA_LID}@lid": (
        "Replacing SendMessage destination with LID +49…02@s.whatsapp.net -> …78@lid"
    ),
    f'<message id="3EB0BB6703922EC7AEB9AD" peer_recipient_pn="{ADA}@s.whatsapp.net" to="{ADA_LID}@lid" type="text">'
    f'<participants><to jid="{ADA_LID}@lid"><enc type="pkmsg" v="2"><!-- 179 bytes --></enc></to></participants>'
    '<bot biz_bot="1"/></message>': (
        '<message id="3EB0BB6703922EC7AEB9AD" peer_recipient_pn="+49…02@s.whatsapp.net" to="…78@lid" type="text">'
        '<participants><to jid="…78@lid"><enc type="pkmsg" v="2"><!-- 179 bytes --></enc></to></participants>'
        '<bot biz_bot="1"/></message>'
    ),
    f'<message addressing_mode="lid" from="{ADA_LID}@lid" id="3EB042D809199DC07E8129" notify="Ada Lovelace" '
    f'sender_pn="{ADA}@s.whatsapp.net" t="1795354076" type="text"><enc type="msg" v="2">330a21052b3b5d8b001a096b916'
    "31bd1718dbf01abcf741cb2bd585f929a864b215d73131000180022405b53c37d600dde08afcdeb0828f8</enc></message>": (
        '<message addressing_mode="lid" from="…78@lid" id="3EB042D809199DC07E8129" notify="…" '
        'sender_pn="+49…02@s.whatsapp.net" t="1795354076" type="text"><enc type="msg" v="2">…</enc></message>'
    ),
    f"Decrypting message from {ADA_LID}@lid in {GROUP}@g.us": "Decrypting message from …78@lid in …49@g.us",
    f"Processed sender key distribution message from {ADA_LID}_1:0 in {GROUP}@g.us": (
        "Processed sender key distribution message from …78_1:0 in …49@g.us"
    ),
    f"Push name of {ADA_LID}@lid changed from  to Ada Lovelace, dispatching event": (
        "Push name of …78@lid changed from …"
    ),
    '<iq id="181.96-12" to="g.us" type="set" xmlns="w:g2"><create subject="Family secrets"><participant '
    f'jid="{ADA}@s.whatsapp.net"/><member_add_mode>all_member_add</member_add_mode><ephemeral expiration="0"/>'
    "</create></iq>": (
        '<iq id="181.96-12" to="g.us" type="set" xmlns="w:g2"><create subject="…"><participant '
        'jid="+49…02@s.whatsapp.net"/><member_add_mode>…</member_add_mode><ephemeral expiration="0"/>'
        "</create></iq>"
    ),
    '<iq from="s.whatsapp.net" id="181.96-11" type="result"><media_conn auth="0IhniAGtxwYfWLNgcrDw7QbRkTALmLH4" '
    'auth_ttl="21600" ttl="300"><host hostname="mmg.whatsapp.net"/></media_conn></iq>': (
        '<iq from="s.whatsapp.net" id="181.96-11" type="result"><media_conn auth="…" '
        'auth_ttl="21600" ttl="300"><host hostname="mmg.whatsapp.net"/></media_conn></iq>'
    ),
    f'<create type="new"><group creation="1795354076" creator="{BOT_LID}@lid" creator_pn="{BOT}@s.whatsapp.net" '
    f'id="{GROUP}" size="2" subject="Family secrets"><participant jid="{BOT_LID}@lid" '
    f'phone_number="{BOT}@s.whatsapp.net" type="superadmin"/></group></create>': (
        '<create type="new"><group creation="1795354076" creator="…43@lid" creator_pn="+49…01@s.whatsapp.net" '
        'id="…49" size="2" subject="…"><participant jid="…43@lid" '
        'phone_number="+49…01@s.whatsapp.net" type="superadmin"/></group></create>'
    ),
    f'<iq id="181.96-13" to="{GROUP}@g.us" type="set" xmlns="w:g2"><subject>Family secrets</subject></iq>': (
        '<iq id="181.96-13" to="…49@g.us" type="set" xmlns="w:g2"><subject>…</subject></iq>'
    ),
    f"<list><user><contact>+{ADA}@c.us</contact></user><user><contact>+{NOBODY}@c.us</contact></user></list>": (
        "<list><user><contact>…</contact></user><user><contact>…</contact></user></list>"
    ),
    f'<user jid="{ADA_LID}@lid" pn_jid="{ADA}@s.whatsapp.net"><status>Family secrets & more</status></user>': (
        '<user jid="…78@lid" pn_jid="+49…02@s.whatsapp.net"><status>…</status></user>'
    ),
    f"SendMessage: Error sending message: no LID found for {NOBODY}@s.whatsapp.net from server": (
        "SendMessage: Error sending message: no LID found for +49…99@s.whatsapp.net from server"
    ),
    "Error reading from websocket: failed to get reader: received close frame: status = StatusNormalClosure and "
    'reason = ""': (
        "Error reading from websocket: failed to get reader: received close frame: status = StatusNormalClosure and "
        'reason = ""'
    ),
    f'<iq id="114.217-1" to="s.whatsapp.net" type="set" xmlns="md"><link_code_companion_reg jid="{BOT}@s.whatsapp.net" '
    'should_show_push_notification="true" stage="companion_hello"><link_code_pairing_ref>607e0f366845b2f9738f21c8'
    "</link_code_pairing_ref></link_code_companion_reg></iq>": (
        '<iq id="114.217-1" to="s.whatsapp.net" type="set" xmlns="md"><link_code_companion_reg '
        'jid="+49…01@s.whatsapp.net" should_show_push_notification="true" stage="companion_hello">'
        "<link_code_pairing_ref>…</link_code_pairing_ref></link_code_companion_reg></iq>"
    ),
    '<failure reason="402" code="101" expire="3600" location="cln"/>': (
        '<failure reason="402" code="101" expire="3600" location="cln"/>'
    ),
    "Pair Code: YF9D-PGHX": "Pair Code: [link code]",
    "Got device removed stream error, sending LoggedOut event and deleting session": (
        "Got device removed stream error, sending LoggedOut event and deleting session"
    ),
}
SECRETS = (BOT, ADA, NOBODY, BOT_LID, ADA_LID, GROUP, REF, NOISE, IDENTITY, ADV, KEY, "Ada Lovelace", "Family secrets",
           "Bob Bot", "330a21052b3b5d8b", "0IhniAGtxwYf", "607e0f366845", "YF9D-PGHX")  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), PRINTED.items())
def test_what_the_library_prints(line: str, expected: str) -> None:
    assert redact(line) == expected
    assert redact(f"13:27:54.744 [whatsmeow.Client DEBUG] - {line}") == (
        f"13:27:54.744 [whatsmeow.Client DEBUG] - {expected}"
    )


def test_nothing_of_it_gets_through() -> None:
    everything = redact("\n".join(PRINTED))
    assert [secret for secret in SECRETS if secret in everything] == []


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22T10:00:00.123Z INFO orchestrator.service.supervisor: support: starting → connecting",
        "at 1795354074 (1795354074.123456, 1795354074123 ms) on 20261122 and 20261122100000 20261122T100000Z",
        "monotonic 16777216.12345678 and 0.123456789",
        "process 4194304 on port 54321 ended with -11",
        "memory_bytes=21000000 size: 12345678901 length='99999999' pid=12345678",
        "12345678901 bytes free, 84123456789 B, took 123456789 ns, 98765432 KiB",
        '{"name": "support", "memory_bytes": 21000000, "uptime_s": 3600.2}',
        "client version 2.3000.1047769893",
        "/var/lib/orchestrator/qr/support.png and /home/Ada/.local/state/orchestrator/quarantine/sales-br-20261122T100000Z",
        "/tmp/pytest-of-root/pytest-12/test_a_code_is_shown_atomically0/state/sessions/support.sqlite3-journal",
        'File "/usr/lib/python3.11/concurrent/futures/thread.py", line 58, in run',
        "<orchestrator.service.supervisor.Supervisor object at 0x7f1234567890> in <module>",
        "<Task pending name='Task-12' coro=<Supervisor.run() running at /srv/orchestrator/supervisor.py:120>>",
        "id 3EB042D80919912345678AD and uuid 123e4567-e89b-12d3-a456-426614174000",
        "https://ffmpeg.org/download.html and http://127.0.0.1:54321/a/b@c?d=e and wss://web.whatsapp.com/ws/chat",
        "status@broadcast, 0@s.whatsapp.net",
        "commit 0743e93dccb4231118492abcdefabcdefabcdef0 +0100, +5 and 1 < 2 > 0",
        "accounts.yaml:3: expected a duration, found: 'x'",
        "LONG-TERM and ABCD-EFGH-JKLM, 2026-1122",
        "neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2.DeviceProps.PlatformType",
        "orchestrator_supervisor_restarts_after_a_crash_with_exit_code_minus_eleven_in_total",
    ],
)
def test_what_makes_a_log_readable_stays(line: str) -> None:
    assert redact(line) == line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+49 151 23456701 called", "+49…01 called"),
        ("+49 (151) 234-567.01", "+49…01"),
        ("+1 555-010-0000", "+1…00"),
        ("+15550100", "+1…00"),
        ("+4915123456701 12345678 bytes", "+49…01 12345678 bytes"),
        ("call +49 151 23456701 2026-11-22", "call +49…01 2026-11-22"),
        (f"{BOT}, {ADA}.", "+49…01, +49…02."),
        (f"from={BOT}", "from=+49…01"),
        (f"phone{BOT}x", "phone+49…01x"),
        (f"text\\n{BOT}", "text\\n+49…01"),
        (f"https://wa.me/{BOT}", "https://wa.me/+49…01"),
        (f"/qr/{BOT}.png", "/qr/+49…01.png"),
        ("16505361212", "+1…12"),
        ("351912345678 420123456789", "+351…78 +420…89"),
        ("12345678", "+1…78"),
        ("00491512345670", "…70"),
        (f"({ADA_LID})", "(…78)"),
        (f"{BOT}.0:12@s.whatsapp.net", "+49…01.0:12@s.whatsapp.net"),
        (f"{BOT}:12@hosted {ADA_LID}@hosted.lid", "+49…01:12@hosted …78@hosted.lid"),
        (f"{BOT}-1600000000@g.us", "…00@g.us"),
        (f"{BOT}@c.us.", "+49…01@c.us."),
        (f"12345@lid{ADA_LID}@lid", "…45@lid…78@lid"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REF, "[QR code]"),
        (f'{{"text": "{CODE}"}}', '{"text": "…"}'),
        (f"('{REF},{NOISE},{IDENTITY}')", "('[QR code]')"),
        (f"only {IDENTITY}", "only [key]"),
        ("http://wa.me/settings/linked_devices%232%40abc,def", "[QR code]"),
        ("code: ABCDEFGH", "code: [link code]"),
        ('{"code": "ABCDEFG9"}', '{"code": "[link code]"}'),
        ("the code is ABCDEFGH.", "the code is [link code]."),
        ("\\nABCD-EFG1\\n", "\\n[link code]\\n"),
        ("socks5://ada:secret@proxy.example.org:1080", "socks5://***@proxy.example.org:1080"),
        ("http://ada:se/cr@et@127.0.0.1:1080/x", "http://***@127.0.0.1:1080/x"),
        ("http://ada:se/cret", "http://***"),
        ("http://token@host/path@2 x", "http://***@host/path@2 x"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        (
            "(the proxy http://h:3128): one, http://h:3128, it",
            "(the proxy http://h:3128): one, http://h:3128, it",
        ),
        ("http://ada:secret), it", "http://*** it"),
        ("Proxy-Authorization: Basic YWRhOnNlY3JldA==", "Proxy-Authorization: Basic ***"),
        ("{'authorization': 'Bearer abc.def'}", "{'authorization': 'Bearer ***'}"),
        (f"key {KEY} and {KEY.upper()}{KEY}", "key [key] and [key]"),
        (f"{ADV[:-1].replace('/', '_').replace('+', '-')} raw", "[key] raw"),
        (f"/state/quarantine/support/{IDENTITY[:-1]}/more", "/state/quarantine/support/[key]/more"),
        (":".join(["aB", "09"] * 16), "[key]"),
        (f"[{' '.join(['12'] * 32)}]", "[key]"),
        (f"{list(range(32))}", "[key]"),
        (repr(bytes(range(128, 160))), "b'[key]'"),
        (r'adv: "\005\252\001\220ab\310\377\233\200\201\202\203 \204"', 'adv: "[key] \\204"'),
    ],
)
def test_secrets(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('conversation: "My PIN is 1234"', 'conversation: "…"'),
        ('Message:{conversation:"a \\"PIN\\" b"  messageContextInfo:{x:1}}', 'Message:{conversation:"…"  messageContextInfo:{x:1}}'),
        ('extendedTextMessage {\n  text: "PIN"\n  matchedText: "PIN"\n}', 'extendedTextMessage {\n  text: "…"\n  matchedText: "…"\n}'),
        ("{'pushName': 'Ada', 'id': 'X'}", "{'pushName': '…', 'id': 'X'}"),
        ('{\\"caption\\": \\"the PIN\\", \\"id\\": 1}', '{\\"caption\\": \\"…\\", \\"id\\": 1}'),
        ('caption: "cut off before the e', 'caption: "…'),
        ("Business name of x@lid changed from Ada to Bob, dispatching event", "Business name of x@lid changed from …"),
        ("Got push name Ada for 1@lid in history sync", "Got push name …"),
        ('<message t="1"><body>1 < 2 & <b>PIN</b> > 3</body></message> done', '<message t="1"><body>…<b>…</b>…</body></message> done'),
        ('<message t="1"><body>PIN without an e', '<message t="1"><body>…'),
        ('<message t="1"><body>a</body> <br> PIN', '<message t="1"><body>…</body>…<br>…'),
        ('failed: <x y="PIN" id="7"/>: why', 'failed: <x y="…" id="7"/>: why'),
        ("see <path>, then <plaintext>PIN</plaintext> end", "see <path>, then <plaintext>…</plaintext> end"),
        ('<x type="a PIN b" id="">', '<x type="…" id="">'),
    ],
)  # fmt: skip
def test_what_people_write(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_drawn_codes() -> None:
    art = "█▀▀▀▀▀█ ▄█▄\n█ ███ █ ▀▄ \n▀▀▀▀▀▀▀ ▀ ▀"
    assert redact(f"scan:\n{art}\nnow") == "scan:\n[QR code]\nnow"
    assert redact("█▀▀▀▀▀█ ▄█▄ \n") == "[QR code] \n"
    assert redact("50 % ██▌") == "50 % ██▌"
    lines = redact(draw.terminal(CODE)).splitlines()
    assert not any(block in line for line in lines for block in "▀▄█")
    tiles = "\x1b[7m    \x1b[0m\x1b[49m  \x1b[0m\x1b[7m  \x1b[0m\x1b[49m  \x1b[0m\n"
    assert redact(tiles * 2) == "[QR code]"


@pytest.mark.parametrize(
    ("digits", "shown"),
    [
        ("15550100", "+1…00"),
        ("79991234567", "+7…67"),
        ("4915123456778", "+49…78"),
        ("201001234567", "+20…67"),
        ("210123456789", "+210…89"),
        ("351912345678", "+351…78"),
        ("8801712345678", "+880…78"),
        ("99891234567", "+998…67"),
        ("+4915123456778", "+49…78"),
        ("123456", "…"),
        ("", "…"),
        ("+49…78", "…"),
        ("no number", "…"),
        ("٤٩١٥١٢٣٤٥٦", "…"),
    ],
)
def test_masked_numbers(digits: str, shown: str) -> None:
    assert mask_number(digits) == shown


FRAGMENTS = (
    *SECRETS, *"…+-@.:/ \n\"'=()[]", "+49 151 2345678", "@s.whatsapp.net", "@lid", ":3", "_1:0", "…78", "0x", "ab",
    "\\n", "2@", "abcdefghijklmnop,", CODE, "://", "user:pa/ss@", '<a b="', '">', "</a>", "<a>", "<b/>", 'text: "',
    "text:'", '\\"', "\\", "\\001" * 9, "aB3" * 15, "aB3/" * 8, "a1" * 32, "ABCD-EFGH", "code ", "█▀", "█████",
    "\x1b[0m" * 6, "Push name of x changed from ", "Got push name ", "[1 ", "1 " * 31, "1]", "ab:" * 31,
    "authorization: basic ", "size=", " bytes", "20261122", "1795354074", 'id="', "***", "[key]", "[QR code]",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5) | st.from_regex("[0-9]{5,16}"), max_size=14))
def test_doing_it_twice_changes_nothing(parts: list[str]) -> None:
    once = redact("".join(parts))
    assert redact(once) == once


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([BOT, ADA_LID, f"{BOT}:2@s.whatsapp.net", f"+{BOT}", CODE, REF, NOISE, KEY]),
    st.text(
        alphabet=st.characters(exclude_categories=["L", "N", "Cs"], exclude_characters="…/+_-@.=%"),
        max_size=20,
    ),
    st.text(
        alphabet=st.characters(exclude_categories=["L", "N", "Cs"], exclude_characters="…/+_-@=%"),
        max_size=20,
    ),
)
def test_a_secret_is_found_whatever_is_around_it(secret: str, before: str, after: str) -> None:
    shown = redact(before + secret + after)
    assert not any(part in shown for part in (BOT, ADA_LID, REF[2:30], NOISE[:30], KEY[:30]))


@pytest.mark.parametrize(
    "unit",
    [
        "1", "a", "+", "+1 ", "2@", "2@" + "A" * 40 + ",", "://", "x://a:b", "<a", '<a b="', "<a>", '<a b="c">', "</a>",
        "aB3", "/aB3", "/abc", "ab", "12345:", "12345@lid", "12345_", "\\x", "\\x00", "\\", 'text:"', "text:", "█ ",
        "\x1b[0m", "\x1b[", "ABCD-", "ab:", "[1 ", "1 ", "Push name of x changed from ", "Got push name ",
        "authorization: basic ", " ", "12345678a", "1-", "12345678 ", "code ", '"', "size=",
    ],
)  # fmt: skip
def test_the_time_is_linear_in_the_length(unit: str) -> None:
    # A second for a megabyte was measured for the slowest of them; were one quadratic, it would be hours.
    text = f"@ = </ {unit * (1_000_000 // len(unit))}"
    start = time.process_time()
    redact(text)
    assert time.process_time() - start < 10


def make_record(message: object, *args: object, **more: object) -> logging.LogRecord:
    record = logging.LogRecord("test", logging.INFO, __file__, 1, message, args, None)
    vars(record).update(more)
    return record


def test_a_record_is_redacted_with_its_arguments() -> None:
    record = make_record("paired %s as %s, 100%%", BOT, object)
    assert RedactingFilter().filter(record)
    assert record.getMessage() == "paired +49…01 as <class 'object'>, 100%"
    assert record.args == ()


def test_a_record_is_redacted_with_its_traceback_and_stack() -> None:
    try:
        raise ValueError(f"no LID for {BOT}")
    except ValueError as error:
        record = make_record(
            "failed", exc_info=(ValueError, error, error.__traceback__), stack_info=f"of {ADA}"
        )
    RedactingFilter().filter(record)
    text = logging.Formatter().format(record)
    assert "ValueError: no LID for +49…01" in text
    assert "Traceback (most recent call last)" in text
    assert "of +49…02" in text
    assert BOT not in repr(vars(record))


def test_a_text_of_an_exception_that_is_there_already_is_redacted() -> None:
    record = make_record("failed", exc_text=f"of {BOT}")
    RedactingFilter().filter(record)
    assert record.exc_text == "of +49…01"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (make_record(f"a %d b {BOT}", "x"), "a %d b +49…01 [its arguments do not fit: TypeError]"),
        (make_record("a %s", Broken()), "a %s [its arguments do not fit: RuntimeError]"),
        (make_record(Broken()), "[a message that cannot be shown: RuntimeError]"),
        (make_record("a %s b", "c", "d"), "a %s b [its arguments do not fit: TypeError]"),
        (make_record(None), "None"),
        (make_record("\udc80"), "\udc80"),
    ],
)
def test_the_filter_never_raises(record: logging.LogRecord, shown: str) -> None:
    for _ in range(2):
        assert RedactingFilter().filter(record)
        assert record.getMessage() == shown


def test_the_filter_survives_an_error_that_cannot_be_shown() -> None:
    error = BrokenError()
    record = make_record("failed", exc_info=(BrokenError, error, None))
    assert RedactingFilter().filter(record)
    assert "failed" in logging.Formatter().format(record)
    assert RedactingFilter().filter(make_record("x", exc_info="no triple"))
