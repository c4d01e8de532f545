"""The program: `optirelay`, or `python -m optirelay`."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run one command; Ctrl-C while the program is still being loaded is no reason for a traceback."""
    try:
        from optirelay.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
