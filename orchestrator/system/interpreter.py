"""How this project starts Python: never with the current folder among the places that modules come from.

Python itself puts that folder first for ``python -m`` and ``python -c``, and takes it for an empty entry of
PYTHONPATH. A ``random.py`` that lies there by chance, or that somebody else put there, would be run with all
sessions at hand.
"""
# pathlib is not loaded yet:
# ruff: noqa: PTH100, PTH109, PTH117, PTH118, PTH120

# Nothing may be imported here that Python has not loaded before it runs a program: the path is not clean yet.
# Even ``from __future__ import annotations`` looks for a file.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The package may lie where Python does not look: sources that were never installed are found in the current
# folder only. So its parent is on the path for this one import; the package's own file imports nothing.
_IMPORT_PACKAGE = (
    f"import sys; sys.path.insert(0, {os.path.dirname(_PACKAGE)!r}); import orchestrator; del sys.path[0]\n"
)


def leave_current_folder() -> None:
    """Have this process import nothing more from the current folder, nor from that of the script it runs.

    Only a program of this project may call this, as its first step: somebody else's may need its folder. An
    absolute entry of PYTHONPATH stays, even if it names the current folder: somebody wants it.
    """
    try:
        here = os.getcwd()
    except OSError:  # the folder was removed
        here = ""
    script_folder = os.path.dirname(os.path.realpath(sys.argv[0]))
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", here, script_folder):
        del sys.path[0]
    entries = [] if sys.flags.ignore_environment else _entries(os.environ)
    wanted = {os.path.normpath(entry) for entry in entries if os.path.isabs(entry)}
    relative = {
        os.path.normpath(os.path.join(here, entry)) for entry in entries
    } - wanted  # as Python made them
    sys.path[:] = [entry for entry in sys.path if entry and entry not in relative]


def program(*arguments: str) -> list[str]:
    """Return the command line that runs this program, for the environment that `environment` returns.

    Args:
        *arguments: The program's arguments.
    """
    return [sys.executable, "-P", os.path.join(_PACKAGE, "__main__.py"), *arguments]


def script(code: str, *arguments: str) -> list[str]:
    """Return the command line that runs a few lines of Python, which can import this package.

    Args:
        code: The lines.
        *arguments: What the lines find in ``sys.argv[1:]``.
    """
    return [sys.executable, "-P", "-c", _IMPORT_PACKAGE + code, *arguments]


def guarded(command: "Sequence[str | bytes]") -> list[str | bytes]:
    """Return a command line that runs a few lines of Python, made by somebody else, as `script` does.

    Args:
        command: An interpreter, its options, ``-c`` and the lines.

    Raises:
        ValueError: It is another command line.
    """
    interpreter, *options, flag, code = command
    if flag != "-c" or not isinstance(code, str):
        raise ValueError(f"this does not run a few lines of Python: {command}")
    return [
        interpreter,
        "-P",
        *(option for option in options if option != "-P"),
        flag,
        _IMPORT_PACKAGE + code,
    ]


def environment(base: "Mapping[str, str]") -> dict[str, str]:
    """Return the environment for a Python of this project: PYTHONPATH without its relative entries.

    PYTHONSAFEPATH would not help. Python heeds those entries in spite of it, and programs that are started
    from here, such as a bot in the sandbox, would inherit it and miss the folder of their script.

    Args:
        base: The environment it is made from.
    """
    made = {**base}
    if "PYTHONPATH" in made:
        kept = [entry for entry in _entries(base) if os.path.isabs(entry)]
        if kept:
            made["PYTHONPATH"] = os.pathsep.join(kept)
        else:
            del made["PYTHONPATH"]
    return made


def _entries(base: "Mapping[str, str]") -> list[str]:
    path = base.get("PYTHONPATH", "")
    return path.split(os.pathsep) if path else []
