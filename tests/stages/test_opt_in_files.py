"""Files of opt-ins: rows, names, manifests."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.opt_in_files import AT, NAME, TEXTS, channel, row

from optirelay.model import ChannelName
from optirelay.stages import opt_in_files as files
from optirelay.stages.opt_in_files import Manifest, Part

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
BODY = (
    b'{"channel":"texts","content":"full","made_at":"2031-04-02T10:00:00Z","rows":1,"columns":["A","B"],"parts":[%s]}'
)


@pytest.mark.parametrize(
    ("kind", "column"),
    [("email", "Allow_Email"), ("sms", "Allow_SMS"), ("push", "Allow_Push"), ("inapp", "Allow_InApp")],
)
def test_the_columns_are_those_of_the_customers_table_unless_the_settings_name_others(kind: str, column: str) -> None:
    assert files.layout_of(channel(kind)).columns == ("Customer_ID", column, "LastUpdated")
    assert files.layout_of(channel(kind, columns=["Player", "OK"])).columns == ("Player", "OK")


def test_a_row_says_who_what_and_when_in_utc() -> None:
    paris = datetime(2031, 4, 2, 12, 0, 5, 999_999, tzinfo=timezone(timedelta(hours=2)))
    rows = [row("00123", True), row("C-2", False, paris)]
    layout = files.layout_of(channel())
    assert files.header(layout) + files.rows_to_wire(rows, layout) == (
        b"Customer_ID,Allow_SMS,LastUpdated\r\n00123,Yes,2031-04-02T10:00:00Z\r\nC-2,No,2031-04-02T10:00:05Z\r\n"
    )
    layout = files.layout_of(channel(format="jsonl", values=["1", "0"], columns=["Customer_ID", "OK"]))
    assert files.header(layout) + files.rows_to_wire(rows, layout) == (
        b'{"Customer_ID":"00123","OK":"1"}\n{"Customer_ID":"C-2","OK":"0"}\n'
    )


@given(st.lists(IDS))
def test_any_customer_id_is_read_back_by_others_and_by_us(ids: list[str]) -> None:
    for kind in ("csv", "jsonl"):
        layout = files.layout_of(channel(format=kind))
        body = files.header(layout) + files.rows_to_wire([row(one) for one in ids], layout)
        if kind == "csv":
            read = [one["Customer_ID"] for one in csv.DictReader(io.StringIO(body.decode(), newline=""))]
        else:
            read = [json.loads(line)["Customer_ID"] for line in body.decode().split("\n")[:-1]]
        assert read == ids
        ours = list(files.read_lines(io.StringIO(body.decode(), newline=""), f"x{layout.ending}", layout.columns))
        assert [line.customer_id for line in ours] == ids
        assert files.header_of(f"x{layout.ending}", layout.columns) + files.lines_to_wire(ours) == body


def test_only_several_parts_are_numbered() -> None:
    assert files.part_names(NAME, 1, ".csv.gz") == [f"{NAME}.csv.gz"]
    assert files.part_names(NAME, 2, ".jsonl.gz") == [f"{NAME}-1.jsonl.gz", f"{NAME}-2.jsonl.gz"]


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ([], NAME),
        (["optins-texts-20310402T095959Z.manifest.json", "optins-other-20310402T100000Z.csv.gz"], NAME),
        ([f"{NAME}.manifest.json"], "optins-texts-20310402T100001Z"),
        ([f".{NAME}-1.csv.gz.tmp"], "optins-texts-20310402T100001Z"),
        ([f"{NAME}-3.jsonl.gz", "optins-texts-20310402T235959Z-2.csv.gz"], "optins-texts-20310403T000000Z"),
    ],
)
def test_a_new_set_is_named_later_than_every_one_that_is_there(there: list[str], name: str) -> None:
    assert files.next_name(TEXTS, there, AT) == name


def test_what_a_killed_run_left_is_what_has_no_manifest_and_is_ours_by_name() -> None:
    whole = [f"{NAME}.manifest.json", f"{NAME}-1.csv.gz", f"{NAME}-2.csv.gz"]
    others = [
        "notes.txt",
        ".optins.tmp",
        "optins-texts-today.csv.gz",
        "optins-texts-20310402T100000Z.csv",
        "optins-texts2-20310402T100000Z.csv.gz",
        ".optins-texts2-20310402T100000Z-1.csv.gz.tmp",
        "optins-my-texts-20310402T100000Z.csv.gz",
    ]
    left = [
        f".{NAME}-1.csv.gz.tmp",
        f".{NAME}.manifest.json.tmp",
        "optins-texts-20310402T100007Z.jsonl.gz",
        "optins-texts-20310402T100008Z-2.csv.gz",
    ]
    assert files.leftovers(TEXTS, [*whole, *others, *left]) == sorted(left)
    assert files.leftovers(ChannelName("texts2"), [*whole, *others, *left]) == sorted(others[4:6])


def test_a_manifest_is_read_as_it_was_written() -> None:
    parts = (Part(f"{NAME}.csv.gz", 2, 70, "ab" * 32),)
    manifest = Manifest(
        channel=TEXTS, content="changes", made_at=AT, rows=2, columns=("Customer_ID", "Allow_SMS"), parts=parts
    )
    body = files.manifest_to_wire(manifest)
    assert json.loads(body) == {
        "channel": "texts",
        "content": "changes",
        "made_at": "2031-04-02T10:00:00Z",
        "rows": 2,
        "columns": ["Customer_ID", "Allow_SMS"],
        "parts": [{"name": f"{NAME}.csv.gz", "rows": 2, "bytes": 70, "sha256": "ab" * 32}],
    }
    assert files.read_manifest(body) == manifest
    assert files.read_manifest(BODY % b"").made_at == datetime(2031, 4, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "body", [b"", b"{}", BODY % b'{"name":"../x.csv.gz","rows":1,"bytes":1,"sha256":""}', BODY % b"7"]
)
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        files.read_manifest(body)
