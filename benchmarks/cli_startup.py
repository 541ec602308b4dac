"""How long a command takes to start, compared with Python that does nothing.

Run as ``python -m benchmarks.cli_startup [--repetitions 30]``.

``list`` asks a running service with no accounts, or reads the configuration where none runs; that service
needs no WhatsApp. The programs take turns, so that what disturbs one disturbs all. CPU is that of the program
alone, user and system, as the kernel tells when it ends.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import print_load, print_machine
from benchmarks.report import table
from benchmarks.service import Service, program_environment

NEVER = ("neonize", "pydantic", "multiprocess", "cryptography")
"""Packages that none of these commands needs, and each of which takes longer to import than all it needs."""
SHOWN = 6
"""How many packages are named of those that take longest to import."""
_IMPORT_TIME = "import time:"


@dataclass(frozen=True, slots=True)
class Program:
    """A program to start.

    Attributes:
        name: What it is called in the tables.
        arguments: What Python is called with.
        exit_code: How it has to end.
    """

    name: str
    arguments: Sequence[str]
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What one start took, in seconds."""

    wall: float
    cpu: float


class Programs:
    """Starts programs in the same surroundings.

    Args:
        folder: The current folder of those that are measured: nothing of an operator's is found from there.
        environment: Their environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def measure(self, program: Program) -> Run:
        """Start a program, wait for its end, and return what it took."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *program.arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == program.exit_code, f"{program.name} ended with {process.returncode}"
        return Run(wall, used.ru_utime + used.ru_stime)

    def imports(self, program: Program) -> dict[str, int]:
        """Return the modules a program imports, each with its own microseconds, without what it imports."""
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *program.arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == program.exit_code, done.stderr
        found = {}
        for line in done.stderr.splitlines():
            if line.startswith(_IMPORT_TIME):
                own, _, name = line.removeprefix(_IMPORT_TIME).split("|")
                if own.strip().isdecimal():
                    found[name.strip()] = int(own)
        return found


def measure(programs: Programs, which: Sequence[Program], repetitions: int) -> dict[str, list[Run]]:
    """Start each of them so often, in turns, after one start that does not count."""
    found: dict[str, list[Run]] = {program.name: [] for program in which}
    for number in range(repetitions + 1):
        for program in which:
            run = programs.measure(program)
            if number:
                found[program.name].append(run)
    return found


def show_times(runs: Mapping[str, Sequence[Run]]) -> None:
    """Print the medians, and how they compare with the first program's."""
    (base_wall, base_cpu), *_ = (_medians(found) for found in runs.values())
    rows = []
    for name, found in runs.items():
        wall, cpu = _medians(found)
        cells = (
            f"{1000 * wall:.0f} ms",
            f"{wall / base_wall:.1f}",
            f"{1000 * cpu:.0f} ms",
            f"{cpu / base_cpu:.1f}",
        )
        rows.append((name, *cells, f"{1000 * min(run.cpu for run in found):.0f} ms"))
    count = len(next(iter(runs.values())))
    table(f"to start and end, medians of {count}", ("", "wall", "ratio", "CPU", "ratio", "least CPU"), *rows)


def _medians(runs: Sequence[Run]) -> tuple[float, float]:
    return median(run.wall for run in runs), median(run.cpu for run in runs)


def show_imports(programs: Programs, which: Sequence[Program]) -> bool:
    """Print what the programs import; return whether there is nothing among it that must not be."""
    found = {program.name: programs.imports(program) for program in which}
    forbidden = {
        name: sorted({_package(one) for one in modules} & set(NEVER)) for name, modules in found.items()
    }
    table(
        "imports",
        ("", "modules", *(f"{name}?" for name in NEVER)),
        *(
            (name, str(len(modules)), *("YES" if one in forbidden[name] else "no" for one in NEVER))
            for name, modules in found.items()
        ),
    )
    for name, modules in found.items():
        times: dict[str, int] = {}
        for module, own in modules.items():
            times[_package(module)] = times.get(_package(module), 0) + own
        dearest = sorted(times.items(), key=lambda item: -item[1])[:SHOWN]
        cells = ", ".join(f"{package} {own / 1000:.0f} ms" for package, own in dearest)
        print(f"  dearest imports of {name}: {cells}")
    return not any(forbidden.values())


def _package(module: str) -> str:
    name = module.partition(".")[0]
    return "the standard library" if name in sys.stdlib_module_names else name


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=30, help="how often each starts (default: 30)")
    arguments = parser.parse_args()
    print_machine()
    package = str(Path(__file__).resolve().parents[1])
    environment = {**program_environment(os.environ), "PYTHONPATH": package}
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="startup-")))
        (folder / "other").mkdir()
        service = Service(folder, {}, environment)
        running.enter_context(service.running())
        ours = ("-m", "orchestrator", "--config", str(service.config_file), "--state-dir")
        which = [
            Program("python -c pass", ("-c", "pass")),
            Program("orchestrator --help", ("-m", "orchestrator", "--help")),
            Program("orchestrator --version", ("-m", "orchestrator", "--version")),
            Program("orchestrator list, service runs", (*ours, str(service.paths.root), "list")),
            Program("  with --json", (*ours, str(service.paths.root), "list", "--json")),
            Program("orchestrator list, it does not", (*ours, str(folder / "other"), "list")),
        ]
        programs = Programs(folder, environment)
        show_times(measure(programs, which, arguments.repetitions))
        good = show_imports(programs, which)
    print_load()
    if not good:
        sys.exit("\na command imports what it must not")


if __name__ == "__main__":
    main()
