"""Which thread of an account's process may reach other machines from Python: the one that fetches files."""

from __future__ import annotations

import socket
import subprocess

from orchestrator.system import interpreter

PROGRAM = """
import socket, sys, threading
from orchestrator.worker.library import package

port = int(sys.argv[1])

def attempts():
    yield lambda: socket.create_connection(("127.0.0.1", port), 20).close()
    yield lambda: socket.getaddrinfo("localhost", port)
    yield lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))

def outcome():
    found = []
    for attempt in attempts():
        try:
            attempt()
        except package.LibraryError:
            found.append("refused")
        else:
            found.append("done")
    return found

def elsewhere():
    found = []
    thread = threading.Thread(target=lambda: found.append(outcome()))
    thread.start()
    thread.join()
    return found[0]

print(set(outcome()))
package.forbid_connections()
print(set(outcome()))
with package.connections_of_ours():
    print(set(outcome()), set(elsewhere()))
print(set(outcome()))
try:
    with package.connections_of_ours():
        raise ValueError
except ValueError:
    print(set(outcome()))
"""


def test_only_the_thread_that_says_so_reaches_other_machines_and_only_meanwhile() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            interpreter.script(PROGRAM, port), capture_output=True, text=True, check=True, timeout=120
        )
    assert done.stdout.splitlines() == [
        "{'done'}",
        "{'refused'}",
        "{'done'} {'refused'}",
        "{'refused'}",
        "{'refused'}",
    ]
