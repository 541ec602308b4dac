"""What a sandbox costs that holds many idle clients: memory and CPU.

Run as ``python -m benchmarks.sandbox_idle [--connections 200] [--seconds 20]``.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from functools import partial

from benchmarks.light_client import LightClient, World
from benchmarks.machine import cores, print_machine
from benchmarks.meter import Memory, cpu_seconds
from benchmarks.report import kilobytes, megabytes, percent, table
from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

AT_ONCE = 8
"""How many clients link at a time; more would only wait for each other."""
GOAL_CONNECTIONS = 200
GOAL_BYTES = 250e6
"""What the sandbox may take with so many connections."""


async def bring_online(world: World, control: SandboxClient, count: int) -> list[LightClient]:
    """Link and log in so many clients, each to a phone of its own."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> LightClient:
        client = LightClient(world)
        async with free:
            scan = partial(control.scan, f"+49151{number:08d}")
            await client.link(lambda text: asyncio.to_thread(scan, text=text))
            await client.log_in()
        return client

    return await asyncio.gather(*(one(number) for number in range(count)))


def check_all_online(control: SandboxClient, count: int) -> None:
    """See that the figures are about what they say they are about."""
    online = [one for one in control.connections() if one["state"] == "online"]
    assert len(online) == count, f"{len(online)} of {count} clients are online"


async def measure(sandbox: SandboxProcess, count: int, seconds: float) -> None:
    """Measure, and print the results."""
    control = sandbox.client
    empty = Memory.of(sandbox.pid)
    began, cpu_began = time.monotonic(), cpu_seconds(sandbox.pid)
    clients = await bring_online(World.of(sandbox.about), control, count)
    linking, cpu_linking = time.monotonic() - began, cpu_seconds(sandbox.pid) - cpu_began
    staying = [asyncio.create_task(client.stay()) for client in clients]
    check_all_online(control, count)
    fresh = Memory.of(sandbox.pid)

    began, cpu_began = time.monotonic(), cpu_seconds(sandbox.pid)
    await asyncio.sleep(seconds)
    idle, cpu_idle = time.monotonic() - began, cpu_seconds(sandbox.pid) - cpu_began
    pings = sum(client.pings for client in clients)
    check_all_online(control, count)
    held = Memory.of(sandbox.pid)
    for task in staying:
        task.cancel()
    await asyncio.gather(*staying, return_exceptions=True)
    for client in clients:
        client.close()

    table(
        "memory of the sandbox",
        ("", "PSS", "RSS"),
        ("no client yet", megabytes(empty.pss), megabytes(empty.rss)),
        (f"{count} online, just linked", megabytes(fresh.pss), megabytes(fresh.rss)),
        (f"{count} online, idle for {idle:.0f} s", megabytes(held.pss), megabytes(held.rss)),
        (
            "per connection",
            kilobytes((held.pss - empty.pss) / count),
            kilobytes((held.rss - empty.rss) / count),
        ),
    )
    table(
        "CPU of the sandbox",
        ("", "total", "per client", "of one core"),
        (
            f"linking and first log-in, in {linking:.1f} s",
            f"{cpu_linking:.2f} s",
            f"{1000 * cpu_linking / count:.1f} ms",
            percent(cpu_linking / linking),
        ),
        (
            f"idle for {idle:.1f} s, {pings} pings answered",
            f"{cpu_idle:.2f} s",
            f"{1000 * cpu_idle / count:.1f} ms",
            percent(cpu_idle / idle),
        ),
    )
    if count == GOAL_CONNECTIONS:
        verdict = "met" if held.pss < GOAL_BYTES else "MISSED"
        print(f"\ngoal: under {megabytes(GOAL_BYTES)} with {count} connections: {verdict}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--connections", type=int, default=GOAL_CONNECTIONS, help="how many (default: 200)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to stay idle (default: 20)")
    arguments = parser.parse_args()
    print_machine()
    table(
        "clients",
        ("kind", "light stand-ins (benchmarks/light_client.py) in one asyncio process, not neonize"),
        ("they do", "link, log in, upload 812 prekeys, ping every 20-30 s, as neonize does"),
        (
            "count",
            f"{arguments.connections}, {AT_ONCE} linking at a time, on {cores()} cores with the sandbox",
        ),
    )
    with SandboxProcess() as sandbox:
        asyncio.run(measure(sandbox, arguments.connections, arguments.seconds))


if __name__ == "__main__":
    main()
