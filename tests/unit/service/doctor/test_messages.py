"""Messages that nobody keeps, and messages that belong to nobody, are told."""

from contextlib import closing
from pathlib import Path
from typing import Any

from support.doctor import context_of
from support.outboxes import new, outbox_of

from orchestrator.accounts.settings import AccountSettings, Messages
from orchestrator.config.settings import Settings
from orchestrator.control.view import AccountView
from orchestrator.messages.inbox import Inbox
from orchestrator.service.doctor.check import Finding
from orchestrator.service.doctor.checks import messages
from orchestrator.service.doctor.context import Lookup
from orchestrator.store.layout import OUTBOX


class Service:
    """A service that answers `list`."""

    def __init__(self, *accounts: AccountView) -> None:
        self.accounts = accounts

    def call(self, command: str, **_: object) -> dict[str, Any]:
        assert command == "list"
        return {"accounts": [one.as_json() for one in self.accounts]}


def found(folder: Path, accounts: list[AccountSettings], service: Service | None = None) -> list[Finding]:
    named = {one.name: one for one in accounts}
    context = context_of(folder, Settings(folder / "a.yaml", folder / "state", folder / "qr", accounts=named))
    if service is not None:
        context.client = Lookup(lambda: service)  # type: ignore[arg-type,return-value]
    return list(messages.find(context))


NOBODY, ALL = AccountSettings("nobody"), AccountSettings("all", messages=Messages(allow=("*",)))


def test_messages_that_come_in_and_are_not_kept(tmp_path: Path) -> None:
    views = [AccountView("nobody", "connected", refused=12), AccountView("all", "connected", refused=7)]
    (one,) = found(tmp_path, [NOBODY, ALL], Service(*views))
    assert one.status == "OK", "most accounts keep nothing, and that is as it should be"
    assert one.text == "12 messages came in that are not kept, because these accounts allow nobody: nobody"
    assert "`allow:` under `messages:` of `nobody:`" in one.advice


def test_nothing_is_said_where_nothing_comes_in(tmp_path: Path) -> None:
    assert found(tmp_path, [NOBODY, ALL], Service(AccountView("nobody", "connected"))) == []
    assert found(tmp_path, [NOBODY, ALL]) == [], "no service runs"


def test_messages_of_accounts_that_are_gone(tmp_path: Path) -> None:
    for name, file in (("gone", "inbox.sqlite3"), ("removed", "begin"), ("all", "inbox.sqlite3")):
        (tmp_path / "state/messages" / name).mkdir(parents=True)
        (tmp_path / "state/messages" / name / file).touch()
    (one,) = found(tmp_path, [ALL])
    assert (one.status, one.text.endswith(": gone")) == ("WARN", True)
    assert "`orchestrator add gone`" in one.advice
    assert "`orchestrator remove gone`" in one.advice


def test_messages_that_wait_in_vain(tmp_path: Path) -> None:
    off = AccountSettings("off", enabled=False)
    for name in ("off", "all"):
        with outbox_of(tmp_path / "state", name) as outbox:
            for key in ("1", "2", "3"):
                outbox.add(new(key))
            outbox.take_back(1)
    (one,) = found(tmp_path, [ALL, off])
    assert one.status == "WARN"
    assert one.text == "2 messages wait to be sent by accounts that are disabled: off"
    assert "`orchestrator outbox off`" in one.advice
    (tmp_path / "state/messages/off" / OUTBOX).write_bytes(b"garbage" * 9999)
    (one,) = found(tmp_path, [ALL, off])
    assert one.status == "WARN"
    assert "outbox.sqlite3 cannot be read" in one.text


def test_inboxes_that_were_put_aside(tmp_path: Path) -> None:
    folder = tmp_path / "state/messages/all"
    folder.mkdir(parents=True)
    for _ in range(2):
        with closing(Inbox.open(folder)):
            pass
        (folder / "inbox.sqlite3").write_bytes(b"garbage" * 9999)
    with closing(Inbox.open(folder)):
        pass
    (one,) = found(tmp_path, [ALL])
    assert one.status == "WARN"
    assert one.text.startswith("damaged inboxes or outboxes were put aside, and nothing deletes them: ")
    assert f"{folder}/damaged-" in one.text


def test_what_files_take_is_told(tmp_path: Path) -> None:
    for name, media in (("all", "17"), ("nobody", "18")):
        folder = tmp_path / "state/messages" / name / "media"
        folder.mkdir(parents=True)
        (folder / media).write_bytes(bytes(1_500_000))
        (folder / "19.expired").touch()
    (one,) = found(tmp_path, [ALL, NOBODY])
    assert (one.status, one.text) == (
        "OK",
        f"attachments (2) take 3.0 MB in {tmp_path / 'state/messages'}",
    )
