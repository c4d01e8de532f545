"""`contacts` at the terminal: a file goes in, with what is wrong with it told, and one person is shown."""

import gzip
from pathlib import Path

import pytest
from tests.cli.test_deciding import Terminal
from tests.cli.test_suppressions import ANOTHER, SETTINGS

HEADER = "customer_id,email,phone,push_token,TIER\n"
WHOLE = HEADER + "007,Ana@example.com,06 12 34 56 78,dK3:APA91bF-Zq7,gold\n7,,,,\n"
BAD = """\
007,ana@,,,
008,bo@example.com,1234,,
,cleo@example.com,,,
009,one,two
010,,,two tokens,
011,a\0b,,,
012,dee@example.com,,,"lead
and more"
"""
ONLY_007 = {
    "tenant": "acme",
    "customer_id": "007",
    "email": "Ana@example.com",
    "phone": "+33612345678",
    "push_token": "dK3:APA91bF-Zq7",
    "attributes": {"TIER": "gold"},
}


@pytest.fixture
def config(database: str, tmp_path: Path) -> Path:
    file = tmp_path / "optirelay.toml"
    file.write_text(SETTINGS.format(database=database, optimove="http://127.0.0.1:1"))
    return file


@pytest.fixture
def terminal(config: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(str(config), capsys)


async def test_a_file_goes_in_and_a_person_is_shown(terminal: Terminal, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "people.csv.gz"
    file.write_bytes(gzip.compress(WHOLE.encode()))
    unknown = (1, "", "the directory of tenant acme has no customer 007; `optirelay contacts import` adds people")
    show, load = ("contacts", "show", "007"), ("contacts", "import", str(file))
    assert await terminal.type(*show) == unknown
    assert await terminal.type(*load, "--dry-run") == (0, "2 rows would be in; none is rejected.", "")
    assert await terminal.type(*show) == unknown
    assert await terminal.type(*load, "--strict") == (0, "2 rows are in, 2 changed something; none is rejected.", "")
    assert await terminal.type(*load) == (0, "2 rows are in, 0 changed something; none is rejected.", "")

    shape = await terminal.json(*show)
    assert shape.pop("updated_at").endswith("Z")
    assert shape == ONLY_007
    status, table, _ = await terminal.type(*show)
    assert status == 0
    assert [cell in table for cell in ("007", "A…@example.com", "+33…78", "dK3…q7", "TIER …")] == [True] * 5
    assert not any(private in table for private in ("Ana@", "+33612345678", "dK3:APA91bF-Zq7", "gold"))
    _, table, _ = await terminal.type(*show, "--addresses")
    assert all(private in table for private in ("Ana@example.com", "+33612345678", "dK3:APA91bF-Zq7", "TIER gold"))

    more = tmp_path / "more.jsonl"
    more.write_text('{"customer_id": "007", "phone": null, "TIER": "", "AGE": 7}\n')
    assert (await terminal.type("contacts", "import", str(more)))[0] == 0
    shape = await terminal.json(*show)
    assert (shape["email"], shape["phone"], shape["attributes"]) == ("Ana@example.com", None, {"AGE": "7"})

    config.write_text(config.read_text() + ANOTHER)
    several = (2, "", "there are several tenants; name one: --tenant acme or --tenant globex")
    assert await terminal.type(*load) == await terminal.type(*show) == several
    assert (await terminal.type(*show, "--tenant", "globex"))[0] == 1
    # Whose numbers have no country there.
    status, out, _ = await terminal.type(*load, "--tenant", "globex")
    assert (status, out.splitlines()[0]) == (0, "bad_address: phone (1 row)")


async def test_what_is_wrong_with_a_file_is_told_and_the_rest_is_in(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(WHOLE + BAD)
    faults = ["bad_address: email (1 row)", "bad_address: phone (1 row)", "bad_address: push_token (1 row)"]
    faults.append("no_customer: customer_id (1 row)")
    rejects = tmp_path / "people.csv.rejected.csv"
    for option, status, said in (
        ("--dry-run", 0, "3 rows would be in"),
        ("--strict", 1, "3 rows are in, 3 changed something"),
    ):
        told = "\n".join([*faults, f"{said}; 6 are rejected: see {rejects}"])
        assert await terminal.type("contacts", "import", str(file), option) == (status, told, "")
        assert [line.split(",")[:2] for line in rejects.read_text().splitlines()] == [
            ["line", "reason"],
            *(["4", "bad_address"], ["5", "bad_address"], ["6", "no_customer"], ["7", "bad_row"]),
            *(["8", "bad_address"], ["9", "bad_row"]),
        ]
    assert (await terminal.json("contacts", "show", "007"))[
        "email"
    ] == "Ana@example.com"  # a rejected row changes nothing
    assert (await terminal.json("contacts", "show", "012"))["attributes"] == {"TIER": "lead\nand more"}
    file.write_text("customer_id,EMAIL\n007,x\n")
    wrong = f"optirelay: {file}: column EMAIL is not known; write email"
    assert await terminal.type("contacts", "import", str(file)) == (1, "", wrong)
