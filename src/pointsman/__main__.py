"""The command `pointsman`, and `python -m pointsman`: Ctrl-C leaves no traceback, however early or late."""

import os
import signal
import sys


def main() -> int:
    """Run the command line as this process; returns the exit code."""
    if sys.argv[1:2] == ["serve"]:
        _take_signals_until_it_serves()
    takes_signals = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes_signals:
        # While modules are imported and while Python ends, nothing is half done.
        signal.signal(signal.SIGINT, _leave)
    from pointsman.cli import __main__ as command_line

    command_line.import_commands()
    try:
        if takes_signals:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return command_line.main()
    finally:
        if takes_signals:
            signal.signal(signal.SIGINT, _leave)


def _take_signals_until_it_serves() -> None:
    """SIGTERM ends it, also as the first process of a container; SIGHUP has nothing to reload yet."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _leave(*_: object) -> None:
    try:
        os.write(2, b"interrupted; nothing was left half-written\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    raise SystemExit(main())
