"""The command line: `optirelay`."""

import sys
from pathlib import Path

from optirelay import service
from optirelay.settings import load


def main() -> None:
    """Run one command."""
    service.configure_logs()
    settings = load(Path(sys.argv[sys.argv.index("--config") + 1]))
    if sys.argv[1] == "serve":
        service.serve(settings)
    else:
        service.work(settings, with_parent="--with-parent" in sys.argv)
