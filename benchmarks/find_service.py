"""How long `list` takes that finds the service by a configuration of many accounts, however that is written.

Run as ``python -m benchmarks.find_service [--accounts 1000] [--repetitions 30] [--before FOLDER]``.

The accounts are disabled, so that the service needs no WhatsApp; `list` shows them all. With ``--before``,
the same commands of another version, whose sources are in that folder, take turns with these: what disturbs
one disturbs both. The service is this version's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.cli_startup import Program, Programs, Run
from benchmarks.machine import print_load, print_machine
from benchmarks.report import table
from benchmarks.service import Service, program_environment

NOW, BEFORE = "now", "before"


def accounts(count: int) -> str:
    """Return the part of a configuration with so many accounts."""
    entries = (
        f'  account-{number}:\n    phone: "+4915{number:08d}"\n    enabled: false\n'
        f"    proxy: socks5://user:secret@10.0.0.1:{1024 + number}\n"
        for number in range(count)
    )
    return "accounts:\n" + "".join(entries)


def layouts(state: Path, entries: str) -> dict[str, str]:
    """Return configurations that lead to the same service, by what they look like."""
    return {
        "no state_dir": entries,
        "state_dir on top": f"state_dir: {state}\n{entries}",
        "state_dir at the end": f"{entries}state_dir: {state}\n",
        "state_dir in a comment": f"# state_dir: {state}\n{entries}",
        "an escape of one of its letters": f'defaults: {{device_name: "\\x73"}}\n{entries}',
        "state_dir merged in": f"defaults: &d {{}}\n<<: {{state_dir: {state}}}\n{entries}",
    }


def measure(
    programs: Mapping[str, Programs], which: Sequence[Program], repetitions: int
) -> dict[tuple[str, str], list[Run]]:
    """Start every program in every version so often, in turns, after one start that does not count."""
    found: dict[tuple[str, str], list[Run]] = {}
    for number in range(repetitions + 1):
        for program in which:
            # Whoever comes first has the processor's caches warmed for the other: they take turns.
            for version in sorted(programs, reverse=bool(number % 2)):
                run = programs[version].measure(program)
                if number:
                    found.setdefault((program.name, version), []).append(run)
    return found


def show(found: Mapping[tuple[str, str], Sequence[Run]], names: Sequence[str], *, compared: bool) -> None:
    """Print the medians."""
    rows = []
    for name in names:
        cells = [name]
        for what in ("wall", "cpu"):
            now = median(getattr(run, what) for run in found[name, NOW])
            if compared:
                before = median(getattr(run, what) for run in found[name, BEFORE])
                cells += [
                    f"{1000 * before:.0f} ms",
                    f"{1000 * now:.0f} ms",
                    f"{100 * (now / before - 1):+.1f} %",
                ]
            else:
                cells.append(f"{1000 * now:.0f} ms")
        rows.append(tuple(cells))
    head = ("wall before", "now", "", "CPU before", "now", "") if compared else ("wall", "CPU")
    count = len(next(iter(found.values())))
    table(f"`list` by a configuration, medians of {count}", ("", *head), *rows)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1000, help="how many there are (default: 1000)")
    parser.add_argument("--repetitions", type=int, default=30, help="how often each starts (default: 30)")
    parser.add_argument("--before", type=Path, help="the folder of another version's sources")
    arguments = parser.parse_args()
    print_machine()
    here = Path(__file__).resolve().parents[1]
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="find-service-")))
        sources = {NOW: here} | ({BEFORE: arguments.before.resolve()} if arguments.before else {})
        usual = folder / ".local/state"
        usual.mkdir(parents=True)
        usual = usual / "orchestrator"
        base = {**program_environment(os.environ), "HOME": str(folder)}
        service = Service(
            folder, {f"account-{n}": {"enabled": False} for n in range(arguments.accounts)}, base
        )
        # Where no configuration says anything else, so that the layout without the key leads there, too.
        usual.symlink_to(service.paths.root)
        running.enter_context(service.running())
        which = []
        for name, text in layouts(service.paths.root, accounts(arguments.accounts)).items():
            file = folder / f"{name.replace(' ', '-')}.yaml"
            file.write_text(text)
            line = (sys.executable, "-m", "orchestrator", "--config", str(file), "list", "--json")
            which.append(Program(name, line))
        programs = {
            version: Programs(folder, {**base, "PYTHONPATH": str(path)}) for version, path in sources.items()
        }
        found = measure(programs, which, arguments.repetitions)
        show(found, [program.name for program in which], compared=BEFORE in programs)
    print_load()


if __name__ == "__main__":
    main()
