"""Errors that an operator can cause. Each message says what is wrong and what to do. Anything else is a bug.

OrchestratorError          exit code 1, or 2 with a key of `WRONG_USAGE`
├── ConfigError            the configuration is not valid: the message has a line for every problem
│   ├── NoConfiguration    there is no configuration in any of the usual places
│   └── Untrusted          others may change the configuration that was found     exit code 2
├── StateError             the service cannot use a folder or file
│   ├── StoreUnusable      the database refuses what the service needs
│   └── StoreAway          the database cannot be reached, or not in time
├── AlreadyRunning         another service uses the state folder
├── NotRunning             the command needs a running service         exit code 4
├── NoSuchAccount          no account has that name                    exit code 5
└── NoSuchConsumer         no webhook, bot or pull has that name

The other classes are where they are raised: `LibraryError`, `BadRequest`, `Unreachable`, `UnitError` and
`SandboxError`.

Every error has a *key* for programs beside its words for people. Words may change, a key keeps its meaning. A
class has a key of its own, and a raise may pass a more exact one. `KEYS` lists all keys.
"""

from __future__ import annotations

from enum import IntEnum

KEYS = {
    "account_disabled": "The configuration has `enabled: false`, or a `disabled_until` that is to come.",
    "account_exists": "There is an account of that name already.",
    "account_in_use": "A webhook or a bot in the configuration names the account.",
    "account_running": "The account's process must be stopped first.",
    "account_stopped": "An operator stopped the account. `start` starts the account.",
    "already_connected": "The account is connected, so there is no code to scan.",
    "already_linked": "The account is linked to a phone. `repair` pairs the account again.",
    "already_running": "Another service, or a command that changes the state folder, uses the folder.",
    "answer_too_long": "The answer does not fit into one line. Name fewer accounts.",
    "bad_cursor": "The cursor is none that the consumer was given, or too old. Ask for events again.",
    "bad_duration": "The text is not a duration such as 90d.",
    "bad_http": "The request is not valid HTTP, or two programs could read it in two ways.",
    "bad_media_type": "The body is not JSON. Send `Content-Type: application/json`.",
    "bad_name": "The text is not a valid name of an account or a token.",
    "bad_number": "The text is not a phone number with country code.",
    "bad_range": "The file does not have the bytes that were asked for.",
    "bad_request": "The request has no valid form, or its arguments are wrong.",
    "bad_scope": "The text is not a scope of a token.",
    "bad_text": "The message's text is empty, too long, or not valid UTF-8.",
    "body_too_large": "The request's body is larger than `http.max_body` in the configuration.",
    "bot_unusable": "The bot cannot be loaded: its module, or what is in it.",
    "canceled": "Whoever asked took the request back.",
    "cannot_start": "The service cannot start processes.",
    "code_pending": "The account shows a code soon, because somebody looks now. Ask again in a moment.",
    "config_changed": "Somebody changed the configuration while the command edited it. Try again.",
    "config_in_use": "The running service uses another configuration than the command.",
    "config_invalid": "The configuration is not valid. The message has a line for every problem.",
    "config_not_editable": "The command cannot edit a configuration of this form. Edit the file by hand.",
    "config_not_writable": "The service may not write its configuration. Use the command on the machine.",
    "config_untrusted": "Nobody named the configuration that was found, and others may change it.",
    "consumer_exists": "A webhook, bot or pull has that name already.",
    "delivery_unknown": "It is not known whether the message was sent.",
    "demo_failed": "The demonstration did not get as far as it should.",
    "disowned": "The account belongs to another machine of the cluster by now.",
    "duplicate_session": "Another account has the session of the same device.",
    "failed": "Something else failed. Older services send this for every error with exit code 1.",
    "file_missing": "There is no such upload, or the form has no file. Upload the file first.",
    "file_too_large": "The file is larger than `sending.media_limit` allows, or than its kind may be.",
    "file_unfit": "The file is not of a type that its kind takes, or empty. docs/sending.md has the types.",
    "folder_untrusted": "Others may change a folder or file that the service of root would use.",
    "folder_unusable": "The command cannot use the folder or file that was named.",
    "foreign_origin": "Another website's page sent the request, or `http.public_url` is another address.",
    "head_too_large": "The request's head has more than 32 kB or more than 100 fields.",
    "idempotency_conflict": "The `Idempotency-Key` was used for another request. Use another key.",
    "idempotency_running": "The request with this `Idempotency-Key` is still under way. Ask again.",
    "idempotency_unknown": "The first request with this `Idempotency-Key` was cut off: look what it did.",
    "inbox_unusable": "The messages that an account has kept cannot be read.",
    "internal_error": "The service failed because of a bug. Its log has the details.",
    "library_altered": "neonize's files are not those of its package, or have no checksums.",
    "library_unusable": "neonize does not load on this machine.",
    "link_unusable": "The file cannot be fetched from the link, or may not be: see `http.link_networks`.",
    "login_failed": "The code or token is wrong, over, or was used. `orchestrator page` makes a new code.",
    "machine_unfit": "The machine lacks something that the service needs. `doctor` names it.",
    "managed_by_systemd": "systemd runs the service, so `systemctl stop` stops the service.",
    "media_altered": "WhatsApp has something else than the attachment that the message is about.",
    "media_expired": "WhatsApp does not have the attachment any more.",
    "media_never": "The configuration says `media: never`.",
    "media_no_room": "The attachment cannot be written.",
    "media_pending": "The attachment is still on its way. Ask again.",
    "media_too_large": "The attachment is larger than `media_limit` in the configuration.",
    "media_unfit": "The message does not say in a usable form where the attachment is.",
    "media_unknown": "No stored message of the account has the attachment.",
    "media_unreachable": "The attachment cannot be fetched at the moment.",
    "message_unknown": "No inbox knows the message.",
    "messages_exist": "The account has messages of its own, which messages from quarantine would replace.",
    "method_not_allowed": "The path does not take this method. `Allow` names those that it takes.",
    "needs_root": "Only root can do this.",
    "no_answer": "There was no answer in time. What was asked for may have been done.",
    "no_code": "The account is in a state in which it shows no code.",
    "no_configuration": "There is no configuration in any of the usual places.",
    "no_dead_letter": "The consumer has no dead letter of that event.",
    "no_inbox": "The account has not kept any message.",
    "no_log": "The log of the service is nowhere that this command could show it.",
    "no_number": "The account has no number: no phone was ever linked to it.",
    "no_program": "The configuration names no program under `on_change:`.",
    "no_such_account": "No account has that name.",
    "no_such_consumer": "No webhook, bot or pull has that name.",
    "no_such_path": "There is nothing at this path. `/api/docs` describes all paths.",
    "no_such_session": "There is no such session in quarantine.",
    "no_such_shard": "The cluster has no machine of that name.",
    "no_such_token": "There is no token of that name.",
    "no_systemd": "systemd does not run on this machine.",
    "not_connected": "The account is not connected.",
    "not_paired": "The account ended in another state than `connected`.",
    "not_running": "The service does not run, or it is about to stop.",
    "not_sent": "WhatsApp or the library refused the message.",
    "number_unknown": "The number is not on WhatsApp.",
    "on_other_shard": "The account runs on another machine of the cluster, which alone can do this.",
    "order_not_taken": "The machine that has the account did not take the order in time. Nothing was done.",
    "order_unknown": "The machine that took the order does not answer. Nobody knows whether it was done.",
    "outbox_full": "As many messages wait to be sent as `most_waiting` allows, or files of 4 GiB.",
    "outbox_unusable": "The messages that an account is to send cannot be read or written.",
    "packages_missing": "The sandbox, or a database, needs packages that are not installed.",
    "page_not_opened": "No browser of this machine has opened the page.",
    "page_not_served": "The service does not serve the page: the message says what the configuration lacks.",
    "permission_denied": "This user may not do that.",
    "phone_configured": "`phone:` in the configuration says which phone may be linked.",
    "phone_missing": "Pairing by code needs the number of the account: `phone:` in the configuration.",
    "phone_taken": "Another account has that phone number.",
    "program_failed": "The program of `on_change:` cannot be run, or did not work.",
    "protocol_mismatch": "The program that listens on the control socket is no compatible service.",
    "qr_dir_unusable": "The service cannot write codes into the QR folder as they must be.",
    "request_timeout": "The request did not come whole in time.",
    "request_too_long": "The request names too many accounts. Use `all`, or name the accounts in turns.",
    "row_not_waiting": "The message does not wait any more, so nobody can take it back.",
    "row_unknown": "The outbox has no such row, or does not have it any more.",
    "sandbox_failed": "The sandbox cannot do that.",
    "sandbox_unreachable": "No sandbox answers at the address.",
    "scope_missing": "The token does not have the scope that this needs.",
    "service_busy": "Too many commands wait for the service. Try again in a moment.",
    "service_unreachable": "The control socket cannot be used.",
    "service_untrusted": "The program that listens on the control socket is another user's.",
    "session_exists": "There is a session in the place already.",
    "state_unusable": "The service cannot use a folder or file.",
    "still_configured": "The account is still in the configuration.",
    "still_linked": "WhatsApp did not confirm that the device is logged out. Nothing was deleted.",
    "still_stopping": "A process did not end in time.",
    "store_away": "The database of `store:` cannot be reached. Nothing is linked until it is back.",
    "store_unusable": "The database of `store:` refuses what the service needs. `doctor` says what.",
    "token_exists": "There is a token of that name already.",
    "token_needed": "Other machines could reach the HTTP server, and there is no token.",
    "tokens_unusable": "The file of the tokens cannot be used.",
    "too_many_pulls": "There are as many pulls as there may be. Remove one, or use one that there is.",
    "too_many_requests": "Too many requests or wrong tokens. Wait as long as `Retry-After` says.",
    "too_many_tokens": "There are as many tokens as there can be.",
    "unauthorized": "The request has no valid token. Send one in the header `Authorization`, after `Bearer`.",
    "unit_failed": "The systemd unit cannot be written or removed.",
    "unknown_command": "The service does not know the command: it has another version.",
    "uploads_full": "There is no room for more uploads. Delete some that nobody needs.",
    "whatsapp_unreachable": "WhatsApp cannot be reached from this machine.",
    "wrong_host": "Requests for this host are refused: see `http.allowed_hosts`.",
}
"""Every key with what it means. docs/protocol.md shows this list; a key never gets another meaning."""


WRONG_USAGE = frozenset({"bad_duration", "bad_name", "bad_number", "bad_scope", "bad_text"})
"""Keys that say that a value has no valid form: whoever gave it on a command line used the command wrongly.

An error with such a key ends a command as an unknown option does, whichever command it is.
"""


class ExitCode(IntEnum):
    """How the commands end."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_CONNECTED = 3
    """``list --check``: an enabled account is not connected."""
    NOT_RUNNING = 4
    NO_SUCH_ACCOUNT = 5


class OrchestratorError(Exception):
    """A command failed. The message is shown as it is, without a traceback.

    Args:
        message: What is wrong and what to do, for people.
        key: What is wrong, for programs: one of `KEYS`. By default the key of the class.

    Attributes:
        key: The same; a service of a later version may send keys that `KEYS` does not have.
        exit_code: How a command ends that fails with it: that of the class, or 2 for keys of `WRONG_USAGE`.
    """

    exit_code = ExitCode.FAILED
    key = "failed"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        if key is not None:
            self.key = key
        if self.key in WRONG_USAGE:
            self.exit_code = ExitCode.USAGE


class ConfigError(OrchestratorError):
    """The configuration is not valid. The message has a line for every problem."""

    key = "config_invalid"


class NoConfiguration(ConfigError):  # noqa: N818 - named for what it says
    """There is no configuration in any of the usual places, and no option names one."""

    key = "no_configuration"


class Untrusted(ConfigError):  # noqa: N818
    """Nobody named the configuration that was found, and other users may change it."""

    exit_code = ExitCode.USAGE
    key = "config_untrusted"


class StateError(OrchestratorError):
    """The service cannot use a folder or file."""

    key = "state_unusable"


class StoreUnusable(StateError):  # noqa: N818 - named for what it says
    """The database refuses what the service needs: a person has to do something about it."""

    key = "store_unusable"


class Disowned(StoreUnusable):
    """An account, or all of them, belong to another machine of the cluster by now."""

    key = "disowned"


class StoreAway(StateError):  # noqa: N818
    """The database cannot be reached, or not in time; the same may work later.

    Args:
        message: What is wrong.
        in_doubt: Whether the database was lost during a commit, so that nobody knows whether it has kept what
            it was given. Where whoever raises cannot tell, it is False.

    Attributes:
        in_doubt: As given.
    """

    key = "store_away"

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class AlreadyRunning(OrchestratorError):  # noqa: N818 - named for what it says
    """Another service uses the state folder."""

    key = "already_running"


class NotRunning(OrchestratorError):  # noqa: N818
    """The command needs a running service."""

    exit_code = ExitCode.NOT_RUNNING
    key = "not_running"


class NoSuchAccount(OrchestratorError):  # noqa: N818
    """No account has that name."""

    exit_code = ExitCode.NO_SUCH_ACCOUNT
    key = "no_such_account"


class NoSuchConsumer(OrchestratorError):  # noqa: N818
    """No webhook, bot or pull has that name."""

    key = "no_such_consumer"
