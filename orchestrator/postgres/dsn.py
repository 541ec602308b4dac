"""Where the database is and who we are there: read from a file that only its owner may read.

Two drivers read what is said here: libpq in this process, and lib/pq, which is written in Go, in neonize.
Only words that mean the same to both are taken, and what either would look up by itself is said to both.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from orchestrator.config import secret_file
from orchestrator.errors import StoreUnusable
from orchestrator.system import trust

DEFAULT_PORT: Final = 5432
LONGEST_NAME: Final = 40
"""Characters of a role's name: names of other roles are made of it, and Postgres cuts names at 63 bytes."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_KEYS: Final = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert")
_MOST: Final = 2048
"""Characters of a DSN. It has a host, two names, a password and a path."""
FOREIGN: Final = (
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGREQUIREAUTH",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSYSCONFDIR",
    "PGTARGETSESSIONATTRS",
)
"""Variables of the environment by which a driver would connect to something else than the file says."""


@dataclass(frozen=True, slots=True)
class Dsn:
    """A database and a role that logs in there.

    Attributes:
        host: A host's name or address, or the absolute folder of a UNIX socket.
        port: The port; the socket's name has it, too.
        database: The database.
        user: The role.
        password: Its password; empty where the server knows the role by other means.
        root: The certificate of who has signed the server's; None without TLS.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    root: Path | None = None

    def __str__(self) -> str:
        return f"the database {self.database} at {self.where}"

    @property
    def where(self) -> str:
        """The server, for people; neither the role nor the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.host}/.s.PGSQL.{self.port}" if self.is_socket else f"{host}:{self.port}"

    @property
    def is_socket(self) -> bool:
        """Whether the server is reached by a UNIX socket."""
        return self.host.startswith("/")

    @property
    def sslmode(self) -> str:
        """The one mode in which the server has to show who it is, or none at all."""
        return "disable" if self.root is None else "verify-full"

    def keywords(self) -> dict[str, str]:
        """Return what psycopg connects with: everything that libpq would otherwise take from elsewhere."""
        words = {
            "host": self.host,
            "port": str(self.port),
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "passfile": "/dev/null/none",
            "sslmode": self.sslmode,
            "gssencmode": "disable",
            "client_encoding": "utf8",
        }
        if self.root is not None:
            words |= {"sslrootcert": str(self.root), "ssl_min_protocol_version": "TLSv1.2"}
            words |= {"channel_binding": "require"} if self.password else {}
        return words

    def for_library(self, user: str, password: str) -> str:
        """Return what neonize opens an account's session with: a secret.

        Where the service uses a UNIX socket, the accounts use 127.0.0.1 with the same port.

        Args:
            user: The account's role.
            password: Its password.
        """
        # An account's process may open no UNIX socket, by which it could ask the service for everything.
        host = "127.0.0.1" if self.is_socket else self.host
        words = {"host": host, "port": str(self.port), "user": user, "password": password}
        words |= {"sslmode": self.sslmode, "connect_timeout": "10"}
        if self.root is not None:
            words["sslrootcert"] = str(self.root)
        return f"postgres:///{quote(self.database, safe='')}?{urlencode(words, quote_via=quote)}"


def read(path: Path, named: str = "store.dsn_file") -> Dsn:
    """Read a file that has one line, a DSN.

    Args:
        path: The file, absolute; `secret_file` says who may read it.
        named: What names the file, for people.

    Raises:
        StoreUnusable: The file or what is in it cannot be used. The message has nothing of the content.
    """
    try:
        text = secret_file.read_line(path)
    except ValueError as error:
        raise StoreUnusable(f"{named}: expected a file with one DSN, found {error}") from None
    try:
        dsn = parse(text)
    except ValueError as error:
        raise StoreUnusable(f"{named}: {path}: {error}") from None
    if found := sorted(set(FOREIGN) & os.environ.keys()):
        raise StoreUnusable(
            f"the environment has {', '.join(found)}, which could lead to another database than {path} says:"
            " remove it from the service's environment"
        )
    return dsn


def parse(text: str) -> Dsn:
    """Return what a DSN says.

    Raises:
        ValueError: It cannot be used. The message says why and quotes nothing that might be secret.
    """
    if len(text) > _MOST:
        raise ValueError(f"the DSN has more than {_MOST} characters")
    words = _words(text.strip())
    for key in ("host", "user", "dbname"):
        if not words.get(key):
            raise ValueError(f"the DSN has no {key} (docs/postgres.md has an example)")
    host, port = words["host"], words.get("port", str(DEFAULT_PORT))
    if "," in host + port:
        raise ValueError("the DSN has several hosts: name one address, which follows the primary")
    if host.startswith("@") or (host.startswith("/") and ".." in Path(host).parts):
        raise ValueError("the DSN's host is no folder of a socket: give its absolute path")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("the DSN's port is no number from 1 to 65535")
    if len(words["user"]) > LONGEST_NAME or not _NAME.fullmatch(words["user"]):
        raise ValueError(f"the DSN's user has to be of a-z, 0-9 and _, {LONGEST_NAME} characters at most")
    if len(words["dbname"].encode()) > 63:
        raise ValueError("the DSN's database has a name of more than 63 bytes")
    return Dsn(
        host=host,
        port=int(port),
        database=words["dbname"],
        user=words["user"],
        password=words.get("password", ""),
        root=_root(host, words.get("sslmode"), words.get("sslrootcert")),
    )


def is_local(host: str) -> bool:
    """Tell whether what is said to a host stays on this machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _words(text: str) -> dict[str, str]:
    if not text.startswith(("postgres://", "postgresql://")):
        raise ValueError(
            "the file has no DSN, which begins with postgres:// (docs/postgres.md has an example)"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("the DSN is no valid address: write special characters as %XX") from None
    if "%" in (parts.hostname or ""):
        raise ValueError("the DSN's host has a `%`: name a socket's folder by ?host=/PATH/TO/FOLDER")
    if parts.fragment:
        raise ValueError("the DSN has a `#`: write it as %23")
    words = {
        "host": parts.hostname or "",
        "port": "" if port is None else str(port),
        "dbname": unquote(parts.path.removeprefix("/")),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    words = {key: value for key, value in words.items() if value}
    for key, value in pairs:
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            raise ValueError(f"the DSN says something that is not known: it may say {known}")
        if key in words:
            raise ValueError(f"the DSN says {key} twice")
        words[key] = value
    if any(not value.isprintable() for value in words.values()):
        raise ValueError("the DSN has characters that cannot be printed")
    return words


def _root(host: str, mode: str | None, root: str | None) -> Path | None:
    if mode in (None, "disable") and is_local(host):
        if root is not None:
            raise ValueError("the DSN has sslrootcert and no TLS: add sslmode=verify-full")
        return None
    if mode != "verify-full":
        raise ValueError(
            "the connection would not show whether the server is the right one: say sslmode=verify-full and"
            " sslrootcert=/PATH/TO/CA.pem (only a UNIX socket and 127.0.0.1 need none)"
        )
    if host.startswith("/"):
        raise ValueError("a UNIX socket has no TLS: leave sslmode out")
    if root is None or not root.startswith("/"):
        raise ValueError(
            "sslrootcert has to be the absolute path of the certificate that signs the server's, such as"
            " /etc/ssl/certs/ca-certificates.crt"
        )
    path = Path(root)
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeError):
        raise ValueError("sslrootcert is no readable file with certificates") from None
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError("sslrootcert has no certificate in it")
    if trust.weak_for_us(trust.read_way(path)):
        raise ValueError("sslrootcert can be changed by other users, who could then read along")
    return path
