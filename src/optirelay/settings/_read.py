"""From the file to Settings, or to every fault in it at once.

tomllib and plain pydantic, not pydantic-settings: its TOML source takes its path when the class is made, skips a
missing file, lets syntax errors out bare and reads environment variables by the names of fields. Here the file is named
at run time, each of these is a fault with its mend, and only variables that the file names are read.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from optirelay.settings._checks import check_together
from optirelay.settings._faults import BadSettings, BadValue, Fault, dotted, quoted
from optirelay.settings._keys import sift
from optirelay.settings._secrets import environment, read_file
from optirelay.settings._shapes import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_VARIABLE = "OPTIRELAY_CONFIG"
DEFAULT_FILE = "optirelay.toml"
ONLY_BY_RESTART = ("database", "data_dir", "listen")
"""Of [service]: what a process holds on to from its start."""
NO_FILE = ("there is no such file", "`optirelay init` writes one")
HOW_TO_WRITE = {
    "api_url": 'Write api_url = "https://apiX.optimove.net", with the number that Optimove told you',
    "api_key": 'Write api_key = { env = "NAME" }',
    "listener_secret": 'Write listener_secret = { env = "NAME" }, 16 characters at least',
    "url": 'Write one such as url = "https://gateway.example.com/send"',
    "secret": 'Write secret = { env = "NAME" }: whsec_ and base64',
    "host": 'Write one such as host = "smtp.example.com"',
}


def find_settings(option: Path | None) -> Path:
    """The file of --config, else of OPTIRELAY_CONFIG, else ./optirelay.toml. BadSettings if it does not exist."""
    named = environment(CONFIG_VARIABLE)
    path = option or Path(named or DEFAULT_FILE)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        problem, mend = NO_FILE
        by = f" (named by {CONFIG_VARIABLE})" if named and not option else ""
        raise BadSettings([Fault(_name(path), problem + by, mend)]) from error
    except (OSError, ValueError):
        pass  # reading it will say why
    return path


def load(path: Path) -> Settings:
    """The settings in this file. BadSettings with every fault, never another exception because of what it holds."""
    try:
        return read(_parse(read_file(path)), path=path)
    except FileNotFoundError as error:
        raise BadSettings([Fault(_name(path), *NO_FILE)]) from error
    except BadValue as error:
        raise BadSettings([Fault(_name(path), error.problem, error.mend)]) from error


def load_again(running: Settings) -> Settings:
    """The file of the settings in use, as it is now. BadSettings also where it changes what only a restart can."""
    settings = load(running.path)
    faults = [
        Fault(f"service.{key}", "this cannot change while the service runs", "Restart, or write what it was before")
        for key in ONLY_BY_RESTART
        if getattr(settings.service, key) != getattr(running.service, key)
    ]
    if faults:
        raise BadSettings(faults)
    return settings


def read(document: Mapping[str, Any], *, path: Path) -> Settings:
    """The settings in a parsed file; `path` is where relative paths count from. BadSettings with every fault."""
    path = path.absolute()
    faults: list[Fault] = []
    sifted = sift(dict(document), faults)
    faults += check_together(sifted)
    try:
        settings = Settings.model_validate({**_named(sifted), "path": path}, context={"folder": path.parent})
    except ValidationError as error:
        faults += _faults_of(error, sifted)
    if faults:
        raise BadSettings(sorted(set(faults), key=lambda fault: (fault.key, fault.problem)))
    return settings


def _name(path: Path) -> str:
    return str(path) if str(path).isprintable() else quoted(str(path))


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise BadValue("the file is nested too deeply", "Write it flatter") from error
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        problem = str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}, the end of the file")
        if not problem.isprintable():
            problem = quoted(problem)
        raise BadValue(f"the file is no TOML: {problem}", "Mend that line; texts stand in quotes") from error


def _named(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the names of tenants and channels inside their tables."""

    def name(tables: object) -> object:
        if not isinstance(tables, dict):
            return tables
        return {key: {**inner, "name": key} if isinstance(inner, dict) else inner for key, inner in tables.items()}

    tenants = name(document.get("tenants", {}))
    if isinstance(tenants, dict):
        tenants = {
            key: {**inner, "channels": name(inner["channels"])}
            if isinstance(inner, dict) and "channels" in inner
            else inner
            for key, inner in tenants.items()
        }
    return {**document, "tenants": tenants}


def _faults_of(error: ValidationError, document: Mapping[str, Any]) -> Iterator[Fault]:
    for details in error.errors(include_url=False, include_input=False):
        fault = _fault_of(details, document)
        if fault:
            yield fault


def _fault_of(error: "ErrorDetails", document: Mapping[str, Any]) -> Fault | None:
    key = dotted(_as_written(error["loc"], document))
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, BadValue):
        return Fault(key, cause.problem, cause.mend)
    match error["type"]:
        case "default_factory_not_called":
            return None  # made from another setting that is a fault already
        case "missing":
            return Fault(key, "this setting is missing", HOW_TO_WRITE.get(str(error["loc"][-1]), "Write it"))
        case "model_type" | "dict_type" | "mapping_type":
            return Fault(key, "this is no table", f"Write a table [{key}]")
        case _:
            return Fault(key, re.sub(r"\s+", " ", error["msg"]), "See the reference of settings")


def _as_written(loc: tuple[int | str, ...], document: Mapping[str, Any]) -> Iterator[int | str]:
    """Where the file has it: one secret may be written without the list that we make of it."""
    here: Any = document
    for part in loc:
        if isinstance(part, int) and not isinstance(here, list):
            return
        yield part
        try:
            here = here[part]
        except (LookupError, TypeError):
            here = None
