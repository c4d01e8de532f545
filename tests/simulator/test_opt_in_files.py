"""Files of opt-ins that a tenant of the simulator receives."""

import asyncio
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.opt_in_files import channel, people, row, write

from optirelay.simulator import Simulator

COLUMNS = ["Customer_ID", "Allow_SMS", "LastUpdated"]


def put(folder: Path, name: str, *bodies: str, ending: str = "csv", columns: list[str] = COLUMNS, **other: Any) -> None:
    """A set of files with a true manifest, but for what is said to be other."""
    parts: list[dict[str, Any]] = []
    for number, body in enumerate(bodies, 1):
        part = gzip.compress(body.encode())
        file = f"{name}-{number}.{ending}.gz"
        (folder / file).write_bytes(part)
        rows = body.count("\n") - (ending == "csv")
        parts.append({"name": file, "rows": rows, "bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()})
    manifest = {"channel": "texts", "columns": columns, "rows": sum(part["rows"] for part in parts), "parts": parts}
    (folder / f"{name}.manifest.json").write_text(json.dumps(manifest | other))


def csv(*rows: str) -> str:
    return "".join(f"{line}\r\n" for line in (",".join(COLUMNS), *rows))


class Tenant:
    """What the simulator shows of its tenant's files."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self._url = f"{url}/_sim/opt_ins?tenant=7001"

    def shown(self) -> dict[str, Any]:
        answer = httpx2.get(self._url)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def said(self) -> dict[str, dict[str, str]]:
        return dict(self.shown()["customers"])


@pytest.fixture
def tenant(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    entry = {"id": 7001, "key": "k", "channels": {"504": "Mail"}, "opt_in_files": str(tmp_path)}
    with Simulator(scenario={"tenants": [entry]}) as simulator:
        yield Tenant(tmp_path, simulator.url)


def test_the_newest_set_wins_by_customer_and_column(tenant: Tenant) -> None:
    assert tenant.shown() == {"customers": {}, "files": []}
    put(tenant.folder, "optins-texts-20310402T100000Z", csv("001,Yes,T", '"a,""b",Yes,T'), csv("C-3,No,T"), rows=3)
    lines = '{"Customer_ID":"001","Allow_Email":"No"}\n'
    put(tenant.folder, "optins-mails-20310401T100000Z", lines, ending="jsonl", columns=["Customer_ID", "Allow_Email"])
    (tenant.folder / "optins-texts-20310402T110000Z.csv.gz").write_bytes(gzip.compress(csv("001,No,T").encode()))
    assert tenant.said() == {
        "001": {"Allow_Email": "No", "Allow_SMS": "Yes"},
        'a,"b': {"Allow_SMS": "Yes"},
        "C-3": {"Allow_SMS": "No"},
    }
    put(tenant.folder, "optins-texts-20310402T120000Z", csv("C-3,Yes,T"))
    put(tenant.folder, "optins-texts-20310402T090000Z", csv("C-3,No,T", "C-4,No,T"))
    assert tenant.said()["C-3"] == {"Allow_SMS": "Yes"}
    assert tenant.said()["C-4"] == {"Allow_SMS": "No"}


def test_files_count_only_where_all_that_their_manifest_says_is_true(tenant: Tenant) -> None:
    put(tenant.folder, "optins-texts-20310401T100000Z", csv("C-1,Yes,T"))
    name = "optins-texts-20310402T100000Z"
    whole = {"name": f"{name}-1.csv.gz", "manifest": f"{name}.manifest.json", "rows": 1, "good": True, "wrong": None}
    put(tenant.folder, name, csv("C-1,No,T"), csv("C-2,No,T"))
    assert tenant.said() == {"C-1": {"Allow_SMS": "No"}, "C-2": {"Allow_SMS": "No"}}
    assert tenant.shown()["files"][1:] == [whole, whole | {"name": f"{name}-2.csv.gz"}]
    broken = tenant.folder / f"{name}-2.csv.gz"
    good = broken.read_bytes()
    for body in (
        gzip.compress(csv("C-3,No,T").encode()),
        gzip.compress(csv("C-3").encode()),
        gzip.compress(b"Customer,Allow_SMS,LastUpdated\r\nC-2,No,T\r\n"),
        good[:-4],
        b"no gzip",
    ):
        broken.write_bytes(body)
        assert tenant.said() == {"C-1": {"Allow_SMS": "Yes"}}
        assert [file["good"] for file in tenant.shown()["files"]] == [True, True, False]
    broken.unlink()
    assert tenant.said() == {"C-1": {"Allow_SMS": "Yes"}}
    put(tenant.folder, name, csv("C-1,No,T"), rows=2)
    assert tenant.shown()["files"][-1]["wrong"] == "not as many rows"
    assert tenant.said() == {"C-1": {"Allow_SMS": "Yes"}}
    for manifest in ("{}", "no JSON", '{"columns":["A","B"],"rows":1,"parts":[{"name":"../x","rows":1}]}'):
        (tenant.folder / f"{name}.manifest.json").write_text(manifest)
        assert tenant.shown()["files"][-1]["good"] is False


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_optirelay_writes_is_read(kind: str, tenant: Tenant) -> None:
    everybody = [*people(900), row('x,"\r\n\u00e9')]
    asyncio.run(write(channel(format=kind), tenant.folder, everybody, part_bytes=30_000))
    assert tenant.said() == {one.customer_id: {"Allow_SMS": "Yes" if one.opted_in else "No"} for one in everybody}
    files = tenant.shown()["files"]
    assert len(files) > 1
    assert all(file["good"] for file in files)


def test_a_tenant_without_a_folder_says_what_to_give_it() -> None:
    with Simulator() as simulator:
        answer = httpx2.get(f"{simulator.url}/_sim/opt_ins?tenant=7001")
        assert (answer.status_code, "opt_in_files" in answer.json()["error"]) == (400, True)
        answer = httpx2.get(f"{simulator.url}/_sim/opt_ins?tenant=1")
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            "opt_ins: tenant is 1; give one of [7001] in the query",
        )
