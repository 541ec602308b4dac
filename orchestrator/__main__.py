"""The command ``orchestrator``, which is also ``python -m orchestrator``."""

import gc


def main() -> None:
    """Run the command line.

    Modules live until the process ends. Python's garbage collector searches them many times while they are
    loaded, and again at the end. That took a fifth of a short command's time, so the collector skips them.
    """
    gc.disable()
    from orchestrator.cli import main as run

    gc.freeze()
    gc.enable()
    try:
        run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
