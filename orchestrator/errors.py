"""Errors that an operator can cause. Each message says what is wrong and what to do. Anything else is a bug.

OrchestratorError          exit code 1
├── ConfigError            the configuration is not valid: the message has a line for every problem
│   ├── NoConfiguration    there is no configuration in any of the usual places
│   └── Untrusted          others may change the configuration that was found     exit code 2
├── StateError             the service cannot use a folder or file
├── AlreadyRunning         another service uses the state folder
├── NotRunning             the command needs a running service         exit code 4
└── NoSuchAccount          no account has that name                    exit code 5

The other classes are where they are raised: `LibraryError`, `BadRequest`, `Unreachable`, `UnitError` and
`SandboxError`.

Every error has a *key* for programs beside its words for people. Words may change, a key keeps its meaning. A
class has a key of its own, and a raise may pass a more exact one. `KEYS` lists all keys.
"""

from __future__ import annotations

from enum import IntEnum

KEYS = {
    "account_disabled": "The account has `enabled: false` in the configuration.",
    "account_exists": "There is an account of that name already.",
    "account_running": "The account's process must be stopped first.",
    "already_connected": "The account is connected, so there is no code to scan.",
    "already_running": "Another service, or a command that changes the state folder, uses the folder.",
    "answer_too_long": "The answer does not fit into one line. Name fewer accounts.",
    "bad_name": "The text is not a valid name of an account.",
    "bad_number": "The text is not a phone number with country code.",
    "bad_request": "The request has no valid form, or its arguments are wrong.",
    "bad_text": "The message's text is empty, too long, or not valid UTF-8.",
    "cannot_start": "The service cannot start processes.",
    "config_changed": "Somebody changed the configuration while the command edited it. Try again.",
    "config_in_use": "The running service uses another configuration than the command.",
    "config_invalid": "The configuration is not valid. The message has a line for every problem.",
    "config_not_editable": "The command cannot edit a configuration of this form. Edit the file by hand.",
    "config_untrusted": "Nobody named the configuration that was found, and others may change it.",
    "delivery_unknown": "It is not known whether the message was sent.",
    "demo_failed": "The demonstration did not get as far as it should.",
    "duplicate_session": "Another account has the session of the same device.",
    "failed": "Something else failed. Older services send this for every error with exit code 1.",
    "folder_untrusted": "Others may change a folder or file that the service of root would use.",
    "folder_unusable": "The command cannot use the folder or file that was named.",
    "internal_error": "The service failed because of a bug. Its log has the details.",
    "library_altered": "neonize's files are not those of its package, or have no checksums.",
    "library_missing_libmagic": "The system's libmagic is missing, which neonize needs.",
    "library_unusable": "neonize does not load on this machine.",
    "machine_unfit": "The machine lacks something that the service needs. `doctor` names it.",
    "needs_root": "Only root can do this.",
    "no_answer": "The service did not answer in time.",
    "no_code": "The account is in a state in which it shows no code.",
    "no_configuration": "There is no configuration in any of the usual places.",
    "no_such_account": "No account has that name.",
    "no_such_session": "There is no such session in quarantine.",
    "no_systemd": "systemd does not run on this machine.",
    "not_connected": "The account is not connected.",
    "not_paired": "The account ended in another state than `connected`.",
    "not_running": "The service does not run, or it is about to stop.",
    "not_sent": "WhatsApp or the library refused the message.",
    "packages_missing": "The sandbox needs packages that are not installed.",
    "permission_denied": "This user may not do that.",
    "phone_configured": "`phone:` in the configuration says which phone may be linked.",
    "phone_missing": "Pairing by code needs the number of the account: `phone:` in the configuration.",
    "phone_taken": "Another account has that phone number.",
    "protocol_mismatch": "The program that listens on the control socket is no compatible service.",
    "qr_dir_unusable": "The service cannot write codes into the QR folder as they must be.",
    "request_too_long": "The request names too many accounts. Use `all`, or name the accounts in turns.",
    "sandbox_failed": "The sandbox cannot do that.",
    "sandbox_unreachable": "No sandbox answers at the address.",
    "service_busy": "Too many commands wait for the service. Try again in a moment.",
    "service_unreachable": "The control socket cannot be used.",
    "service_untrusted": "The program that listens on the control socket is another user's.",
    "session_exists": "There is a session in the place already.",
    "state_unusable": "The service cannot use a folder or file.",
    "still_configured": "The account is still in the configuration.",
    "still_stopping": "A process did not end in time.",
    "unit_failed": "The systemd unit cannot be written or removed.",
    "unknown_command": "The service does not know the command: it has another version.",
    "whatsapp_unreachable": "WhatsApp cannot be reached from this machine.",
}
"""Every key with what it means. docs/protocol.md shows this list; a key never gets another meaning."""


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
    """

    exit_code = ExitCode.FAILED
    key = "failed"

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        if key is not None:
            self.key = key


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
