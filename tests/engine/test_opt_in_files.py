"""Files of opt-ins are whole or not there, whoever is killed, and hold what their manifests say."""

import asyncio
import gzip
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.opt_in_files import AT, NAME, TEXTS, channel, in_groups, names, people, read_set, row, write

from optirelay.engine import opt_in_files
from optirelay.engine.opt_in_files import OptInRow
from optirelay.errors import NeedsOperator, TryLater
from optirelay.model import ChannelName, CustomerId


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory where no file of this process grows beyond 64 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


ODD = ["00123", "a,b", 'say "hi"', "two\nlines", "cr\rlf\r\n", " spaced ", "=1+1", "Zo\u00eb \U0001f600", "'", ";\t"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_an_independent_reader_finds_what_was_written_whatever_the_ids(kind: str, tmp_path: Path) -> None:
    rows = [row(customer_id, number % 2 == 0) for number, customer_id in enumerate(ODD)]
    manifest = await write(channel(format=kind), tmp_path / "new" / "optins", rows)
    assert manifest is not None
    assert [part.name for part in manifest.parts] == [f"{NAME}.{kind}.gz"]
    assert names(tmp_path / "new" / "optins") == sorted([f"{NAME}.{kind}.gz", f"{NAME}.manifest.json"])
    read = read_set(tmp_path / "new" / "optins")
    assert [(one["Customer_ID"], one["Allow_SMS"]) for one in read] == [
        (customer_id, "Yes" if number % 2 == 0 else "No") for number, customer_id in enumerate(ODD)
    ]
    assert {one["LastUpdated"] for one in read} == {"2031-04-02T10:00:00Z"}
    assert opt_in_files.manifest_of(tmp_path / "new" / "optins", NAME) is not None


async def test_each_part_is_smaller_than_the_limit_and_none_is_much_smaller_but_the_last(tmp_path: Path) -> None:
    limit = 40_000
    manifest = await write(channel(), tmp_path, people(5000), part_bytes=limit)
    assert manifest is not None
    assert len(manifest.parts) > 3
    assert [part.name for part in manifest.parts] == [
        f"{NAME}-{number}.csv.gz" for number in range(1, len(manifest.parts) + 1)
    ]
    sizes = [(tmp_path / part.name).stat().st_size for part in manifest.parts]
    assert max(sizes) < limit
    assert min(sizes[:-1]) > limit * 0.95
    assert [(one["Customer_ID"], one["Allow_SMS"] == "Yes") for one in read_set(tmp_path)] == [
        (person.customer_id, person.opted_in) for person in people(5000)
    ]
    for part in manifest.parts:
        assert gzip.decompress((tmp_path / part.name).read_bytes()).startswith(b"Customer_ID,Allow_SMS,LastUpdated\r\n")


async def test_nobody_changed_is_no_file_and_nobody_at_all_is_an_empty_one(tmp_path: Path) -> None:
    assert await write(channel(), tmp_path, []) is None
    assert names(tmp_path) == []
    manifest = await write(channel(content="full"), tmp_path, [])
    assert manifest is not None
    assert (manifest.content, manifest.rows, read_set(tmp_path)) == ("full", 0, [])


async def test_a_set_that_is_there_is_not_written_again_and_another_gets_another_name(tmp_path: Path) -> None:
    first = await write(channel(), tmp_path, [row("C-1")])
    assert await write(channel(), tmp_path, [row("C-2")]) == first
    assert [one["Customer_ID"] for one in read_set(tmp_path)] == ["C-1"]
    name = opt_in_files.next_name(tmp_path, TEXTS, AT + timedelta(milliseconds=300), tenant="acme")
    assert name == "optins-texts-20310402T100001Z"
    await write(channel(), tmp_path, [row("C-2")], name=name)
    assert [one["Customer_ID"] for one in read_set(tmp_path, name)] == ["C-2"]
    assert opt_in_files.next_name(tmp_path / "none", TEXTS, AT, tenant="acme") == NAME


async def test_a_directory_that_cannot_be_used_is_told_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "optins"):
        with pytest.raises(NeedsOperator, match=r"tenants\.acme\.channels\.texts\.opt_in: .*; let this account write"):
            await write(channel(), directory, [row("C-1")])
    with pytest.raises(NeedsOperator, match=r"tenants\.acme\.channels\.texts\.opt_in"):
        opt_in_files.next_name(tmp_path / "file", TEXTS, AT, tenant="acme")
    (tmp_path / f"{NAME}.manifest.json").write_text("{}")
    with pytest.raises(NeedsOperator, match="remove it"):
        await write(channel(), tmp_path, [row("C-1")])


async def test_a_full_disk_is_told_and_passes(tmp_path: Path, full_disk: Path) -> None:
    with pytest.raises(TryLater, match=r"tenants\.acme\.channels\.texts\.opt_in: .*cannot be used"):
        await write(channel(), full_disk, people(3000))
    assert not list(full_disk.glob("optins*"))


async def test_who_is_cancelled_leaves_nothing_under_its_final_name_and_no_thread_at_work(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never_ends() -> AsyncIterator[list[OptInRow]]:
        while True:
            yield [row("C-1")] * 1000
            asked.set()

    going = asyncio.create_task(opt_in_files.write(channel(), tmp_path, never_ends(), tenant="acme", name=NAME))
    await asked.wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert names(tmp_path) == [f".{NAME}-1.csv.gz.tmp"]


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.opt_in_files import channel, people, write
asyncio.run(write(channel(), Path(sys.argv[1]), people(10_000_000), part_bytes=400_000))
"""


async def test_a_kill_while_writing_leaves_no_half_file_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    await write(channel(), tmp_path, [row("C-1")], name="optins-texts-20310401T100000Z")
    (tmp_path / "theirs.csv.gz").write_text("")
    before = names(tmp_path)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) as process:
        while len(names(tmp_path)) < len(before) + 2:  # the first part is whole, and the second begun
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert [name for name in names(tmp_path) if not name.startswith(".")] == before
    (tmp_path / f"{NAME}-1.csv.gz").write_text("")  # as of one that was killed between the names and the manifest
    await write(channel(), tmp_path, [row("C-2")])
    assert names(tmp_path) == sorted([*before, f"{NAME}.csv.gz", f"{NAME}.manifest.json"])
    assert [one["Customer_ID"] for one in read_set(tmp_path)] == ["C-2"]


async def test_others_get_their_turn_between_slices_and_disks_are_written_in_threads(tmp_path: Path) -> None:
    turns = 0

    async def between() -> None:
        nonlocal turns
        turns += 1
        assert threading.current_thread() is threading.main_thread()

    await write(channel(), tmp_path, people(2500), between=between)
    assert turns == 5  # groups of 1,000, 1,000 and 500, in slices of 500


async def test_memory_stays_flat(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        await write(channel(), tmp_path, people(30_000))
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
        tracemalloc.reset_peak()
        person = next(iter(people(1))).customer_id
        assert await opt_in_files.remove_person(tmp_path, TEXTS, person) == 1
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()
    assert len(read_set(tmp_path)) == 29_999


# --- somebody is forgotten --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_a_person_is_taken_out_of_every_file_and_the_manifests_stay_true(kind: str, tmp_path: Path) -> None:
    settings = channel(format=kind)
    gone = CustomerId('say "hi",\r\nC-1')
    everybody = [*people(3000), row(gone), row("C-1")]
    later, other = "optins-texts-20310403T100000Z", "optins-other-20310402T100000Z"
    await write(settings, tmp_path, everybody, part_bytes=40_000)
    await write(settings, tmp_path, [row(gone, False)], name=later)
    await write(settings, tmp_path, [row("C-1")], name="optins-texts-20310404T100000Z")
    await write(settings, tmp_path, [row(gone)], name=other)
    (tmp_path / f".{NAME}-9.{kind}.gz.tmp").write_text("left by a kill")
    untouched = (tmp_path / f"{NAME}-1.{kind}.gz").read_bytes()
    assert await opt_in_files.remove_person(tmp_path, TEXTS, gone) == 2
    assert [one["Customer_ID"] for one in read_set(tmp_path)] == [
        one.customer_id for one in everybody if one[0] != gone
    ]
    assert read_set(tmp_path, later) == []
    assert (tmp_path / f"{NAME}-1.{kind}.gz").read_bytes() == untouched
    assert len(read_set(tmp_path, other)) == 1
    assert not list(tmp_path.glob(".*"))
    assert await opt_in_files.remove_person(tmp_path, TEXTS, gone) == 0
    assert await opt_in_files.remove_person(tmp_path / "none", TEXTS, gone) == 0


async def test_a_removal_that_was_cut_short_is_finished_by_the_next(tmp_path: Path) -> None:
    await write(channel(), tmp_path, [row("C-1"), row("C-2")])
    stale = (tmp_path / f"{NAME}.manifest.json").read_bytes()
    assert await opt_in_files.remove_person(tmp_path, TEXTS, CustomerId("C-1")) == 1
    (tmp_path / f"{NAME}.manifest.json").write_bytes(stale)  # as if it was killed before the manifest
    assert await opt_in_files.remove_person(tmp_path, TEXTS, CustomerId("C-1")) == 0
    assert [one["Customer_ID"] for one in read_set(tmp_path)] == ["C-2"]
    (tmp_path / f"{NAME}.csv.gz").unlink()  # collected
    assert await opt_in_files.remove_person(tmp_path, TEXTS, CustomerId("C-2")) == 0


async def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    await write(channel(), tmp_path, [row("C-1")])
    for body in (b"no gzip", gzip.compress(b'A,B\r\n"'), gzip.compress(b"A\r\n\r\n"), gzip.compress(b"A\r\nC-1")[:-9]):
        (tmp_path / f"{NAME}.csv.gz").write_bytes(body)
        with pytest.raises(NeedsOperator, match=r"csv\.gz cannot be read as a file of ours"):
            await opt_in_files.remove_person(tmp_path, ChannelName("texts"), CustomerId("C-1"))


async def test_groups_that_fail_fail_with_their_own_error(tmp_path: Path) -> None:
    async def fails() -> AsyncIterator[list[OptInRow]]:
        async for group in in_groups([row("C-1")]):
            yield group
        raise ConnectionError("the store")

    with pytest.raises(ConnectionError, match="the store"):
        await opt_in_files.write(channel(), tmp_path, fails(), tenant="acme", name=NAME)
