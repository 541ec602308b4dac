"""What the real library is asked before it connects: nothing that would end the process."""

import subprocess
import sys
from pathlib import Path

ASKS = """
import logging, sys
from pathlib import Path
from orchestrator.accounts.settings import Messages
from orchestrator.worker.intake import Intake
from orchestrator.worker.library import loading, package

loading.prepare()
with package.without_shell():
    from orchestrator.worker.library.client import Client, ClientSettings
loading.complete()
put = lambda event: None
settings = ClientSettings("support", Path(sys.argv[1]), "Test", None, logging.WARNING)
client = Client(settings, put, Intake(None, Messages(), put))
print(
    client.name_of("4915100002", "s.whatsapp.net"),
    client.number_of("269139479534551"),
    client.hidden_address_of("4915100002"),
    client.phone(),
    client.logged_in,
)
"""


def test_nobody_is_known_before_the_library_has_a_client(tmp_path: Path) -> None:
    """Asked about a client that it does not have yet, Go ends the process."""
    done = subprocess.run(
        [sys.executable, "-c", ASKS, str(tmp_path / "session.sqlite3")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-5:] == ["None", "None", "None", "None", "False"]
