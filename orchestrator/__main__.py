"""Makes ``python -m orchestrator`` the same as the command ``orchestrator``, which runs `main`, too."""

# Nothing that is not built into Python may be imported before the path is clean: see `interpreter`.
import gc
import sys

if __name__ == "__main__" and not __package__:
    # `interpreter.program` runs this file by its path, and Python does not know where its package is. The
    # package's own file imports nothing.
    sys.path.insert(0, __file__.rpartition("/orchestrator/")[0])
    import orchestrator  # noqa: F401

    del sys.path[0]

from orchestrator.system import interpreter


def main() -> None:
    """Run the command line, with modules from where they are installed only.

    Modules live until the process ends. Python's garbage collector searches them many times while they are
    loaded, and again at the end. That took a fifth of a short command's time, so the collector skips them.
    """
    interpreter.leave_current_folder()
    gc.disable()
    try:
        from orchestrator.cli import main as run
    except KeyboardInterrupt:  # Ctrl-C; `run` does the same
        sys.exit(130)

    gc.freeze()
    gc.enable()
    try:
        run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
