"""The command line: `optirelay`."""


def main() -> None:
    """Run one command."""
