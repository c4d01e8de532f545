"""The account that runs the embedded server: who it is, what it can reach, how a program runs as it."""

import os
import pwd
import subprocess
from pathlib import Path
from typing import IO, Any, NamedTuple

from optirelay.errors import NeedsOperator

# The programs get no setting, library path or locale of whoever calls: the same server, however it was started.
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"}
RUN_SECONDS = 60


class CannotStart(NeedsOperator):
    """The embedded database cannot be used; the text says why and what mends it."""


class Account(NamedTuple):
    """Who runs the server. Never root: PostgreSQL refuses it."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        return _name(self.uid)


def account_for(cluster: Path) -> Account:
    """Root's server runs as the owner of the cluster that is there, else as `nobody`; everybody else's as themselves.

    CannotStart for an owner that cannot run it, and for an account without an entry, which initdb asks for.
    """
    usual = _usual_account()
    owner = owner_of(cluster)
    if owner is None or owner == usual.uid:
        return usual
    if owner == 0:
        raise CannotStart(
            f"{cluster} belongs to root, and PostgreSQL refuses to run as root."
            f" Give it to the account that is to run it: chown -R {usual.name} '{cluster}'."
        )
    if os.geteuid() != 0:
        raise CannotStart(f"{cluster} belongs to the account {_name(owner)}. Run optirelay as that account.")
    return Account(owner, cluster.stat().st_gid)


def run(
    account: Account, *command: str, output: int | IO[bytes], errors: int | IO[bytes], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a program as `account`, for at most RUN_SECONDS, in a session of its own: Ctrl-C is for us, not for it."""
    switch: dict[str, Any] = {}
    if os.geteuid() == 0:
        switch = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.run(  # noqa: S603 - a list of our own words, no shell
        command,
        cwd="/",
        env=ENVIRONMENT,
        umask=0o077,
        start_new_session=True,
        input=given,
        stdout=output,
        stderr=errors,
        timeout=RUN_SECONDS,
        check=False,
        **switch,
    )


def reachable(path: Path) -> bool:
    """Can the account that would run a new server get to `path`; if it does not exist, to where it would be made?

    CannotStart where this process cannot start anything as that account.
    """
    return _can_enter(_usual_account(), path.absolute())


def must_reach(account: Account, folder: Path) -> None:
    """CannotStart, naming the folder that is in the way, unless `account` can get to `folder`."""
    if _can_enter(account, folder):
        return
    barrier = next(part for part in [*reversed(folder.parents), folder] if not _can_enter(account, part))
    raise CannotStart(
        f"The embedded database runs as the account {account.name}, which may not enter {barrier}."
        " Set data_dir to a folder that it can reach, such as /var/lib/optirelay,"
        " or run optirelay as an ordinary user."
    )


def _can_enter(account: Account, path: Path) -> bool:
    there = next(part for part in [path, *path.parents] if owner_of(part) is not None)
    try:  # tried, not worked out from mode bits: these are not all that decides
        done = run(
            account,
            "/bin/sh",
            "-c",
            'cd -- "$1"',
            "sh",
            str(there),
            output=subprocess.DEVNULL,
            errors=subprocess.DEVNULL,
        )
    except OSError as error:
        raise CannotStart(
            f"No program can be started as the account {account.name} ({error})."
            " Run optirelay as an ordinary user, or set database to a PostgreSQL server of yours."
        ) from error
    return done.returncode == 0


def _usual_account() -> Account:
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid) if uid != 0 else pwd.getpwnam("nobody")
    except KeyError:
        who = f"number {uid}" if uid != 0 else "nobody"
        raise CannotStart(
            f"The account {who}, which would run the embedded database, has no entry in /etc/passwd."
            " Add one, run optirelay as another account, or set database to a PostgreSQL server of yours."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid if uid == 0 else os.getegid())


def owner_of(path: Path) -> int | None:
    """None for what is not there, or not to be seen."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
