"""The demo, as somebody runs it who has just come."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import psutil
import pytest
from aiosmtplib import SMTP

from optirelay.demo.sink import Sink

DEMO = [sys.executable, "-m", "optirelay", "demo"]


@pytest.fixture
def temp_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own, so that what is left in it can be seen."""
    with tempfile.TemporaryDirectory(prefix="optirelay-test-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o711)
        monkeypatch.setenv("TMPDIR", made)
        yield Path(made)


def test_a_run_ends_balanced_and_keeps_its_mails(temp_dir: Path) -> None:
    options = ["--recipients", "300", "--triggered", "60", "--json"]
    done = subprocess.run([*DEMO, *options], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    shape = json.loads(done.stdout)
    assert (shape["handed_over"], shape["balanced"], shape["in_doubt"]) == (300, True, 0)
    assert shape["reported"]["accepted"] == shape["accepted"] > 250
    burst = shape["triggered"]
    assert (burst["kind"], burst["handed_over"], burst["balanced"], burst["in_doubt"]) == ("triggered", 60, True, 0)
    assert burst["reported"]["accepted"] == burst["accepted"] == 60 - sum(burst["skipped"].values()) > 40
    assert 0 < burst["latency"]["p50_ms"] <= burst["latency"]["p99_ms"]
    (mails,) = temp_dir.iterdir()
    kept = [message_from_bytes(mail.read_bytes(), policy=policy.default) for mail in mails.glob("*.eml")]
    assert len(kept) == shape["accepted"] + burst["accepted"]
    bodies = [body.get_content() for mail in kept if (body := mail.get_body(("plain",)))]
    assert (
        sum("a loan of 5,000 EUR. Have it for less with the code LOAN5." in body for body in bodies)
        == burst["accepted"]
    )


@pytest.mark.parametrize("after", ["Optimove (simulated)", "Templates:", "Listeners:"])
def test_ctrl_c_leaves_nothing_behind(after: str, temp_dir: Path) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--recipients", "3000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert demo.stdout is not None
    family: list[psutil.Process] = []
    for line in demo.stdout:
        if line.startswith(after):
            time.sleep(0.7)
            family = psutil.Process(demo.pid).children(recursive=True)
            demo.send_signal(signal.SIGINT)
            break
    rest = demo.stdout.read()
    demo.stdout.close()
    assert demo.wait(60) == 130, rest
    assert "Traceback" not in rest
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert list(temp_dir.iterdir()) == []


def test_ctrl_c_leaves_the_mails_of_the_run_before_and_none_of_its_own(temp_dir: Path) -> None:
    """Two at once do not meet, either: each has its mails to itself until it is done."""
    before = temp_dir / f"optirelay-demo-mails-{os.geteuid()}"
    before.mkdir(mode=0o700)
    (before / "00001.eml").write_bytes(b"Subject: the run before\r\n\r\n")
    demo = subprocess.Popen(
        [*DEMO, "--serve", "--recipients", "100", "--triggered", "0"], stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    mails = next(Path(line.split(": ")[1].strip()) for line in demo.stdout if line.startswith("Mails: "))
    receipts = (mails / "receipts.txt").read_text().splitlines()
    assert len(receipts) == len(list(mails.glob("*.eml"))) > 50  # and --triggered 0 waits for no burst
    demo.send_signal(signal.SIGINT)
    demo.stdout.read()
    demo.stdout.close()
    assert demo.wait(60) == 130
    assert [entry.name for entry in temp_dir.rglob("*")] == [before.name, "00001.eml"]


def test_a_demo_that_is_killed_leaves_no_service_running(temp_dir: Path) -> None:
    demo = subprocess.Popen([*DEMO, "--serve", "--recipients", "200"], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("Listeners:"):
            break
    family = psutil.Process(demo.pid).children(recursive=True)
    assert family
    demo.kill()
    demo.wait()
    demo.stdout.close()
    assert not psutil.wait_procs(family, timeout=40)[1]


async def test_the_sink_keeps_what_it_is_sent(tmp_path: Path) -> None:
    sink = Sink(tmp_path)
    content = b"Message-ID: <%d@example.com>\r\nSubject: dots\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"
    async with sink.running() as port:

        async def send(number: int) -> None:
            async with SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False) as client:
                await client.sendmail("a@example.com", ["b@example.com"], content % number)

        await asyncio.gather(*(send(number) for number in range(20)))
    assert sink.received == len(sink.arrived_at) == 20
    kept = next(iter(tmp_path.glob("*.eml"))).read_bytes()
    assert b"\r\n.one\r\n..two\r\n.\r\nend\r\n" in kept
    assert len((tmp_path / "receipts.txt").read_text().splitlines()) == 20
