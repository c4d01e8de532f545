"""Where a secret comes from: the settings file itself, one named environment variable, or a file of its own."""

import base64
import os
import re
import stat
from pathlib import Path
from typing import NoReturn

from optirelay.settings._faults import NOT_BUILT, BadValue, mend_of_stranger, quoted
from optirelay.settings._values import Secret

LARGEST_FILE = 1024 * 1024  # bytes; of a settings file as of a secret's
SOURCES = ("env", "file")


def environment(name: str) -> str | None:
    """The only look at the environment; a variable is read because an operator named it (or it is OPTIRELAY_CONFIG)."""
    return os.environ.get(name)  # noqa: TID251 - this package is the place that may


def read_file(path: Path, *, regular: bool = False) -> str:
    """A UTF-8 file of at most 1 MiB; BadValue says why it cannot be read, FileNotFoundError that it is not there."""
    try:
        if regular and not stat.S_ISREG(path.stat().st_mode):  # a pipe may never end
            raise BadValue("this is no regular file", "Name a file that holds the secret alone")  # noqa: TRY301
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, BadValue):
        raise
    except IsADirectoryError as error:
        raise BadValue("this is a directory", "Name a file") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no system can have
        why = (isinstance(error, OSError) and error.strerror) or "no path"
        raise BadValue(f"the file cannot be read ({why})", "Let the account of optirelay read it") from error
    if len(raw) > LARGEST_FILE:
        raise BadValue("the file is larger than 1 MiB", "Name the right file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadValue(f"the file is not UTF-8 (line {line})", "Save it as UTF-8") from error


def read_source(value: object, folder: Path) -> tuple[str, str]:
    """The text behind `"text"`, `{ env = "NAME" }` or `{ file = "path" }`, and what to call it in a message."""
    match value:
        case str():
            text, where = value, "the secret"
        case {"env": str(name), **rest} if not rest:
            text, where = _from_environment(name), f"the environment variable {name}"
        case {"file": str(name), **rest} if not rest:
            where = f"the file {quoted(name)}"
            text = _from_file(folder / name, where)
        case _:
            _refuse(value)
    if not text.strip():
        raise BadValue(f"{where} is empty", "Put the secret there")
    if not text.isprintable():  # surrogates too: bytes of the environment that are no UTF-8
        raise BadValue(f"{where} holds a line break or another character that does not print", "Keep it to one line")
    return text, where


def _refuse(value: object) -> NoReturn:
    mend = 'Write it in quotes, or as { env = "NAME" } or { file = "path" }'
    if isinstance(value, list):
        raise BadValue(f"a list of secrets is {NOT_BUILT} for this setting", "Write one secret")
    if isinstance(value, dict):
        for key in value:
            if key not in SOURCES:
                raise BadValue(f"unknown setting {quoted(key)} in a secret", mend_of_stranger(key, SOURCES))
    raise BadValue("this is no secret", mend)


def _from_environment(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise BadValue(f"{quoted(name)} is no name of an environment variable", "Write one such as ACME_API_KEY")
    text = environment(name)
    if text is None:
        raise BadValue(f"the environment variable {name} is not set", f"Set {name} where optirelay starts")
    return text


def _from_file(path: Path, where: str) -> str:
    try:
        text = read_file(path, regular=True)
    except FileNotFoundError as error:
        raise BadValue(f"{where} does not exist", "Make it; a relative path counts from the settings file") from error
    except BadValue as error:
        raise BadValue(f"{where}: {error.problem}", error.mend) from error
    return text.removesuffix("\n").removesuffix("\r")


def read_secret(value: object, folder: Path) -> Secret:
    """One secret, a single line."""
    return Secret(read_source(value, folder)[0])


def read_api_key(value: object, folder: Path) -> Secret:
    """One secret that can stand in an HTTP header."""
    text, where = read_source(value, folder)
    if not re.fullmatch(r"[!-~]+", text):
        raise BadValue(f"{where} holds a space or a character outside ASCII", "Copy the key as Optimove shows it")
    return Secret(text)


def read_listener_secret(value: object, folder: Path) -> Secret:
    """One secret that can stand in a URL, of at least 16 characters."""
    return _read_url_secret(value, folder, shortest=16)


def read_callback_secret(value: object, folder: Path) -> Secret:
    """One secret that can stand in a URL, of at least 8 characters."""
    return _read_url_secret(value, folder, shortest=8)


def _read_url_secret(value: object, folder: Path, *, shortest: int) -> Secret:
    text, where = read_source(value, folder)
    if len(text) < shortest:
        mend = "Make it longer; `optirelay init` writes a fresh one"
        raise BadValue(f"{where} is shorter than {shortest} characters", mend)
    if not re.fullmatch(r"[A-Za-z0-9_.~-]+", text):
        raise BadValue(f"{where} holds a character that a URL would change", "Use A-Z a-z 0-9 _ - . ~ alone")
    return Secret(text)


def read_signing_secret(value: object, folder: Path) -> Secret:
    """One secret of Standard Webhooks: whsec_ and base64 of at least 16 octets."""
    text, where = read_source(value, folder)
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or len(key) < 16:
        mend = "Write whsec_ and base64 of 24 to 64 random octets; `optirelay init` writes a fresh one"
        raise BadValue(f"{where} is no secret of Standard Webhooks", mend)
    return Secret(text)


def read_rotation(value: object) -> tuple[object, ...]:
    """One secret, or a list of two while the first replaces the second."""
    if not isinstance(value, list):
        return (value,)
    if not 1 <= len(value) <= 2:
        raise BadValue("this list does not hold two secrets", "Write the new one, then the one that it replaces")
    return tuple(value)


def read_database(value: object, folder: Path) -> str:
    """ "embedded" or a postgresql:// URL, which may come from where secrets come from."""
    text, _ = read_source(value, folder)
    if text != "embedded" and not re.fullmatch(r"postgresql://\S+", text):
        raise BadValue("this is no database", 'Write "embedded" or postgresql://user:password@host/db')
    return text


def without_password(database: str) -> str:
    """The URL as it may be shown."""
    masked = re.sub(r"(?<=://)([^:/?#]*):.*@", r"\1:********@", database)
    return re.sub(r"(password=)[^&]*", r"\1********", masked)
