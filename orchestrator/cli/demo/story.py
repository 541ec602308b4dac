"""The demonstration: the real service with three accounts, a bot and a webhook, against the sandbox.

Everything is real except WhatsApp. The service is `python -m orchestrator run` as an operator starts it, the
accounts' processes use neonize, and the sandbox's phones read the pictures in the service's folder of codes.
A thread tells the story. The main thread waits for the end of the story or of the service, or for a signal,
and cleans up.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Protocol

from orchestrator.access import invitations, token, tokens
from orchestrator.cli.demo.background import Accounts, BackgroundService, Cancelled
from orchestrator.cli.demo.programs import BOT, Receiver, read_metrics
from orchestrator.consumers.settings import Tcp
from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning
from orchestrator.sandbox.client import CONTROL_VARIABLE, SandboxClient, SandboxError
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store.layout import StatePaths

PATIENCE = 120.0
"""Seconds to wait for each step; on an idle machine no step takes more than five."""
_PAGE_SECONDS = 43_200.0
"""For how long the page is open to whoever opened it."""
STOP_SECONDS = 30.0
"""Seconds for the service to stop before it is killed; the service gives its accounts 15."""
MAX_FOLDER = 60
"""Bytes of a folder's path that is fit for temporary files, too: multiprocess puts a socket there, 36 further
down, and the path of one may have 107."""

ENDED = "the service ended unexpectedly"
"""The error after an end that no one asked for."""

# Numbers for fiction: the North American Numbering Plan keeps 555-0100 to 555-0199 free.
NUMBERS = {"support": "+12025550101", "sales": "+12025550102", "alerts": "+12025550103"}
"""The accounts and their phones."""
ADA = "+12025550104"
"""A contact who has only a phone."""

_CONFIGURATION = """\
# The configuration of the demonstration. `accounts.example.yaml` shows every key.
state_dir: {state}
start: {{parallel: 3, spread: 100ms}}
defaults:
  backoff: {{base: 1s}}  # shorter than the default, 3s, so that the demonstration is quick
http:
  listen:
    - "{page}"  # for the page, which asks who you are
    - unix:{socket}  # for this user alone, so it needs no token
  public_url: {url_of_page}
webhooks:
  crm: {{url: "{url}", secret_file: crm.secret, accounts: [support]}}
bots:
  echo: {{app: "echo_bot:bot", path: ., accounts: [support]}}
accounts:
"""
_ALLOW = """\
    messages: {{allow: ["{number}"]}}  # without this, messages that come in are not kept
"""
_ACCOUNT = """\
  {name}:
    phone: "{number}"  # prevents linking another phone by mistake
"""


def _free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _url_of(page: Tcp) -> str:
    """Return the page's address for a browser: of a port on all addresses, that of this machine."""
    host = "127.0.0.1" if page.is_wildcard else page.host
    return f"http://{Tcp(host, page.port)}"


def _let_in(page: Tcp, paths: StatePaths) -> None:
    """Make a token that nobody has: without any, the service opens no port to other machines."""
    if page.is_loopback:
        return
    paths.prepare()
    now, random = time.time(), os.urandom(token.ID_BYTES + token.SECRET_BYTES)
    nobodys, _ = token.make("nobody", ["metrics"], None, created=now, expires=now + 1, random=random)
    tokens.add(paths.tokens, nobodys)


class News(Enum):
    """What the main thread waits for."""

    SIGNAL = auto()
    SERVICE_ENDED = auto()
    STORY_OVER = auto()


@contextmanager
def signals() -> Iterator[SimpleQueue[News]]:
    """Turn the signals that end a program into news, so that they interrupt nothing half done."""
    news: SimpleQueue[News] = SimpleQueue()

    def note(_number: int, _frame: FrameType | None) -> None:
        news.put(News.SIGNAL)

    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in ends}
    try:
        yield news
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Screen(Protocol):
    """Where the demonstration is shown; any thread may call the methods."""

    def say(self, text: str) -> None:
        """Show a sentence of the story, with the time."""

    def now(self, text: str) -> None:
        """Show the current step."""

    def accounts(self, accounts: Sequence[AccountView]) -> None:
        """Show the current accounts."""

    def page(self, lines: Sequence[str]) -> None:
        """Show lines that belong together, as they are."""

    def live(self) -> AbstractContextManager[object]:
        """Show changes while the context lasts."""


@dataclass(frozen=True, slots=True)
class Step:
    """A finished part of the story, and its seconds."""

    title: str
    seconds: float


class Demo:
    """One demonstration.

    Args:
        folder: An empty folder for all files.
        screen: Where the demonstration is shown.
        program: How a person types the command, for the suggestions.
        news: Where signals come in; see `signals`.
        page: Where the page listens; None for a port of loopback that nobody uses.

    Raises:
        StateError: The folder's path is too long.
    """

    def __init__(
        self,
        folder: Path,
        screen: Screen,
        program: str,
        news: SimpleQueue[News],
        page: Tcp | None = None,
    ) -> None:
        self._folder = folder
        self._screen = screen
        self._program = program
        self._news = news
        self._steps: list[Step] = []
        self._config = folder / "accounts.yaml"
        self._paths = StatePaths.of(folder / "state", environ={})
        self._sandbox = SandboxProcess(folder / "sandbox")
        self._service: BackgroundService
        self._receiver = Receiver()
        self._api = folder / "api.sock"
        self._page = page or Tcp("127.0.0.1", _free_port())
        self._teller: threading.Thread | None = None
        self._error: Exception | None = None

    # The main thread

    def run(self, *, once: bool) -> bool:
        """Run the demonstration, and leave only the folder behind.

        Args:
            once: End after the story; otherwise go on until a signal.

        Returns:
            Whether the story was told to its end.

        Raises:
            OrchestratorError: A step failed; the message has the end of the service's log.
            SandboxError: The sandbox did not start.
        """
        self._screen.say(f"all files of this demonstration are in {self._folder}")
        started = time.monotonic()
        with self._sandbox:
            self._steps.append(Step("the sandbox starts", time.monotonic() - started))
            self._screen.say(
                f"the sandbox, a WhatsApp test server, listens on 127.0.0.1:{self._sandbox.port}"
            )
            with self._receiver:
                told = self._news.empty() and self._run_service(once=once)
        if self._teller is not None:
            self._teller.join()  # without a sandbox and a service there is nothing to wait for
        return told

    def _run_service(self, *, once: bool) -> bool:
        self._configure()
        _let_in(self._page, self._paths)
        self._service = BackgroundService(
            self._config,
            self._paths.control_socket,
            self._environment(),
            self._folder / "service.log",
            changed=self._screen.accounts,
            ended=lambda: self._news.put(News.SERVICE_ENDED),
        )
        started = time.monotonic()
        try:
            self._service.start()
            with self._screen.live():
                return self._play(started, once=once)
        finally:
            self._stop_service()

    def _environment(self) -> dict[str, str]:
        environment = self._sandbox.environment()
        if len(os.fsencode(self._folder)) <= MAX_FOLDER:
            # A killed service leaves a temporary folder behind, which is removed with the rest.
            environment["TMPDIR"] = str(self._folder)
        return environment

    def _configure(self) -> None:
        accounts = {name: _ACCOUNT.format(name=name, number=number) for name, number in NUMBERS.items()}
        accounts["support"] += _ALLOW.format(number=ADA)
        head = _CONFIGURATION.format(
            state=json.dumps(str(self._paths.root)),  # YAML reads it the same
            page=self._page,
            url_of_page=_url_of(self._page),
            socket=self._api,
            url=self._receiver.url,
        )
        self._config.write_text(head + "".join(accounts.values()))
        (self._folder / "echo_bot.py").write_text(BOT)
        secret = self._folder / "crm.secret"
        secret.touch(mode=0o600)
        secret.write_text(self._receiver.secret + "\n")

    def _play(self, started: float, *, once: bool) -> bool:
        self._teller = threading.Thread(target=self._story, args=(started,), name="story", daemon=True)
        self._teller.start()
        try:
            if not self._is_told():
                return False
            self._screen.page(self._summary())
            if not once:
                self._screen.page(self._suggestions())
                self._screen.now("the story is over; Ctrl-C ends the demonstration")
                if self._news.get() is News.SERVICE_ENDED:
                    raise self._service.failure(ENDED)
            return True
        finally:
            self._service.cancel()

    def _is_told(self) -> bool:
        """Wait for the end of the story; return False if a signal came before."""
        match self._news.get():
            case News.SIGNAL:
                return False
            case News.SERVICE_ENDED:
                raise self._service.failure(ENDED)
        if self._error is None:
            return True
        if isinstance(self._error, NotRunning) or not self._service.runs:
            # The story's thread may notice first, in any step.
            raise self._service.failure(ENDED)
        raise self._error

    def _stop_service(self) -> None:
        self._service.ask_to_stop()
        with suppress(OSError):  # the terminal may be gone
            self._screen.say("the service stops")
        deadline = time.monotonic() + STOP_SECONDS
        while self._service.runs:
            try:
                if self._news.get(timeout=max(0.0, deadline - time.monotonic())) is News.SIGNAL:
                    self._service.ask_to_stop()
            except Empty:
                self._service.kill()
                deadline += STOP_SECONDS
        self._service.join()

    # The story, in a thread of its own

    @property
    def _phones(self) -> SandboxClient:
        return self._sandbox.client

    def _story(self, started: float) -> None:
        try:
            self._tell(started)
        except Cancelled:
            return
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            self._error = error
        self._news.put(News.STORY_OVER)

    def _tell(self, started: float) -> None:
        with self._timed("the service starts", since=started):
            self._service.until_up(PATIENCE)
        self._screen.say(f"the service runs: orchestrator --config {self._config} run")
        self._screen.say(f"watch it in a browser, by this link, which is good once: {self._invite()}")
        with self._timed("every account shows a code"):
            for name in NUMBERS:
                picture = self._wait_for_code(name).qr_path
                self._screen.say(f"{name} waits for its phone: {picture}")
        with self._timed("the phones scan the codes, the accounts connect"):
            self._phones.add_phone(ADA, "Ada")
            self._link(*NUMBERS)
        with self._timed("the accounts and Ada write to each other"):
            self._converse()
        with self._timed("a bot answers Ada, a webhook receives, the metrics say so"):
            self._answer()
        with self._timed("a phone logs its account out, and links the account again"):
            self._log_out("sales")
        with self._timed("a process is killed, and its account reconnects"):
            self._kill("alerts")

    def _invite(self) -> str:
        """Return the address that opens the page once, as `orchestrator page` prints it."""
        _, code = invitations.invite(
            self._paths.tokens, self._paths.gateway, now=time.time(), seconds=_PAGE_SECONDS
        )
        return invitations.url(_url_of(self._page), code)

    @contextmanager
    def _timed(self, title: str, since: float | None = None) -> Iterator[None]:
        self._screen.now(title)
        start = time.monotonic() if since is None else since
        yield
        self._steps.append(Step(title, time.monotonic() - start))

    def _wait_for_code(self, name: str, *, unlike: str | None = None) -> AccountView:
        """Return an account that shows a code, with an expiry time other than the given one."""

        def shown(accounts: Accounts) -> AccountView | None:
            account = accounts.get(name)
            if account is None or account.qr_path is None or account.qr_expires_at == unlike:
                return None
            return account

        return self._service.until(shown, f"{name} showed no code", PATIENCE)

    def _wait_for_connection(self, name: str, *, after: int | None = None) -> AccountView:
        """Return a connected account, whose process is not the given one."""

        def connected(accounts: Accounts) -> AccountView | None:
            account = accounts[name]
            return account if account.state == "connected" and account.pid != after else None

        return self._service.until(connected, f"{name} did not connect", PATIENCE)

    def _link(self, *names: str) -> None:
        """Scan codes with the phones, one after the other, and wait until all accounts are connected."""
        for name in names:
            self._scan(name)
        # At its first log-in an account stores 812 keys one by one: seconds, on a disk that is slow to write.
        self._screen.now("the accounts log in for the first time")
        for name in names:
            phone = self._wait_for_connection(name).phone
            self._screen.say(f"{name} is connected as {phone}")

    def _scan(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        account = self._wait_for_code(name)
        picture = Path(account.qr_path or "")
        while True:
            self._screen.now(f"the phone {NUMBERS[name]} scans {picture.name}")
            try:
                self._phones.scan(NUMBERS[name], png=picture)
                break
            except (SandboxError, FileNotFoundError) as error:
                if time.monotonic() > deadline:
                    raise self._service.failure(f"{name} was not linked: {error}") from None
                # On a slow machine the code may have expired meanwhile; another one follows.
                account = self._wait_for_code(name, unlike=account.qr_expires_at)
        self._screen.say(f"the phone {NUMBERS[name]} has scanned {picture.name}")

    def _converse(self) -> None:
        self._write("support", "sales", NUMBERS["sales"], "Somebody asks for a price.")
        self._write("sales", "alerts", NUMBERS["alerts"], "Sold! Ring the bell.")
        self._write("alerts", "Ada", ADA, "Your parcel is on its way.")

    def _answer(self) -> None:
        text = "When does it arrive?"
        since = self._phones.last_event()
        message = self._phones.send_text(ADA, NUMBERS["support"], text)
        self._phones.wait_for("receipt", PATIENCE, since, id=message, by=NUMBERS["support"])
        self._screen.say(f"Ada → support: “{text}”")
        heard = self._phones.wait_for("received", PATIENCE, since, phone=ADA)
        (answer,) = [one for one in self._phones.inbox(ADA) if one["seq"] == heard["inbox"]]
        self._screen.say(f"the bot echo → Ada: “{answer['text']}”")
        event = self._receiver.wait_for(lambda one: one["data"].get("id") == message, PATIENCE)
        if event is None:
            raise self._service.failure("the webhook received nothing")
        said = f"{event['type']} “{event['data']['text']}”"
        self._screen.say(f"the webhook crm received {event['id']}, rightly signed: {said}")
        for line in self._wait_for_deliveries("crm", "echo"):
            self._screen.say(f"the metrics say {line}")

    def _wait_for_deliveries(self, *consumers: str) -> list[str]:
        """Return the lines of the metrics by which consumers have had events."""
        wanted = [f'orchestrator_events_delivered_total{{consumer="{one}"}}' for one in consumers]
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError, HTTPException):
                lines = read_metrics(self._api)
                found = [
                    line for line in lines if line.startswith(tuple(wanted)) and not line.endswith(" 0.0")
                ]
                if len(found) == len(wanted):
                    return found
            if time.monotonic() > deadline:
                raise self._service.failure("the metrics do not tell of what was delivered")
            self._service.pause(0.1)

    def _write(self, name: str, receiver: str, number: str, text: str) -> None:
        """Send a text from an account, and read the text on the receiver's phone."""
        since = self._phones.last_event()
        self._service.client.call("send", name=name, message={"to": number, "text": text})
        event = self._phones.wait_for("received", PATIENCE, since, phone=number)
        (message,) = [one for one in self._phones.inbox(number) if one["seq"] == event["inbox"]]
        self._screen.say(f"{name} → {receiver}: “{message['text']}”")

    def _log_out(self, name: str) -> None:
        self._wait_for_connection(name)
        self._phones.unlink(NUMBERS[name])
        self._screen.say(f"the phone {NUMBERS[name]} has unlinked this computer: {name} is logged out")
        picture = self._wait_for_code(name).qr_path
        for place in sorted(self._paths.quarantine.glob(f"{name}-*")):
            self._screen.say(f"its old session is in quarantine: {place}")
        self._screen.say(f"{name} shows a new code: {picture}")
        self._link(name)

    def _kill(self, name: str) -> None:
        pid = self._wait_for_connection(name).pid
        since = self._phones.last_event()
        assert pid is not None  # it is connected
        os.kill(pid, signal.SIGKILL)
        self._screen.say(f"process {pid} of {name} was killed by SIGKILL")
        account = self._wait_for_connection(name, after=pid)
        if any(event["event"] == "pairing" for event in self._phones.events(since)):
            raise self._service.failure(f"{name} needed a code to reconnect")
        self._screen.say(f"{name} is connected again as process {account.pid}, without a new code")

    # What it says at the end

    def _summary(self) -> list[str]:
        width = max(len(step.title) for step in self._steps)
        lines = ["", "What happened, and how long it took:"]
        lines += [f"  {step.title:<{width}}  {step.seconds:5.1f} s" for step in self._steps]
        return [*lines, f"  {'in all':<{width}}  {sum(step.seconds for step in self._steps):5.1f} s", ""]

    def _suggestions(self) -> list[str]:
        command = f"{self._program} --config {shlex.quote(str(self._config))}"
        sandbox = f"{self._program} sandbox"
        control = f"http://127.0.0.1:{self._sandbox.about['control_port']}"
        picture = shlex.quote(str(self._paths.qr / "support.png"))
        return [
            f"The service keeps its files in {self._paths.root}; its log is {self._service.log}.",
            "",
            "Try from another terminal:",
            f"  export {CONTROL_VARIABLE}={control}",
            f"  {command} page --open",
            f"  {command} list --watch",
            f"  {command} explain sales",
            f"  {command} send support --to {ADA} 'Hello Ada'",
            f"  {sandbox} inbox {ADA}",
            f"  {sandbox} send --from {ADA} --to {NUMBERS['support']} 'Hello bot'",
            f"  {command} messages support",
            f"  {command} webhook list",
            f"  curl --unix-socket {shlex.quote(str(self._api))} http://localhost/metrics",
            f"  {command} repair support --no-wait --yes",
            f"  {sandbox} scan {picture} --phone {NUMBERS['support']}",
            f"  {sandbox} fault reset --target {NUMBERS['alerts']}",
            f"  {sandbox} fault refuse --seconds 20",
            "",
        ]
