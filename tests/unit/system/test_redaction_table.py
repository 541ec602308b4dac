"""What must be masked, and what must not: one line for each form that was ever tried."""
# ruff: noqa: E501 - lines as they are printed, digits of other scripts

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.system.redaction import redact

random_bytes = random.Random(11).randbytes
K16, K20, K24, K32 = (random_bytes(size) for size in (16, 20, 24, 32))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


DECIMALS = [str(one) for one in K32]
PAIRS = [f"{one:02x}" for one in K32]
HEX = [f"0x{one:02x}" for one in K32]
ARABIC = "4915112345678".translate({48 + digit: 0x660 + digit for digit in range(10)})
PERSIAN = "4915112345678".translate({48 + digit: 0x6F0 + digit for digit in range(10)})
DEVANAGARI = "4915112345678".translate({48 + digit: 0x966 + digit for digit in range(10)})
FULL = "4915112345678".translate({48 + digit: 0xFF10 + digit for digit in range(10)})
FILE = "https://mmg.whatsapp.net/v/t62.7118-24/31234567_8_n.enc?ccb=11-4&oh=01_Q5AaILqWxyz&oe=66A1B2C3&_nc_sid=5e03e0"

MASKED: list[tuple[str, str | tuple[str, ...]]] = [
    # Tokens of ours and of others
    (f"whsec_{b64(K24)}", b64(K24)),
    (f"secret whsec_{b64(K32)} set", b64(K32)),
    (f"'whsec_{b64(K24)}'", b64(K24)),
    (f'{{"signing": "whsec_{url64(K24)}"}}', url64(K24)),
    (f"url?s=whsec_{url64(K24)}&x=1", url64(K24)),
    (f"WHSEC_{b64(K24)}", b64(K24)),
    ("orc_abcdefghijklmnop", "abcdefghijklmnop"),
    (f"orc_{url64(K20)}", url64(K20)),
    (f"using token orc_{K16.hex()}, ok", K16.hex()),
    (f"Bearer orc_{url64(K32)}", url64(K32)),
    (f"http://127.0.0.1:8080/#orc-code=orc_0123456789ab_{url64(K32)}", url64(K32)),
    (f"Cookie: orchestrator-8080=orc_0123456789ab_{url64(K32)}", url64(K32)),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghij"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----", "MIIEvQ"),
    # Short secrets behind a word
    *(
        (f"{word}={text}", text)
        for word in ("secret", "token", "key", "api_key", "signing-key", "noiseKey")
        for text in (b64(K16), b64(K20), b64(K24), K16.hex())
    ),
    *(
        (f"{word}: {text}", text)
        for word in ("secret", "token", "media key", "encKey", "adv secret key")
        for text in (b64(K16), url64(K20), K16.hex())
    ),
    (f"the secret is {b64(K16)}", b64(K16)),
    (f"token {K16.hex()} was refused", K16.hex()),
    (f"key '{b64(K16)}'", b64(K16)),
    (f"key {K20.hex().upper()}", K20.hex().upper()),
    (f'{{"mediaKey":"{b64(K24)}"}}', b64(K24)),
    # Words with a value
    ("GET /ws?access_token=hunter2abc HTTP/1.1", "hunter2abc"),
    ("https://h.example/x?a=1&access_token=hunter2&b=2", "hunter2"),
    ("?ACCESS_TOKEN=hunter2", "hunter2"),
    ("?token=hunter2#x", "hunter2"),
    ("X-Api-Key: hunter2", "hunter2"),
    ("x-api-key:hunter2", "hunter2"),
    ("{'X-Api-Key': 'hunter2'}", "hunter2"),
    ('{"api_key":"hunter2"}', "hunter2"),
    ("apikey=hunter2", "hunter2"),
    ("api-key = hunter2", "hunter2"),
    ("api_key%3Dhunter2", "hunter2"),
    ("Cookie: sid=abc; theme=dark", ("abc", "dark")),
    ("cookie: session=abcdef", "abcdef"),
    ("Set-Cookie: sid=abc; HttpOnly", "abc"),
    ("{'Cookie': 'a=hunter2; b=hunter3'}", ("hunter2", "hunter3")),
    ("COOKIE=hunter2", "hunter2"),
    ("Authorization: Bearer abc.def", "abc.def"),
    ("authorization: bearer hunter2", "hunter2"),
    ("Authorization: hunter2", "hunter2"),
    ('"Authorization": "Bearer hunter2"', "hunter2"),
    ("AUTHORIZATION: BASIC aHVudGVyOjI=", "aHVudGVyOjI"),
    ("Authorization=Bearer hunter2", "hunter2"),
    ("sent Bearer a1b2c3d4e5f6", "a1b2c3d4e5f6"),
    ("password=hunter2", "hunter2"),
    ("password=swordfish and more", "swordfish"),
    ("password = hunter2", "hunter2"),
    ("password: hunter2", "hunter2"),
    ("password: swordfish", "swordfish"),
    ("  password: correct horse battery staple", ("horse", "battery", "staple")),
    ("a: 1\npassword: correct horse\nb: 2", ("correct", "horse")),
    ("- password: hunter2", "hunter2"),
    ("password: |\n  hunter2\n  more", ("hunter2", "more")),
    ('password: "hunter 2"', "hunter 2"),
    ('{"password": "hunter\\" 2"}', ("hunter", " 2")),
    ('{\\"password\\": \\"hunter2\\"}', "hunter2"),
    ("{'password': 'hunter 2'}", "hunter"),
    ('{"password":\n  "hunter2"}', "hunter2"),
    ('{"password":\n        "hunter2"}', "hunter2"),
    ("password:\n  hunter2", "hunter2"),
    ("PASSWORD=hunter2", "hunter2"),
    ("PGPASSWORD=hunter2 psql", "hunter2"),
    ("DB_PASSWORD='hunter 2'", "hunter"),
    ("db.password=hunter2", "hunter2"),
    ("passwd=hunter2", "hunter2"),
    ("pwd=hunter2", "hunter2"),
    ("passphrase: hunter2", "hunter2"),
    ("Password:hunter2", "hunter2"),
    ("{User:ada Password:hunter2 Host:h}", "hunter2"),
    ("Config(user='ada', password='hunter2')", "hunter2"),
    ("login failed, password: hunter2, host: h", "hunter2"),
    ("password%3Dhunter2", "hunter2"),
    ("password=hun,ter;two", ("hun", "ter", "two")),
    ("<password>hunter2</password>", "hunter2"),
    ("run --password hunter2", "hunter2"),
    ("run --db-password hunter2 --port 1", "hunter2"),
    ("run --token=hunter2", "hunter2"),
    ("run --api-key hunter2", "hunter2"),
    ("client_secret=hunter2", "hunter2"),
    ("clientSecret: 'hunter2'", "hunter2"),
    ("AWS_SECRET_ACCESS_KEY=hunter2", "hunter2"),
    ("secret_key: hunter2", "hunter2"),
    ("SECRET=hunter2", "hunter2"),
    ("credentials=ada:hunter2", "hunter2"),
    ("host=db.example port=5432 user=ada password=hunter2 dbname=x", "hunter2"),
    ("dsn: host=db.example password='hunter 2'", "hunter"),
    ("DSN host=h password=hunter2", "hunter2"),
    ("dsn=postgres://ada:hunter2@h/x", "hunter2"),
    ("postgres://u:hunter2@db.example:5432/x", "hunter2"),
    ("postgresql+asyncpg://u:hunter2@h/x?sslmode=require", "hunter2"),
    ("redis://:hunter2@h:6379/0", "hunter2"),
    ("amqps://u:hu/nter2@h", "hu/nter2"),
    ("the password is hunter2", "hunter2"),
    ("api key: hunter2", "hunter2"),
    ("api.key=hunter2", "hunter2"),
    ("access_token%22%3A%22hunter2%22", "hunter2"),
    ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("signature=sha256=abcdef0123456789abcdef0123456789", "abcdef0123456789"),
    # Bytes written out
    (":".join(PAIRS[:16]), ":".join(PAIRS[:4])),
    (" ".join(PAIRS), " ".join(PAIRS[:4])),
    (" ".join(PAIRS[:16]), " ".join(PAIRS[:4])),
    (" ".join(PAIRS).upper(), " ".join(PAIRS[:4]).upper()),
    ("\n".join(" ".join(PAIRS[at : at + 8]) for at in range(0, 32, 8)), " ".join(PAIRS[1:4])),
    ("key: " + "-".join(PAIRS), "-".join(PAIRS[:4])),
    (":".join(PAIRS), ":".join(PAIRS[:4])),
    (" ".join("".join(PAIRS[at : at + 2]) for at in range(0, 32, 2)), "".join(PAIRS[4:6])),
    (", ".join(HEX), HEX[3] + ", " + HEX[4]),
    (",".join(HEX).upper(), HEX[3].upper()),
    (f"[]byte{{{', '.join(HEX)}}}", ", ".join(HEX[:3])),
    (f"{{{', '.join(HEX[:16])}}}", ", ".join(HEX[:3])),
    (",\n".join(HEX), HEX[3]),
    (" ".join(HEX), " ".join(HEX[:3])),
    (f"[{' '.join(DECIMALS)}]", " ".join(DECIMALS[:3])),
    (f"[{', '.join(DECIMALS)}]", ", ".join(DECIMALS[:3])),
    (f"[{' '.join(DECIMALS[:16])}]", " ".join(DECIMALS[:3])),
    (f"({', '.join(DECIMALS)})", ", ".join(DECIMALS[:3])),
    (",".join(DECIMALS), ",".join(DECIMALS[:3])),
    (" ".join(DECIMALS), " ".join(DECIMALS[:3])),
    ("[\n  " + ",\n  ".join(DECIMALS) + "\n]", DECIMALS[4] + ",\n"),
    ("".join(f"%{one}" for one in PAIRS), "".join(f"%{one}" for one in PAIRS[:3])),
    ("".join(f"\\x{one}" for one in PAIRS), "".join(f"\\x{one}" for one in PAIRS[:3])),
    (K32.hex(), K32.hex()[:20]),
    (b64(K32), b64(K32)[:20]),
    (url64(K32), url64(K32)[:20]),
    # What people write
    ("{JID:1@lid PushName:Ada Lovelace Timestamp:2026}", ("Ada", "Lovelace")),
    ("PushName:Ada Lovelace", ("Ada", "Lovelace")),
    ("&{PushName:Ada}", "Ada"),
    ("map[PushName:Ada Lovelace]", ("Ada", "Lovelace")),
    ("{FullName:Ada Lovelace FirstName:Ada BusinessName: Found:true}", ("Ada", "Lovelace")),
    ("push_name=Ada Lovelace", ("Ada", "Lovelace")),
    ("pushname: Ada Lovelace", ("Ada", "Lovelace")),
    ("push_name='Ada Lovelace'", ("Ada", "Lovelace")),
    ('PushName="Ada Lovelace"', ("Ada", "Lovelace")),
    ("PUSHNAME:Ada", "Ada"),
    ("{Conversation:my pin is 12}", "my pin"),
    ("{FileName:CV Ada.pdf Mimetype:x}", ("CV", "Ada")),
    ("fileName=CV-Ada.pdf", "CV-Ada"),
    ('filename="CV Ada.pdf"', "Ada"),
    ("file_name: CV Ada.pdf", "Ada"),
    ('{"fileName": "CV Ada.pdf"}', "Ada"),
    ("filename*='CV Ada.pdf'", "Ada"),
    ("ada.lovelace@example.org", "ada"),
    ("mail Ada <ada@example.org>", "ada"),
    ("ADA@EXAMPLE.ORG", "ADA"),
    ("mailto:ada+x@mail.example.co.uk?subject=1", "ada"),
    ("ada%40example.org", "ada"),
    ("'ada_l@example.org',", "ada_l"),
    ("write to ada@example.org.", "ada"),
    ('"ada lovelace"@example.org', "lovelace"),
    (FILE, ("oh=01", "31234567", "66A1B2C3")),
    (FILE.replace("&", "\\u0026"), ("01_Q5", "31234567")),
    (FILE.replace("&", "&amp;"), ("01_Q5", "31234567")),
    (FILE.removeprefix("https://mmg.whatsapp.net"), ("01_Q5", "31234567")),
    (f'directPath:"{FILE.removeprefix("https://mmg.whatsapp.net")}"', ("01_Q5", "31234567")),
    ("oh=01_Q5AaILqWxyz", "01_Q5"),
    # Link codes
    ("ABCD-EFG1", "EFG1"),
    ("abcd-efg1", "efg1"),
    ("pair code abcd-efgh", "efgh"),
    ("pairing code: abcd efgh", "efgh"),
    ("Pair Code: ABCD EFGH", "EFGH"),
    ("link code is ABCDEFGH", "EFGH"),
    ("link code: abcdefgh", "efgh"),
    ("linkCode=abcdefgh", "efgh"),
    ("pair_code='abcd-efgh'", "efgh"),
    ("code: abcdefg1", "efg1"),
    ("code: abcd efg1", "efg1"),
    ("ABCD EFG1", "EFG1"),
    ("ABCDEFG1", "ABCDEFG"),
    ("the code ABCDEFGH", "EFGH"),
    ("ABCD\u00a0EFG1", "EFG1"),
    ("pair code ABCD\u2011EFGH", "EFGH"),
    ("your code is abcd-efgh", "efgh"),
    ("ABCD\u2013EFG1", "EFG1"),
    # Numbers
    ("49 - 151 - 1234567", "1234567"),
    ("49 151 1234 5678", ("1234", "5678")),
    ("called 49 151 1234 5678 now", ("1234", "5678")),
    ("49-151-1234-5678", "1234"),
    ("49\u00a0151\u00a01234\u00a05678", "1234"),
    ("49\u202f151\u202f1234\u202f5678", "1234"),
    ("49\u2011151\u20111234\u20115678", "1234"),
    ("49 (151) 1234 5678", "1234"),
    ("49 (0)151 1234567", "1234567"),
    ("(49) 151 1234567", "1234567"),
    ("0049 151 1234567", "1234567"),
    ("1 202 555 0104", "555"),
    ("1-202-555-0104", "555"),
    ("202-555-0104", "555"),
    ("202.555.0104", "555"),
    ("(202) 555-0104", "555"),
    ("202 555 0104", "555"),
    ("49.151.1234.5678", "1234"),
    ("0151/1234567", "1234567"),
    ("0151/123 45 67", "123 45"),
    ("0151-1234567", "1234567"),
    ("0151 1234567", "1234567"),
    ("0151.1234567", "1234567"),
    ("(0151) 1234-5678", ("1234", "5678")),
    ("01 23 45 67 89", "45 67"),
    ("01.23.45.67.89", "45.67"),
    ("phone: 202-555-0104", "555"),
    ('{"phone": "49 151 1234 5678"}', "1234"),
    ("phone=1795354074123", "535407"),
    ("from=1695354074", "535407"),
    ("https://wa.me/1795354074123", "535407"),
    ("+1795354074123", "535407"),
    ("1795354074123@s.whatsapp.net", "535407"),
    ("4915112345678s", "123456"),
    ("4915112345678 s", "123456"),
    ("4915112345678ms", "123456"),
    ("4915112345678 bytes", "123456"),
    ("4915112345678B", "123456"),
    ("15551234567s", "123456"),
    ("size=4915112345678", "123456"),
    ("total: 4915112345678", "123456"),
    ('"length": "4915112345678"', "123456"),
    ("pid=4915112345678", "123456"),
    ("a4915112345678b", "123456"),
    ("ab4915112345678cd", "123456"),
    ("f4915112345678", "123456"),
    ("x4915112345678y", "123456"),
    ("_4915112345678_", "123456"),
    (ARABIC, ARABIC[4:10]),
    (PERSIAN, PERSIAN[4:10]),
    (DEVANAGARI, DEVANAGARI[4:10]),
    (FULL, FULL[4:10]),
    (f"+{ARABIC}", ARABIC[4:10]),
    (f"\uff0b{FULL}", FULL[4:10]),
    (f"{FULL}@s.whatsapp.net", FULL[4:10]),
    (f"{FULL[:4]}{ARABIC[4:8]}45678", "45678"),
    (f"{ARABIC[:2]} {ARABIC[2:5]} {ARABIC[5:9]} {ARABIC[9:]}", ARABIC[5:9]),
    ("4915\u200b1123\u200b45678", "45678"),
    ("4915\u20601123\ufeff45678", "45678"),
    (b64(b"4915112345678@s.whatsapp.net"), "MTEyMzQ1"),
    (b64(b"4915112345678:12@s.whatsapp.net").rstrip("="), "MTEyMzQ1"),
    (url64(b"from 4915112345678@s.whatsapp.net?"), "MTEyMzQ1"),
    (f'{{"jid": "{b64(b"4915112345678@s.whatsapp.net")}"}}', "MTEyMzQ1"),
    (f"/jids/{b64(b'4915112345678@s.whatsapp.net')}", "MTEyMzQ1"),
    (b64(b"469567656726543@lid"), "Njc2NTY3"),
    (b64(b"4915112345678"), "MTEyMzQ1"),
    (b"4915112345678@s.whatsapp.net".hex(), "313233343536"),
    ("4915112345678%40s.whatsapp.net", "123456"),
    ("+49 151\u00a01234-5678", "1234"),
    ("wa.me/4915112345678", "123456"),
]


@pytest.mark.parametrize(("text", "hidden"), MASKED)
def test_what_must_be_masked(text: str, hidden: str | tuple[str, ...]) -> None:
    lines = [text, f"{text}\nnext"]
    if not text.lstrip(" -").startswith(
        ("password: correct ", "password: swordfish")
    ):  # in a sentence this is advice, and no line of YAML
        lines += [f"2026-11-22T10:00:00.123Z INFO x: {text}", f"({text})", f"before {text} then"]
    for line in lines:
        shown = redact(line)
        for part in [hidden] if isinstance(hidden, str) else hidden:
            assert part not in shown, shown
        assert redact(shown) == shown


KEPT = """\
2026-11-22T10:00:00.123Z INFO orchestrator.service.supervisor: support: starting → connecting
2026-11-22 10:00:00,123 and 22.11.2026 10:00 and 2026/11/22 and 11/22/2026 and 2026-11-22
20261122 20261122T100000Z 20261122-100000 1795354074 1795354074123 1795354074.123456
at 10:00:00.123456 after 00:00:01.500000, uptime 16777216.12 12345678.34
from 1795354074 to 1795354099
took 0.123456789 s, 123456789 ns, 1234567 us, 86400 s, 3600s, 123456789s, 1500ms
in 1h30m, for 1d12h, every 160 s, at most 50 s, 2 of 200 accounts
up 3600.25 s, cpu 12.5 %, 21.0 MB, 1,048,576 bytes
memory_bytes=21000000 size: 12345678901 length='99999999' pid=12345678 inode=12345678
12345678901 bytes free, 84123456789 B, 98765432 KiB, 1000204886016 bytes
1 234 567 890 bytes
process 4194304 on port 54321 ended with -11
processes 4194301, 4194302 and 4194303
exit codes 20 21 22 23 24 25 26 27 28 29
10 20 40 80 160 s between tries
1024 2048 4096 8192
lines 100-200 of 1000-2000
0 1 2 3 4 5 6 7 8 9
load 0.12 0.34 0.56 1/234 4194304
127.0.0.1:54321 and 192.168.100.200 and 10.0.0.1/24 and 255.255.255.255
192.168.100.200:8080 to 172.16.254.254:443, 100.100.100.100
[::1]:8080 and fe80::1%eth0 and 2001:db8:85a3:1:2:8a2e:370:7334 and 2001:0db8:85a3:0000:0000:8a2e:0370:7334
00:1a:2b:3c:4d:5e is a hardware address
client version 2.3000.1047769893
neonize 0.5.2, Python 3.11.7, Linux 6.1.0-25-amd64, 5.15.0-1084.91, systemd 252.30-1~deb12u2
version 49.151.1234.5678
Go 1.24.5, x/net v0.0.0-20240912134045-abcdefabcdef
https://ffmpeg.org/download.html and http://127.0.0.1:54321/a/b@c?d=e and wss://web.whatsapp.com/ws/chat
https://h.example/a?page=2&size=10#top
/var/lib/orchestrator/sessions/support.sqlite3-journal
/var/lib/orchestrator/qr/support.png and /home/Ada/.local/state/orchestrator/quarantine/sales-br-20261122T100000Z
/proc/4194304/environ and /run/user/1000/orchestrator/control.sock
user@1000.service, getty@tty1.service and orchestrator@spare.service
status@broadcast, 0@s.whatsapp.net
pip install 'whatsapp-orchestrator[sandbox]==0.2.0'
File "/usr/lib/python3.11/concurrent/futures/thread.py", line 58, in run
<orchestrator.service.supervisor.Supervisor object at 0x7f1234567890> in <module>
<Task pending name='Task-12' coro=<Supervisor.run() running at /srv/orchestrator/supervisor.py:120>>
SIGSEGV: segmentation violation PC=0x7f1234567890 m=4 sigcode=1 addr=0x0
goroutine 1 [running]: main.main() /src/main.go:12 +0x1d
runtime.gopark(0xc000012345, 0x0, 0x7, 0x11, 0x1)
id 3EB042D80919912345678AD and uuid 123e4567-e89b-12d3-a456-426614174000
uuid 12345678-1234-1234-1234-123456789012
commit 0743e93dccb4231118492abcdefabcdefabcdef0 +0100, +5 and 1 < 2 > 0
sha256 of nothing: e3b0c442
accounts.yaml:3: expected a duration, found: 'x'
accounts.yaml:12: accounts.support.proxy: expected a proxy such as http://, https:// or socks5:// with user:password@ if needed, then host:port, or null, found one without a port
the proxy refuses the user or the password: correct `proxy:` in the configuration
user or password with characters that need to be written as %XX, such as %2F for a slash
password: see the manual
the token: it is too old
no password, no token and no secret
password=
password: ""
token: null
tokens=12 token_count=5 max_tokens: 5 secrets: 3 cookies: 2
secret_file: /etc/orchestrator/secret
PWD=/var/lib/orchestrator
the API key is missing
Bearer authentication is not used here
basic authentication failed, Basic Authentication failed
the password is wrong, the token is too old, the secret of success
12 - 15 of 100, 2026-11-22 - 2026-11-23
x@1.2.3 and abcdef0123456789abcdef0123456789
Authorization is missing
status key: connecting
key: value
"key_exists": false
LONG-TERM and ABCD-EFGH-JKLM, 2026-1122
well-kept, half-test, long-term and next-week
HTTP 404, exit code 11, code 515
error code: rejected
the code expires in 20 s
the code is passed on
CONNECTED RECEIVED ACCEPTED
x86_64 aarch64 amd64 armv7l sha256 utf8mb4 base64
neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2.DeviceProps.PlatformType
orchestrator_supervisor_restarts_after_a_crash_with_exit_code_minus_eleven_in_total
orchestrator.service.control.server: control socket: 3 connections
name: support
text: expected something
kind network, state backoff, exit code 21: the network is lost
{"event": "state", "account": "support", "from": "starting", "to": "connecting", "pid": 4194304}
{"name": "support", "memory_bytes": 21000000, "uptime_s": 3600.2}
[1, 2, 3, 4, 5, 6, 7, 8]
[300 301 302 303 304 305 306 307 308 309 310 311 312 313 314 315 316 317]
0 B, 12 MB, 1.5 GB, 200M, 1G
Nice=5 OOMScoreAdjust=500 LimitNOFILE=65536 TasksMax=4096 MemoryMax=1073741824
chapter ٣ of ٢٠
12345678901234567890
""".splitlines()


@pytest.mark.parametrize("line", [line for line in KEPT if line])
def test_what_must_not_be_masked(line: str) -> None:
    assert redact(line) == line
    assert redact(f"2026-11-22T10:00:00.123Z WARNING x: [support] {line}") == (
        f"2026-11-22T10:00:00.123Z WARNING x: [support] {line}"
    )


def test_there_are_enough_lines_that_stay() -> None:
    assert len(KEPT) >= 60


UNITS = (
    "1", "1 ", "12 ", "123 ", "123-", "123.", "0151/", "(", ") ", "49 151 ", "1,", "1, ", "-1 ", "ab ", "abcd ", "0x44, ",
    "0x", "%41", "%", "a@", "@", "a.b", "a@b.", "a%40b.", "password", "password=", "password: ", "password='", 'token:"',
    'token:\\"', "token: |\n ", "secret>", "--a-", "--token ", "cookie: ", "key ", "key=a1b2", "bearer ", "basic a",
    "eyJ", "eyJabcdefgh.", "-----BEGIN PRIVATE KEY-----", "whsec_", "orc_", "oh=", "?oh=a", "u0026oh=a", "://", "PushName:a ",
    "PushName:", "push_name=a", "file name: a", "pushName='", "code ", "link code a", "abcd-", "ABCD ", "a1", "A1b", "/aB3",
    "4a", "\u200b1", "1\u200b", "\u0664", "\uff14 ", "a_", "_", "=", ":", "\\", "\n ", "authorization: basic ", "kkey: ", "2026-11-22 ", "9-", "9/9/2026 ",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_long_line_is_no_burden(unit: str) -> None:
    # Were the time quadratic for one of them, the test would not end.
    redact(unit * ((1 << 16) // len(unit)))
    redact(f"@ = </ % password code {unit * ((1 << 15) // len(unit))}x")


FRAGMENTS = (
    *UNITS,
    *(text for text, _ in MASKED),
    *KEPT[:40],
    "…",
    "***",
    "[key]",
    "[link code]",
    "&",
    "'",
    '"',
    "}",
    "\n",
    " ",
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=8))
def test_doing_it_twice_changes_nothing(parts: list[str]) -> None:
    once = redact("".join(parts))
    assert redact(once) == once


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([one for one in MASKED if " " not in one[0] and isinstance(one[1], str)]),
    st.text(alphabet=" \n\t,;()[]{}|<>!?#", max_size=4),
    st.text(alphabet=" \n\t,;)]}|>!?#", max_size=4),
)
def test_signs_around_it_do_not_help(masked: tuple[str, str], before: str, after: str) -> None:
    text, hidden = masked
    assert hidden not in redact(f"{before}{text}{after}")
