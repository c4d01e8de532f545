"""Rows of import files: each with the line an editor shows, and one that is broken stops no other."""

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from optirelay.model import LONGEST_CUSTOMER_ID
from optirelay.stages.files import (
    LONGEST_ROW,
    OPT_IN_COLUMNS,
    BadFile,
    Columns,
    FileKind,
    OptIn,
    Reject,
    Rejection,
    Row,
    Rows,
    kind_of,
    read_opt_in,
    rejects_header,
)

COLUMNS = Columns(needed=("id", "said"), optional=("at",))
OWN = Columns(needed=("id",), optional=(), others=True)
NOW = datetime(2031, 4, 2, 10, tzinfo=UTC)


def read(
    text: str | bytes, kind: FileKind = FileKind.CSV, columns: Columns = COLUMNS, block: int = 1 << 20
) -> list[Row | Reject]:
    octets = text if isinstance(text, bytes) else text.encode()
    return list(Rows((octets[i : i + block] for i in range(0, len(octets), block)), kind, columns))


def read_json(text: str) -> list[Row | Reject]:
    return read(text, FileKind.JSON_LINES)


def seen(rows: list[Row | Reject]) -> list[tuple[int, Any]]:
    """Lines, with what stands there; of rejects with the cells alone."""
    return [(row.line, dict(row.values) if isinstance(row, Row) else tuple(row.cells)) for row in rows]


MIXED = '\ufeffid,said\r\n1,Zoë\r\n"2\nand more",b\r\n\r\n3,c,too many\n"4"x,d\n5\n6,e\n"7,open\n8,f\n'


def test_a_row_has_the_line_it_begins_at_and_a_broken_one_stops_no_other() -> None:
    assert seen(read(MIXED)) == [
        (2, {"id": "1", "said": "Zoë"}),
        (3, {"id": "2\nand more", "said": "b"}),
        (6, ("3", "c", "too many")),
        (7, ('"4"x,d',)),
        (8, ("5",)),
        (9, {"id": "6", "said": "e"}),
        (10, ('"7,open',)),  # what follows stands inside the quotes: nobody knows if it is a row
        (11, ("8,f",)),
    ]


@pytest.mark.parametrize("block", range(1, 9))
def test_where_blocks_are_cut_changes_nothing(block: int) -> None:
    assert read(MIXED, block=block) == read(MIXED)


def test_old_line_breaks_and_none_at_the_end_are_read() -> None:
    assert seen(read("id,said\r1,a\r2,b")) == [(2, {"id": "1", "said": "a"}), (3, {"id": "2", "said": "b"})]


def test_octets_that_are_no_text_spoil_their_row_alone_and_come_back_as_they_were() -> None:
    bad, good, empty, last = read(b"id,said\n1,\xff\xfe\n2,a\n3,\0\n4,b")
    assert (bad.line, good.line, empty.line, last.line) == (2, 3, 4, 5)
    assert isinstance(bad, Reject)
    assert isinstance(empty, Reject)
    assert isinstance(last, Row)
    assert bad.written()[2].encode(errors="surrogateescape") == b"1,\xff\xfe"
    assert bad.written()[:2] == ["2", "bad_row"]


@pytest.mark.parametrize("block", [1000, 1 << 20])
def test_a_row_that_is_too_long_is_rejected_and_the_next_is_read(block: int) -> None:
    long, short = read(f"id,said\n1,{'x' * LONGEST_ROW}\n2,a\n", block=block)
    assert (long.line, isinstance(long, Reject), short.line, isinstance(short, Row)) == (2, True, 3, True)
    (fits,) = read(f"id,said\n1,{'x' * (LONGEST_ROW - 3)}\n", block=block)
    assert isinstance(fits, Row)
    *broken, after = read('id,said\n"' + "y\n" * (LONGEST_ROW // 2) + "3,b\n", block=block)
    assert all(isinstance(row, Reject) for row in broken)
    assert (after.line, isinstance(after, Row)) == (LONGEST_ROW // 2 + 2, True)


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        ("", "there is no column id; begin with a line of the columns' names, separated by commas: id,said"),
        ("id;said\n", "there is no column id"),
        ("id\n", "there is no column said"),
        ("id,said,said\n", "column said is there twice"),
        ("id,said,,\n", "column 3 has no name"),
        ("id,said,More\n", "column More is not known; take it out"),
        ('"id,said\n1,a\n', "line 1 is no header"),
        (b"id,said,\xff\n", "line 1 is no header"),
    ],
)
def test_a_header_that_is_wrong_is_named(header: str | bytes, wrong: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(header)
    assert str(caught.value).startswith(wrong)


def test_columns_of_ones_own_are_read_where_they_may_be() -> None:
    assert seen(read("\n id ,Shoe size\n1,44\n", columns=OWN)) == [(3, {"id": "1", "Shoe size": "44"})]
    assert read('{"id":1,"Shoe size":44}', FileKind.JSON_LINES, OWN)[0].line == 1


def test_json_lines_are_read_and_what_is_no_object_is_rejected() -> None:
    lines = [
        *('\ufeff{"id":"01","said":true}', "", "[1]", '{"id":', '{"id":"\\u0000"}', '{"id":"\\ud800"}'),
        *('{"id":"2","more":1}', "1" * 5000, '{"id":' + "[" * 5000, '{"id":null}'),
    ]
    rows = read_json("\r\n".join(lines))
    assert seen(rows) == [
        (1, {"id": "01", "said": True}),
        *((line, (lines[line - 1],)) for line in range(3, 10)),
        (10, {"id": None}),
    ]
    assert read_json("") == []
    assert rejects_header(Rows([], FileKind.JSON_LINES, COLUMNS)) == ["line", "reason", "row"]
    with pytest.raises(BadFile, match="line 2: column more is not known"):
        read_json('\n{"more":1}\n')


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", (FileKind.CSV, False)),
        ("A.CSV.GZ", (FileKind.CSV, True)),
        ("a.csv.jsonl", (FileKind.JSON_LINES, False)),
        ("a.jsonl.gz", (FileKind.JSON_LINES, True)),
    ],
)
def test_the_ending_says_how_a_file_is_written(name: str, kind: tuple[FileKind, bool]) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a", "a.gz", "a.xlsx", "a.json", "csv", "a.csv.zip"])
def test_another_ending_is_an_error_with_the_mend(name: str) -> None:
    with pytest.raises(BadFile, match=r"name it .csv or .jsonl"):
        kind_of(name)


def test_memory_stays_flat_however_long_the_file_is() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"customer_id,channel,opted_in\n"
        for n in range(40):
            yield b"".join(b"C-%07d,newsletter,yes\n" % (n * 1000 + i) for i in range(1000))

    tracemalloc.start()
    try:
        rows = Rows(blocks(), FileKind.CSV, OPT_IN_COLUMNS)
        said = (read_opt_in(row, {"newsletter"}, NOW) for row in rows if isinstance(row, Row))
        assert sum(isinstance(one, OptIn) for one in said) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


GIVEN = {"customer_id": "007", "channel": "newsletter", "opted_in": "true", "at": "2031-04-02T09:00:00Z"}


def opt_in(**changed: Any) -> OptIn | Rejection:
    return read_opt_in(Row(2, GIVEN | changed, ()), {"newsletter"}, NOW)


def test_a_row_says_who_said_what_of_which_channel_when() -> None:
    assert opt_in() == ("007", "newsletter", NOW - timedelta(hours=1), True, "import")
    assert opt_in(customer_id=" 7 ", channel=" newsletter", opted_in=" No ", source=" crm ", at="") == (
        *("7", "newsletter", NOW, False, "crm"),
    )


@pytest.mark.parametrize("value", ["true", "TRUE", "yes", "Yes", "1", True, 1])
def test_a_yes_is_spelled_in_several_ways(value: Any) -> None:
    said = opt_in(opted_in=value)
    assert isinstance(said, OptIn)
    assert said.opted_in is True


@pytest.mark.parametrize("value", ["false", "FALSE", "no", "No", "0", False, 0])
def test_so_is_a_no(value: Any) -> None:
    said = opt_in(opted_in=value)
    assert isinstance(said, OptIn)
    assert said.opted_in is False


@pytest.mark.parametrize(
    ("at", "read_as"),
    [
        ("2031-04-02T09:30:00", datetime(2031, 4, 2, 9, 30, tzinfo=UTC)),
        ("2031-04-02 09:30", datetime(2031, 4, 2, 9, 30, tzinfo=UTC)),
        ("2031-04-02T11:30:00.5+02:00", datetime(2031, 4, 2, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2031-04-01", datetime(2031, 4, 1, tzinfo=UTC)),
        ("2031-04-02T10:05:00Z", NOW + timedelta(minutes=5)),
        (None, NOW),
        (" ", NOW),
        ("NULL", NOW),
    ],
)
def test_a_time_without_a_zone_is_in_utc_and_none_is_now(at: str | None, read_as: datetime) -> None:
    said = opt_in(at=at)
    assert isinstance(said, OptIn)
    assert (said.at, said.at.utcoffset()) == (read_as, timedelta(0))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"customer_id": " "}, Rejection.NO_CUSTOMER),
        ({"customer_id": "NULL"}, Rejection.NO_CUSTOMER),
        ({"customer_id": None}, Rejection.NO_CUSTOMER),
        ({"customer_id": ["007"]}, Rejection.NO_CUSTOMER),
        ({"customer_id": "7" * (LONGEST_CUSTOMER_ID + 1)}, Rejection.NO_CUSTOMER),
        ({"channel": "faxes"}, Rejection.UNKNOWN_CHANNEL),
        ({"channel": ""}, Rejection.UNKNOWN_CHANNEL),
        ({"channel": {}}, Rejection.UNKNOWN_CHANNEL),
        ({"opted_in": ""}, Rejection.BAD_VALUE),
        ({"opted_in": "maybe"}, Rejection.BAD_VALUE),
        ({"opted_in": None}, Rejection.BAD_VALUE),
        ({"opted_in": 2}, Rejection.BAD_VALUE),
        ({"opted_in": [True]}, Rejection.BAD_VALUE),
        ({"source": "x" * 101}, Rejection.BAD_VALUE),
        ({"source": {}}, Rejection.BAD_VALUE),
        ({"at": "yesterday"}, Rejection.BAD_TIME),
        ({"at": "2031-04-02T10:05:01Z"}, Rejection.BAD_TIME),
        ({"at": "2031-04-02T10:00:00-01:00"}, Rejection.BAD_TIME),
        ({"at": "0001-01-01T00:00:00+10:00"}, Rejection.BAD_TIME),
        ({"at": 1_700_000_000}, Rejection.BAD_TIME),
    ],
)
def test_a_row_that_cannot_be_used_says_why(changed: dict[str, Any], reason: Rejection) -> None:
    assert opt_in(**changed) is reason
