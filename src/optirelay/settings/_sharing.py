"""How the settings say that opt-ins are shared with Optimove: the route, and the files of one of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optirelay.settings import _secrets
from optirelay.settings._faults import BadValue, shown
from optirelay.settings._values import Secret, read_attribute, read_list, read_text

ROUTES = '"attributes:EMAIL_OPTIN", "channel_preference" or "batch_file:optins"'
LARGEST_MODE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ByAttribute:
    """An attribute of customers at Optimove tells who opted in."""

    name: str

    def __str__(self) -> str:
        return f"attributes:{self.name}"


@dataclass(frozen=True, slots=True)
class ByPreference:
    """SetCustomerChannelPreference tells, for each id of the channel."""

    def __str__(self) -> str:
        return "channel_preference"


@dataclass(frozen=True, slots=True)
class ByFile:
    """Files in this directory tell."""

    directory: Path

    def __str__(self) -> str:
        return f"batch_file:{self.directory}"


Route = ByAttribute | ByPreference | ByFile
"""As text it is what the settings say, with a whole path."""


def read_route(value: object, folder: Path) -> Route | None:
    """attributes:NAME | channel_preference | batch_file:DIRECTORY, which counts from the settings file; None: none."""
    if value is None:
        return None
    mend = f"Write {ROUTES}"
    name, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if name == "attributes" and colon:
        return ByAttribute(read_attribute(rest))
    if value == "channel_preference":
        return ByPreference()
    if name == "batch_file" and rest.strip() and rest.isprintable():
        return ByFile(Path(folder / rest).absolute())
    raise BadValue(f"{shown(value)} is no way to share opt-ins", mend)


def a_pair(read: Callable[[object], object]) -> Callable[[object], tuple[object, ...]]:
    """A reader of two different values: the first for who opted in, the second for who opted out."""

    def read_both(value: object) -> tuple[object, ...]:
        both = tuple(read(entry) for entry in read_list(value))
        if len(both) != 2:
            mend = "Write the value for who opted in, then the one for who opted out"
            raise BadValue("this list does not hold two values", mend)
        return both

    return read_both


def read_mode(value: object) -> int:
    """A CommunicationMode, which Optimove tells each partner."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_MODE:
        return value
    raise BadValue(f"{shown(value)} is no communication mode", "Write the whole number that Optimove told you")


def read_columns(value: object) -> tuple[str, ...]:
    """Names of two or three columns: customer, permission and, where it is wanted, when that was last changed."""
    names = tuple(read_text(entry) for entry in read_list(value))
    if not 2 <= len(names) <= 3:
        mend = 'Write two or three names such as ["Customer_ID", "Allow_SMS", "LastUpdated"]'
        raise BadValue("these are not two or three columns", mend)
    return names


def read_upload(value: object, folder: Path) -> Secret:
    """A URL that fsspec knows, of the folder to upload to; it may hold a password and is never shown."""
    text, where = _secrets.read_source(value, folder)
    found = re.match(r"([a-z][a-z0-9+.-]*)://.", text)
    mend = "Write one such as sftp://acme@files.example.com/optins"
    if found is None:
        raise BadValue(f"{where} is no URL", mend)
    from fsspec.registry import available_protocols  # takes a moment, and few settings name a URL

    if found[1] not in available_protocols():
        raise BadValue(f"{where} begins with {found[1]}://, which nothing here can write to", mend)
    return Secret(text)
