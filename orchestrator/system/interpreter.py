"""How this project starts Python: modules never come from the current folder.

Python looks for modules in the current folder first after ``python -m`` and ``python -c``, and wherever
PYTHONPATH has an empty entry. So a ``random.py`` in that folder, left there by chance or by somebody else,
would run with access to all sessions.
"""
# pathlib is not loaded yet:
# ruff: noqa: PTH100, PTH109, PTH117, PTH118, PTH120

# This module may import only what Python has loaded before it runs a program: the path is not clean yet. Even
# ``from __future__ import annotations`` looks for a file.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Python may not look where the package is: it finds sources that were never installed in the current folder
# only. So the package's parent folder is on the path for this one import. The package's file imports nothing.
_IMPORT_PACKAGE = (
    f"import sys; sys.path.insert(0, {os.path.dirname(_PACKAGE)!r}); import orchestrator; del sys.path[0]\n"
)


def leave_current_folder() -> None:
    """Stop this process from importing from the current folder and from the folder of its script.

    Only a program of this project may call this function, as its first step. Another program may need its
    folder. An absolute entry of PYTHONPATH stays, even an entry that names the current folder: somebody chose
    it.
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
    """Return the command line that runs a few lines of Python. The lines can import this package.

    Args:
        code: The lines.
        *arguments: What the lines find in ``sys.argv[1:]``.
    """
    return [sys.executable, "-P", "-c", _IMPORT_PACKAGE + code, *arguments]


def module(name: str, *arguments: str) -> list[str]:
    """Return the command line that runs a package of this program, as ``python -m`` would.

    Args:
        name: The package, such as ``orchestrator.gateway``.
        *arguments: What it finds in ``sys.argv[1:]``.
    """
    lines = f"import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    return script(lines, *arguments)


def again() -> list[str]:
    """Return the command line that this process was started with, for a program that begins anew."""
    return [sys.executable, *sys.orig_argv[1:]]


def guarded(command: "Sequence[str | bytes]") -> list[str | bytes]:
    """Return another library's command line for a few lines of Python, made as safe as one of `script`.

    Args:
        command: An interpreter, its options, ``-c`` and the lines.

    Raises:
        ValueError: The command line has another form.
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

    PYTHONSAFEPATH would not help. Python heeds relative entries in spite of PYTHONSAFEPATH. Programs that are
    started from such a Python, for example a bot in the sandbox, would inherit the variable and miss the
    folder of their script.

    Args:
        base: The environment to start from. The function does not change it.
    """
    made = {**base}
    if "PYTHONPATH" in made:
        kept = [entry for entry in _entries(base) if os.path.isabs(entry)]
        if kept:
            made["PYTHONPATH"] = os.pathsep.join(kept)
        else:
            del made["PYTHONPATH"]
    return made


_PASSED_ON = frozenset(
    {
        # Where programs, files and the user's home are, and how texts and times are written.
        "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "LANG", "LANGUAGE",
        "TZ", "TZDIR", "LOCPATH",
        # The way to WhatsApp, and whose certificates count.
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "http_proxy", "https_proxy", "all_proxy", "no_proxy",
        # Libraries, and the memory that they use.
        "LD_LIBRARY_PATH", "GLIBC_TUNABLES",
        "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK",
        # What an operator says of neonize's library.
        "ORCHESTRATOR_LIBRARY_SHA256",
        # Python.
        "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "PYTHONOPTIMIZE", "PYTHONHASHSEED", "PYTHONUTF8",
        "PYTHONIOENCODING", "PYTHONCOERCECLOCALE", "PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONDEVMODE",
        "PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONTRACEMALLOC", "PYTHONFAULTHANDLER",
        "PYTHONINTMAXSTRDIGITS", "PYTHONNODEBUGRANGES",
        # Whether the log goes to the journal.
        "JOURNAL_STREAM",
    }
)  # fmt: skip
_PASSED_ON_PREFIXES = ("LC_", "MALLOC_", "ORCHESTRATOR_SANDBOX_", "ORCHESTRATOR_TEST_")
"""The sandbox's hook and the tests' own hooks, which run in accounts' processes, read the last two."""


def helper_environment(base: "Mapping[str, str]") -> dict[str, str]:
    """Return the environment for a process that the service starts: only variables that such a process needs.

    Whatever else the operator has in the environment, tokens and passwords of other programs for example,
    stays out of the memory of a process that reads what strangers send.

    Args:
        base: The service's environment. The function does not change it.
    """
    return {
        name: value
        for name, value in environment(base).items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


_OF_BOTS = frozenset(
    {
        # How texts and times are written, whose certificates count, and where libraries are.
        "PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "LOCPATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "LD_LIBRARY_PATH", "GLIBC_TUNABLES",
        # Python.
        "PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX",
        "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE",
        "PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONDEVMODE",
        "JOURNAL_STREAM",
    }
)  # fmt: skip


def bot_environment(base: "Mapping[str, str]") -> dict[str, str]:
    """Return the environment for a bot's process, to which the configuration adds the bot's own variables.

    The bot is code of somebody's who may not know what the service's environment holds. The way out through a
    proxy is not handed on, because a proxy's address may have a password.

    Args:
        base: The service's environment. The function does not change it.
    """
    return {
        name: value
        for name, value in environment(base).items()
        if name in _OF_BOTS or name.startswith(("LC_", "MALLOC_"))
    }


def _entries(base: "Mapping[str, str]") -> list[str]:
    path = base.get("PYTHONPATH", "")
    return path.split(os.pathsep) if path else []
