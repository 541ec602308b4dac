"""How long a command takes to start, compared with Python that does nothing.

Run as ``python -m benchmarks.cli_startup [--repetitions 30] [--against REVISION]``.

The benchmark builds a wheel and installs it, with the versions of requirements/run.txt, in a new virtual
environment, as an operator does. It then compares the command ``orchestrator`` with ``python -c pass`` in an
empty virtual environment of the same Python. With --against, the benchmark also builds, installs and measures
another revision of this checkout in the same run.

The service has two accounts that connect to the sandbox: one shows QR codes, the other is stopped. ``start``
and ``stop`` ask for the state that the account already has. ``qr`` is interrupted, as by Ctrl-C, after the
first code. The programs take turns, so that a disturbance affects all of them. CPU is the program's user and
system time, as the kernel reports both at its end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.installed import (
    Installed,
    install_checkout,
    install_revision,
    plain_environment,
    plain_python,
)
from benchmarks.machine import print_load, print_machine
from benchmarks.report import table
from benchmarks.service import Service
from orchestrator.sandbox.process import SandboxProcess

READS = "pydantic"
"""The package that only commands need that read a whole configuration."""
NEVER = ("neonize", READS, "multiprocess", "cryptography")
"""Packages that no other of these commands needs. Each takes longer to import than all that they need."""
SHOWN = 6
"""How many packages are named of those that take longest to import."""
SHOWS, RESTS = "shows-codes", "rests"
"""The accounts."""
_CODE_LINES = 20
"""A code has more lines than these, and what comes before it has not."""
_IMPORT_TIME = "import time:"
_PYTHON = "python -c pass"


@dataclass(frozen=True, slots=True)
class Program:
    """A program to start.

    Attributes:
        name: What it is called in the tables.
        line: How it is called.
        goes_on: Whether it goes on after it has drawn a code, so that it has to be interrupted.
        reads: Whether it has to read a whole configuration.
    """

    name: str
    line: Sequence[str]
    goes_on: bool = False
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What one start took, in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Times:
    """What the starts of a program took, in seconds.

    Attributes:
        wall: The median of the time from its start to its end.
        cpu: The median of its CPU time, user and system.
        least_cpu: The least of its CPU times.
    """

    wall: float
    cpu: float
    least_cpu: float


class Programs:
    """Starts programs in the same surroundings.

    Args:
        folder: The current folder and the home of the programs, so that they find no operator's files.
        environment: The rest of their environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**environment, "HOME": str(folder)}

    def measure(self, program: Program) -> Run:
        """Start a program, wait for its end, and return what it took."""
        began = time.perf_counter()
        process = self._start(program)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        self._check(program, process)
        return Run(wall, used.ru_utime + used.ru_stime)

    def imports(self, program: Program) -> dict[str, int]:
        """Return the modules a program imports, each with its own microseconds, without what it imports."""
        with tempfile.TemporaryFile("w+") as errors:
            process = self._start(program, errors=errors.fileno(), PYTHONPROFILEIMPORTTIME="1")
            process.wait()
            self._check(program, process)
            errors.seek(0)
            lines = errors.readlines()
        found = {}
        for line in lines:
            if line.startswith(_IMPORT_TIME):
                own, _, name = line.removeprefix(_IMPORT_TIME).split("|")
                if own.strip().isdecimal():
                    found[name.strip()] = int(own)
        return found

    def _start(
        self, program: Program, errors: int | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a program, and interrupt it after a code if it would go on then."""
        process = subprocess.Popen(
            program.line,
            cwd=self._folder,
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program.goes_on else subprocess.DEVNULL,
            stderr=errors,
        )
        if process.stdout is not None:
            with process.stdout as lines:
                for _ in zip(range(_CODE_LINES), lines, strict=False):
                    pass
                process.send_signal(signal.SIGINT)
                lines.read()
        return process

    @staticmethod
    def _check(program: Program, process: subprocess.Popen[bytes]) -> None:
        wanted = 130 if program.goes_on else 0
        assert process.returncode == wanted, f"{program.name} ended with {process.returncode}"


def commands(installed: Installed, service: Service, left: Path, blank: Path) -> list[Program]:
    """Return the commands that are measured.

    Args:
        installed: Whose they are.
        service: The service that they talk to.
        left: A state folder as a service of the same configuration has left it.
        blank: A state folder that no service has used, as after a change of the configuration.
    """
    program = str(installed.program)
    ours = (program, "--config", str(service.config_file), "--state-dir")
    running, other, new = ((*ours, str(folder)) for folder in (service.paths.root, left, blank))
    return [
        Program("--help", (program, "--help")),
        Program("--version", (program, "--version")),
        Program("list", (*running, "list")),
        Program("list --json", (*running, "list", "--json")),
        Program(f"qr {SHOWS}", (*running, "qr", SHOWS), goes_on=True),
        Program(f"start {SHOWS}", (*running, "start", SHOWS)),
        Program(f"stop {RESTS}", (*running, "stop", RESTS)),
        Program("list, no service", (*other, "list")),
        Program("list --json, no service", (*other, "list", "--json")),
        Program("list, no service, changed file", (*new, "list"), reads=True),
    ]


def until_ready(service: Service) -> None:
    """Stop the account that is to rest, and wait until the other shows a code.

    Raises:
        RuntimeError: The other account cannot show a code.
    """
    service.client.call("stop", names=[RESTS], wait=True)
    with service.client.stream("watch", names=[SHOWS]) as events:
        for event in events:
            if any(one["qr_path"] for one in event["accounts"]):
                return
            for one in event["accounts"]:
                if one["state"] in ("backoff", "failed"):
                    raise RuntimeError(f"{SHOWS} shows no code: {one['reason']}")


def measure(
    programs: Programs, python: Program, which: Mapping[str, Sequence[Program]], repetitions: int
) -> tuple[Times, dict[str, dict[str, Times]]]:
    """Start each program so often, in turns, after one start that does not count.

    Returns:
        What Python alone took; and what the commands took, by installation and command.
    """
    everything = [("", python), *((of, one) for of, several in which.items() for one in several)]
    runs: dict[tuple[str, str], list[Run]] = {(of, one.name): [] for of, one in everything}
    for number in range(repetitions + 1):
        for of, one in everything:
            run = programs.measure(one)
            if number:
                runs[of, one.name].append(run)
    found = {
        key: Times(
            median(run.wall for run in each), median(run.cpu for run in each), min(run.cpu for run in each)
        )
        for key, each in runs.items()
    }
    return found["", python.name], {
        of: {one.name: found[of, one.name] for one in several} for of, several in which.items()
    }


def show_times(python: Times, found: Mapping[str, Mapping[str, Times]], repetitions: int) -> None:
    """Print the medians of each installation, and how they compare with Python alone."""
    for name, times in found.items():
        rows = [
            (
                program,
                _milliseconds(one.wall),
                f"{one.wall / python.wall:.1f}",
                _milliseconds(one.cpu),
                f"{one.cpu / python.cpu:.1f}",
                _milliseconds(one.least_cpu),
                f"{one.least_cpu / python.least_cpu:.1f}",
            )
            for program, one in {_PYTHON: python, **times}.items()
        ]
        heads = ("", "wall", "ratio", "CPU", "ratio", "least CPU", "ratio")
        table(f"{name}: from start to end, medians of {repetitions}", heads, *rows)


def show_change(python: Times, before: Mapping[str, Times], now: Mapping[str, Times]) -> None:
    """Print how the CPU times of this checkout compare with those of the other revision."""
    rows = [
        (
            program,
            f"{before[program].cpu / python.cpu:.1f}",
            f"{one.cpu / python.cpu:.1f}",
            f"{100 * (one.cpu / before[program].cpu - 1):+.0f} %",
        )
        for program, one in now.items()
    ]
    table(f"CPU, as so many times {_PYTHON}", ("", "before", "now", "change"), *rows)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def show_imports(programs: Programs, python: Program, which: Sequence[Program]) -> bool:
    """Print what commands import beyond what Python does; return whether nothing must not be among it."""
    always = programs.imports(python).keys()
    found = {program.name: programs.imports(program) for program in which}
    readers = {program.name for program in which if program.reads}
    forbidden = {
        name: sorted({_package(one) for one in modules} & set(NEVER)) for name, modules in found.items()
    }
    table(
        "imports beyond those of Python alone",
        ("", "modules", *(f"{name}?" for name in NEVER)),
        *(
            (
                name,
                str(len(modules.keys() - always)),
                *("YES" if one in forbidden[name] else "no" for one in NEVER),
            )
            for name, modules in found.items()
        ),
    )
    for name, modules in found.items():
        times: dict[str, int] = {}
        for module in modules.keys() - always:
            times[_package(module)] = times.get(_package(module), 0) + modules[module]
        slowest = sorted(times.items(), key=lambda item: -item[1])[:SHOWN]
        cells = ", ".join(f"{package} {own / 1000:.0f} ms" for package, own in slowest)
        print(f"  slowest imports of {name}: {cells}")
    return not any(
        set(packages) - ({READS} if name in readers else set()) for name, packages in forbidden.items()
    )


def _package(module: str) -> str:
    name = module.partition(".")[0]
    return "the standard library" if name in sys.stdlib_module_names else name


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=30, help="how often each starts (default: 30)")
    parser.add_argument("--against", metavar="REVISION", help="measure this revision of the checkout, too")
    arguments = parser.parse_args()
    print_machine()
    environment = plain_environment(os.environ)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="startup-")))
        ours = _folder(folder / "ours")
        installed = [install_checkout(ours)]
        if arguments.against:
            try:
                installed.insert(0, install_revision(arguments.against, _folder(folder / "against")))
            except ValueError as error:
                parser.error(str(error))
        python = Program(_PYTHON, (str(plain_python(folder / "plain")), "-c", "pass"))
        sandbox = running.enter_context(SandboxProcess())
        which = {}
        for number, one in enumerate(installed):
            service = Service(
                _folder(folder / f"service-{number}"),
                {SHOWS: {}, RESTS: {}},
                sandbox.environment(environment),
                (str(one.program),),
            )
            running.enter_context(service.running())
            until_ready(service)
            left = _folder(folder / f"left-{number}")
            for kept in service.paths.root.glob("*.json"):
                shutil.copy(kept, left)
            which[one.name] = commands(one, service, left, folder / "blank")
        programs = Programs(_folder(folder / "home"), environment)
        alone, found = measure(programs, python, which, arguments.repetitions)
        show_times(alone, found, arguments.repetitions)
        if arguments.against:
            show_change(alone, *found.values())
        good = show_imports(programs, python, which[installed[-1].name])
    print_load()
    if not good:
        sys.exit("\na command imports what it must not")


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


if __name__ == "__main__":
    main()
