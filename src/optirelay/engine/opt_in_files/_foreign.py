"""What goes wrong while files are uploaded, in our words: those of others may show a URL, and so a password."""

from collections.abc import Iterator
from contextlib import contextmanager

from optirelay.errors import NeedsOperator, OptirelayError, TryLater

SFTP = ("sftp:", "ssh:")
"""URLs that begin so are of SFTP."""


@contextmanager
def in_our_words(setting: str, *, sftp: bool) -> Iterator[None]:
    """Any error of an upload becomes NeedsOperator or TryLater, which name the setting."""
    try:
        yield
    except OptirelayError as error:
        raise type(error)(f"{setting}: {error}") from error
    except Exception as error:  # noqa: BLE001 - each protocol has errors of its own
        needed = _for_a_person(error) or (_for_a_person_by_sftp(error) if sftp else None)
        if needed is not None:
            raise NeedsOperator(f"{setting}: {needed}") from None
        what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        raise TryLater(f"{setting}: the upload did not come through ({what}); it is tried again by itself") from None


def _for_a_person(error: Exception) -> str | None:
    match error:
        case ImportError():
            return f"a package is missing ({error}); install it beside optirelay"
        case FileNotFoundError():
            return "there is no such directory; make it there, or name another"
        case PermissionError():
            return "this login may not write into the directory; let it, or name another"
        case ValueError() | TypeError():
            return "fsspec cannot use this URL; compare it with fsspec's documentation of the protocol"
    return None


def _for_a_person_by_sftp(error: Exception) -> str | None:
    from optirelay.engine.opt_in_files import _sftp  # takes a moment, and was imported when the upload began

    return _sftp.for_a_person(error)
