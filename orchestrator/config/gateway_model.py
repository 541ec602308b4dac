"""The keys of the configuration for the HTTP server, webhooks and bots. See `model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field

from orchestrator.config import gateway_types as gateway
from orchestrator.config import types
from orchestrator.config.section import Section, default_of
from orchestrator.consumers.settings import BotSettings, Http, Listen, Webhook

_TAKES_EFFECT = "A reload takes effect at once."


class HttpSection(Section):
    """The HTTP server."""

    place = "under http"

    listen: Annotated[tuple[Listen, ...], gateway.Listens()] = Field(
        default=default_of(Http, "listen"),
        description="Where the server listens, or a list of such places. host:port takes an address, not a"
        " name. unix:PATH makes a socket for the service's user alone (mode 0600), and needs no token."
        " systemd: the sockets of a unit for sockets. Clients over TCP always need a token (`orchestrator"
        " token add`). Until there is one, an address other than loopback stays closed, and a reload refuses"
        " a new one. The server has no TLS: put a reverse proxy in front of an address that others can reach."
        " A reload opens and closes what was changed, and keeps the others open.",
        examples=['["127.0.0.1:8080", "unix:/run/orchestrator/http.sock"]'],
    )
    public_url: Annotated[str | None, types.OrNull(gateway.PublicUrl())] = Field(
        default=default_of(Http, "public_url"),
        description="The URL by which clients reach the server through a reverse proxy. Links to media start"
        f" with this URL, and requests for this host are answered. {_TAKES_EFFECT}",
        examples=["https://whatsapp.example.com"],
    )
    allowed_hosts: Annotated[tuple[str, ...], gateway.Hosts()] = Field(
        default=default_of(Http, "allowed_hosts"),
        description="More hosts that requests may be for, without a port. The addresses of `listen`,"
        " localhost and the host of `public_url` need no entry. Requests for all other hosts are refused"
        f" (421): a web page must not reach the server by a name of its own. {_TAKES_EFFECT}",
        examples=["[orchestrator, gateway.internal]"],
    )
    trusted_proxies: Annotated[tuple[str, ...], gateway.Networks()] = Field(
        default=default_of(Http, "trusted_proxies"),
        description="Addresses or networks of reverse proxies. Only from these, the server believes"
        f" X-Forwarded-For. {_TAKES_EFFECT}",
        examples=["[127.0.0.1, 10.0.0.0/8]"],
    )
    max_body: Annotated[int, types.Size(1 << 14, 64 << 20)] = Field(
        default=default_of(Http, "max_body"),
        description="The largest body of a request. For files that are uploaded, the largest `media_limit` of"
        f" an account counts instead (under `sending`). {_TAKES_EFFECT}",
    )
    link_ports: Annotated[tuple[int, ...], gateway.Ports()] = Field(
        default=default_of(Http, "link_ports"),
        description="The ports from which files are fetched when a client sends a link instead of a file."
        f" {_TAKES_EFFECT}",
        examples=["[80, 443, 3000]"],
    )
    link_networks: Annotated[tuple[str, ...], gateway.Networks()] = Field(
        default=default_of(Http, "link_networks"),
        description="Addresses or networks inside from which files are fetched for a link. Without these,"
        " only addresses of the internet are: who may send messages must not read what only this machine can"
        f" reach. The server's own addresses are never fetched from. {_TAKES_EFFECT}",
        examples=["[10.0.5.7]"],
    )
    interactive: Annotated[str, types.Word(("refuse", "text"))] = Field(
        default=default_of(Http, "interactive"),
        description="What becomes of buttons and lists that a client of the Cloud API sends: WhatsApp shows"
        " them only if a business sends them through Meta. refuse: the client gets an error. text: their"
        f" choices are sent as a text with numbers. {_TAKES_EFFECT}",
    )


_Accounts: TypeAlias = Annotated[frozenset[str] | None, types.OrNull(gateway.Accounts())]


class WebhookSection(Section):
    """One webhook."""

    place = "under a webhook"
    required = ("url",)

    url: Annotated[str | None, gateway.WebhookUrl()] = Field(
        default=None,
        description="Where the events go, by POST. The URL may be one of this machine, but not the service's"
        " own server. Redirects are not followed, and the certificate is always checked. Do not write a"
        " password into the URL: use `secret_file`. What waits for the webhook goes to the new URL after a"
        " reload.",
        examples=["https://crm.example.com/hook"],
    )
    format: Annotated[str, types.Word(("events", "cloud"))] = Field(
        default=default_of(Webhook, "format"),
        description="The form of the body. events: one event as JSON, as `orchestrator messages --json` shows"
        " it. cloud: the form of Meta's WhatsApp Cloud API, for programs that know that one; it needs"
        f" `app_secret_file`, and docs/cloud-api.md says which events have a form there. {_TAKES_EFFECT}",
    )
    accounts: _Accounts = Field(
        default=default_of(Webhook, "accounts"),
        description="The accounts whose events the webhook gets. null: all accounts, also those that are"
        f" added later. {_TAKES_EFFECT}",
        examples=["[support]"],
    )
    events: Annotated[tuple[str, ...], gateway.Events()] = Field(
        default=default_of(Webhook, "events"),
        description="Which types of events the webhook gets. docs/messages.md has the list. A * at the end"
        f" stands for any rest. {_TAKES_EFFECT}",
        examples=["[message.received, account.*]"],
    )
    secret_file: Annotated[gateway.Secret | None, types.OrNull(gateway.SecretFile())] = Field(
        default=None,
        description="A file with the secret that signs the requests (Standard Webhooks): whsec_ and 24 to 64"
        " bytes in base64. Two lines while the secret is changed: the new one first. The file belongs to root"
        " or to the service's user, and nobody else may read or write the file (mode 0600). `orchestrator"
        " reload` reads the file again.",
        examples=["crm.secret"],
    )
    secret_env: Annotated[gateway.Variable | None, types.OrNull(gateway.SecretVariable())] = Field(
        default=None,
        description="The variable of the service's environment that has the secret, instead of"
        " `secret_file`. Another secret needs a restart of the service.",
        examples=["CRM_SECRET"],
    )
    app_secret_file: Annotated[bytes | None, types.OrNull(gateway.AppSecretFile())] = Field(
        default=None,
        description="A file with one line: the key of the header X-Hub-Signature-256, for receivers that"
        " check it. Its owner and mode are as for `secret_file`. `orchestrator reload` reads the file again.",
        examples=["crm.app-secret"],
    )
    verify_token_file: Annotated[bytes | None, types.OrNull(gateway.AppSecretFile())] = Field(
        default=None,
        description="With `format: cloud`, a file with one line: the word that the receiver calls its verify"
        " token. The service asks the receiver once for `hub.challenge`, as Meta does, and the log says if"
        " the answer is another one. Owner and mode are as for `secret_file`.",
        examples=["chatwoot.verify-token"],
    )
    echoes: Annotated[bool, types.Boolean()] = Field(
        default=default_of(Webhook, "echoes"),
        description="With `format: cloud`, whether the receiver also gets messages that the account's own"
        " phone sends to people, as Meta's field smb_message_echoes. Only messages that `messages.from_me`"
        f" keeps are sent. {_TAKES_EFFECT}",
    )
    headers: Annotated[tuple[tuple[str, str], ...], gateway.Headers()] = Field(
        default=default_of(Webhook, "headers"),
        description="Extra headers of the requests. The values are secrets: no command and no log shows them."
        f" {_TAKES_EFFECT}",
        examples=["{X-Source: whatsapp}"],
    )
    timeout: Annotated[float, types.Duration(1, 60)] = Field(
        default=default_of(Webhook, "timeout"),
        description="How long a whole request may take. Connecting may take 3 seconds of it. The next tries"
        " after a reload have the new value.",
    )
    parallel: Annotated[int, types.Integer(1, 64)] = Field(
        default=default_of(Webhook, "parallel"),
        description="How many requests may be on their way at once. Events of one chat are always sent one"
        f" after the other. {_TAKES_EFFECT}",
    )


class BotSection(Section):
    """One bot."""

    place = "under a bot"
    required = ("app",)

    app: Annotated[str | None, gateway.App()] = Field(
        default=None,
        description="Where the bot is: module:attribute.",
        examples=['"my_bot:bot"'],
    )
    path: Annotated[Path, types.Folder()] = Field(
        default=Path(),
        description="The folder with the module. Nobody but root and the service's user may write there. The"
        " bot can read this folder and no other data of the service.",
    )
    accounts: _Accounts = Field(
        default=default_of(BotSettings, "accounts"),
        description="The accounts whose events the bot gets, and from which it may send. null: all accounts,"
        " also those that are added later.",
        examples=["[support]"],
    )
    events: Annotated[tuple[str, ...], gateway.Events()] = Field(
        default=default_of(BotSettings, "events"),
        description="Which types of events the bot gets, as for webhooks.",
        examples=["[message.received]"],
    )
    env: Annotated[tuple[gateway.Variable, ...], gateway.Variables()] = Field(
        default=(),
        description="Variables of the service's environment that the bot's process gets, too. Other than"
        " these, the bot has PATH, LANG, TZ and the like.",
        examples=["[MY_BOT_URL]"],
    )
    env_files: Annotated[tuple[tuple[str, str], ...], gateway.VariableFiles()] = Field(
        default=(),
        description="Variables of the bot's process whose values stand in files, one line each: for secrets."
        " Owner and mode of a file are as for a webhook's `secret_file`.",
        examples=["{MY_BOT_KEY: my-bot.key}"],
    )
    timeout: Annotated[float, types.Duration(1, 600)] = Field(
        default=default_of(BotSettings, "timeout"),
        description="How long the handling of one event may take. After that, the handler is ended and the"
        " event is tried again later.",
    )
    memory_limit: Annotated[int | None, types.OrNull(types.Size(64 << 20, 1 << 40))] = Field(
        default=default_of(BotSettings, "memory_limit"),
        description="How much memory the bot's process may use. null: as much as there is.",
    )
    parallel: Annotated[int, types.Integer(1, 64)] = Field(
        default=default_of(BotSettings, "parallel"),
        description="How many handlers may run at once. Events of one chat are always handled one after the"
        " other.",
    )
