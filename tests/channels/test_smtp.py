"""SMTP against servers: each phase in which a hand-over can fail, and what it means for the message."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import trustme
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from optirelay.channels import Channel, ChannelSetup
from optirelay.channels.smtp import SmtpChannel
from optirelay.channels.smtp.session import queue_id, stuffed
from optirelay.errors import TryLater
from optirelay.model import Accepted, Answer, Doubtful, Later, Outgoing, Refusal, Refused, Sid

from .contract import HoldChannelContract, RecordingWire, group, outgoing
from .smtp_servers import Act, Mailbox, Script, ScriptedServer, aiosmtpd_server

PIPELINED = ("PIPELINING", "SIZE 30000000")
STEP_BY_STEP = ("SIZE 30000000",)


@dataclass(frozen=True)
class Password:
    text: str

    def reveal(self) -> str:
        return self.text


@dataclass(frozen=True)
class Options:
    port: int
    host: str = "127.0.0.1"
    security: Literal["starttls", "tls", "none"] = "none"
    username: str | None = None
    password: Password | None = None
    connections: int = 1


@asynccontextmanager
async def smtp(
    options: Options, *, timeout_seconds: float = 3.0, answer_seconds: float = 3.0, idle_seconds: float = 30.0
) -> AsyncIterator[SmtpChannel]:
    setup = ChannelSetup("acme", "newsletter", timeout_seconds, options, print)
    channel = SmtpChannel(setup, answer_seconds=answer_seconds, idle_seconds=idle_seconds)
    try:
        yield channel
    finally:
        await channel.aclose()


@asynccontextmanager
async def served(
    server: ScriptedServer, *, connections: int = 1, timeout_seconds: float = 3.0, answer_seconds: float = 3.0
) -> AsyncIterator[SmtpChannel]:
    async with (
        server.running(),
        smtp(
            Options(server.port, connections=connections),
            timeout_seconds=timeout_seconds,
            answer_seconds=answer_seconds,
        ) as channel,
    ):
        yield channel


async def answers_to(channel: Channel, *messages: Outgoing) -> list[Answer]:
    wire = RecordingWire()
    await channel.send(messages, wire)
    return [wire.answers[mail.sid] for mail in messages]


class TestSmtp(HoldChannelContract):
    reported = True
    server: ScriptedServer

    @pytest.fixture(params=[PIPELINED, STEP_BY_STEP], ids=["pipelined", "step by step"])
    async def channel(self, request: pytest.FixtureRequest) -> AsyncIterator[Channel]:
        self.server = ScriptedServer(offers=request.param)
        async with served(self.server, connections=4) as channel:
            yield channel
        assert self.server.most_open <= 4

    def arrived(self) -> list[Sid]:
        return [Sid(sid) for sid in self.server.sids()]

    def lose_the_next_answer(self) -> None:
        self.server.then("DOT", Act.CUT)

    def cut_before_the_last_byte(self) -> None:
        self.server.then("RCPT", Act.CUT)


class TestAnswers:
    """What the server says at each phase, with and without pipelining."""

    @pytest.fixture(params=[PIPELINED, STEP_BY_STEP], ids=["pipelined", "step by step"])
    def server(self, request: pytest.FixtureRequest) -> ScriptedServer:
        return ScriptedServer(offers=request.param)

    @pytest.mark.parametrize(
        ("point", "reply"),
        [
            ("MAIL", "550 5.7.1 sender not known"),
            ("RCPT", "550 5.1.1 no such person"),
            ("DATA", "554 5.5.1 no"),
            ("DOT", "554 5.7.1 spam"),
        ],
    )
    async def test_5xx_refuses_the_message_in_the_servers_words_and_spares_the_others(
        self, server: ScriptedServer, point: str, reply: str
    ) -> None:
        server.then(point, reply)
        if point in ("MAIL", "RCPT"):
            server.then("DATA", "503 5.5.1 no valid recipients")
        if point == "MAIL":
            server.then("RCPT", "503 5.5.1 need MAIL")
        if server.offers == STEP_BY_STEP:  # the server is not asked any further
            server.scripts = {point: [reply]}
        async with served(server) as channel:
            refused, accepted = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert refused == Refused(Refusal.REJECTED, reply)
        assert isinstance(accepted, Accepted)
        assert server.connections == 1

    @pytest.mark.parametrize("point", ["MAIL", "RCPT", "DATA", "DOT"])
    async def test_4xx_is_later_and_spares_the_others(self, server: ScriptedServer, point: str) -> None:
        server.then(point, "450 4.2.0 not now")
        if point in ("MAIL", "RCPT") and server.offers == PIPELINED:
            server.then("DATA", "503 5.5.1 no valid recipients")
        async with served(server) as channel:
            later, accepted = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert later == Later("450 4.2.0 not now")
        assert isinstance(accepted, Accepted)
        assert server.connections == 1

    @pytest.mark.parametrize("point", ["MAIL", "RCPT", "DATA", "DOT"])
    async def test_421_is_later_and_the_connection_is_not_used_again(self, server: ScriptedServer, point: str) -> None:
        server.then(point, ("421 4.3.2 shutting down", Act.CUT))
        async with served(server) as channel:
            await channel.probe()
            connection = await channel._connections.take()  # new, so that nobody can have closed it before
            later = await connection.hand_over(outgoing("s1"))
            channel._connections.give(connection)
            [accepted] = await answers_to(channel, outgoing("s2"))
        assert isinstance(later, Later)
        assert "421 4.3.2 shutting down" in later.detail
        assert isinstance(accepted, Accepted)
        assert server.connections == 3

    @pytest.mark.parametrize("point", ["MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("failure", [Act.CUT, Act.SILENCE, "gibberish", "299-endless" + "\r\n299-" * 200, "150 ?"])
    async def test_a_connection_that_fails_before_the_content_is_later(
        self, server: ScriptedServer, point: str, failure: Script
    ) -> None:
        server.always[point] = failure
        async with served(server, timeout_seconds=0.3) as channel:
            [later] = await answers_to(channel, outgoing("s1"))
        assert isinstance(later, Later)
        assert server.taken == []
        assert server.connections == 2  # the one that may have been closed before, and a new one

    async def test_a_connection_that_fails_while_a_long_message_is_written_is_later(
        self, server: ScriptedServer
    ) -> None:
        server.then("CONTENT", Act.CUT, Act.CUT)
        long = outgoing("s1", content=b"Subject: long\r\n\r\n" + b"0123456789\r\n" * 2_000_000)
        async with served(server) as channel:
            [later] = await answers_to(channel, long)
        assert isinstance(later, Later)
        assert server.taken == []

    async def test_a_server_that_stops_reading_a_long_message_is_later(self, server: ScriptedServer) -> None:
        server.then("CONTENT", Act.DEAF, Act.DEAF)
        long = outgoing("s1", content=b"Subject: long\r\n\r\n" + b"0123456789\r\n" * 2_000_000)
        async with served(server, timeout_seconds=0.3) as channel:
            [later] = await answers_to(channel, long)
        assert isinstance(later, Later)
        assert server.taken == []

    @pytest.mark.parametrize("failure", [Act.CUT, Act.SILENCE, "gibberish", "354 again?", "250-and then", "150 ?"])
    async def test_a_connection_that_fails_after_the_dot_is_doubtful(
        self, server: ScriptedServer, failure: Script
    ) -> None:
        server.then("DOT", (failure, Act.SILENCE) if isinstance(failure, str) else failure)
        async with served(server, answer_seconds=0.3) as channel:
            doubtful, accepted = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert isinstance(doubtful, Doubtful)
        assert isinstance(accepted, Accepted)
        assert server.sids() == ["s1", "s2"]
        assert server.connections == 2

    async def test_the_answer_after_the_dot_may_take_longer_than_the_others(self, server: ScriptedServer) -> None:
        class Slow(ScriptedServer):
            async def _do(self, point: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> str:
                if point == "DOT":
                    await asyncio.sleep(0.6)
                return await super()._do(point, writer, reader)

        async with served(Slow(offers=server.offers), timeout_seconds=0.3) as channel:
            [accepted] = await answers_to(channel, outgoing("s1"))
        assert isinstance(accepted, Accepted)

    @pytest.mark.parametrize("code", [530, 535])
    async def test_a_server_that_wants_a_log_in_is_no_connection(self, server: ScriptedServer, code: int) -> None:
        server.always["MAIL"] = f"{code} 5.7.0 Authentication required"
        wire = RecordingWire()
        async with served(server) as channel:
            with pytest.raises(TryLater, match=rf"127.0.0.1:\d+ refuses the log-in \({code} 5.7.0\).*`password`"):
                await channel.send(group(5), wire)
        assert len(wire.begun) == 1
        assert [type(answer) for answer in wire.answers.values()] == [Later]

    async def test_other_successes_than_250_are_successes(self, server: ScriptedServer) -> None:
        server.then("RCPT", "251 2.1.5 will forward", "252 cannot verify")
        async with served(server) as channel:
            answers = await answers_to(channel, *group(2))
        assert [type(answer) for answer in answers] == [Accepted, Accepted]

    async def test_details_are_short_and_have_no_control_characters(self, server: ScriptedServer) -> None:
        server.then("DOT", "550-one \x1b[31m\x00\r\n550-two \udcff\r\n550 " + "x" * 1000)
        async with served(server) as channel:
            [refused] = await answers_to(channel, outgoing("s1"))
        assert isinstance(refused, Refused)
        assert refused.detail.startswith("550 one [31m two \ufffd xxx")
        assert len(refused.detail) == 300

    @pytest.mark.parametrize("point", ["MAIL", "RCPT"])
    async def test_a_message_turned_down_never_gets_content_even_if_the_server_asks_for_it(self, point: str) -> None:
        server = ScriptedServer(offers=PIPELINED).then(point, "550 5.1.1 no")
        async with served(server) as channel:
            refused, accepted = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert isinstance(refused, Refused)
        assert isinstance(accepted, Accepted)
        assert server.sids() == ["s2"]


class TestFaults:
    """What must not reach the wire at all."""

    @pytest.mark.parametrize("what", ["to", "sender"])
    @pytest.mark.parametrize(
        "address",
        [
            "a@b.example>\r\nRCPT TO:<mallory@evil.example",
            "a@b.example\nDATA",
            "a@b.example\r",
            "a@b.example> SIZE=1",
            "<a@b.example>",
            "a b@c.example",
            "a\x00@b.example",
            "a\u2028@b.example",
            "a\x85@b.example",
            "half\ud800@b.example",
            "",
        ],
    )
    async def test_an_address_cannot_end_its_command(self, what: str, address: str) -> None:
        bad = msgspec.structs.replace(outgoing("s1"), **{what: address})
        server = ScriptedServer(offers=(*PIPELINED, "SMTPUTF8"))
        async with served(server) as channel:
            refused, accepted = await answers_to(channel, bad, outgoing("s2"))
        assert isinstance(refused, Refused)
        assert isinstance(accepted, Accepted)
        assert [line for line in server.commands if line[:4] not in ("EHLO", "QUIT")] == [
            "MAIL FROM:<news@acme.example> SIZE=56",
            "RCPT TO:<ann@example.com>",
            "DATA",
        ]

    @pytest.mark.parametrize(
        "content", [b"a\r\n.\nb\r\n", b"a\n.\r\nb\r\n", b"a\r.\r\n", b"a\r\n.\r", b"\nQUIT\r\n", b"a\r\r\n.\r\n"]
    )
    async def test_content_with_bare_line_ends_is_refused(self, content: bytes) -> None:
        server = ScriptedServer()
        async with served(server) as channel:
            [refused] = await answers_to(channel, outgoing("s1", content=content))
        assert isinstance(refused, Refused)
        assert "bare CR or LF" in refused.detail
        assert server.taken == []

    async def test_a_message_larger_than_the_server_takes_is_refused(self) -> None:
        server = ScriptedServer(offers=("SIZE 100",))
        async with served(server) as channel:
            refused, accepted = await answers_to(
                channel, outgoing("s1", content=b"Subject: x\r\n\r\n" + b"x" * 100), outgoing("s2")
            )
        assert refused == Refused(Refusal.REJECTED, "the message has 114 octets; the server takes at most 100")
        assert isinstance(accepted, Accepted)

    @pytest.mark.parametrize("offers", [("SIZE",), ("SIZE 0",), ("SIZE many",), ("8BITMIME",)])
    async def test_a_server_without_a_limit_takes_any_size(self, offers: tuple[str, ...]) -> None:
        async with served(ScriptedServer(offers=offers)) as channel:
            [accepted] = await answers_to(channel, outgoing("s1"))
        assert isinstance(accepted, Accepted)

    async def test_an_address_beyond_ascii_needs_a_server_that_can(self) -> None:
        async with served(ScriptedServer()) as channel:
            [refused] = await answers_to(channel, outgoing("s1", to="grüße@example.com"))
        assert isinstance(refused, Refused)
        assert "SMTPUTF8" in refused.detail


class TestContent:
    @given(st.lists(st.sampled_from([b"", b".", b"..", b".a", b"text", b"a."])))
    def test_stuffed_content_ends_only_at_its_own_dot_and_is_undone_exactly(self, lines: list[bytes]) -> None:
        content = b"\r\n".join(lines)
        sent = stuffed(content) + b".\r\n"
        assert (b"\r\n" + sent).index(b"\r\n.\r\n") + 3 == len(sent)
        undone = [line[1:] if line.startswith(b".") else line for line in sent.split(b"\r\n")[:-2]]
        assert b"\r\n".join(undone) == content.removesuffix(b"\r\n")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2.0.0 Ok: queued as 4Z1bYQ2Jqnz3", "4Z1bYQ2Jqnz3"),
            ("2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 8D5A1.", "8D5A1"),
            ("OK id=1rYxQh-0000Ab-2C", "1rYxQh-0000Ab-2C"),
            ("2.0.0 41BCD9aQ012345 Message accepted for delivery", "41BCD9aQ012345"),
            ("Ok 0100018e3b5c7d2a-9f1f7a3e-0000-0000-000000", "0100018e3b5c7d2a-9f1f7a3e-0000-0000-000000"),
            ("queued as " + "x" * 500, "x" * 200),
            ("2.0.0 OK", None),
            ("Great success", None),
            ("", None),
        ],
    )
    def test_the_servers_own_id_is_kept_where_it_tells_one(self, text: str, expected: str | None) -> None:
        assert queue_id(text) == expected

    async def test_the_id_comes_with_the_answer(self) -> None:
        async with served(ScriptedServer()) as channel:
            assert await answers_to(channel, outgoing("s1")) == [Accepted("4F2A1")]


class TestConnections:
    async def test_connections_stay_open_between_groups(self) -> None:
        server = ScriptedServer()
        async with served(server, connections=3) as channel:
            for prefix in "abc":
                await answers_to(channel, *group(30, prefix))
            assert server.open == server.connections <= 3

    async def test_closing_says_goodbye(self) -> None:
        server = ScriptedServer()
        async with server.running():
            async with smtp(Options(server.port)) as channel:
                await answers_to(channel, outgoing("s1"))
            await asyncio.sleep(0.05)
            assert server.commands[-1] == "QUIT"
            assert server.open == 0

    async def test_a_connection_that_nobody_uses_is_closed(self) -> None:
        server = ScriptedServer()
        async with server.running(), smtp(Options(server.port), idle_seconds=0.1) as channel:
            await answers_to(channel, outgoing("s1"))
            assert server.open == 1
            await asyncio.sleep(0.4)
            assert server.open == 0
            assert server.commands[-1] == "QUIT"
            [accepted] = await answers_to(channel, outgoing("s2"))
            assert isinstance(accepted, Accepted)

    @pytest.mark.parametrize(
        "farewell", [("250 Ok", Act.CUT), ("250 Ok", "421 4.4.2 idle", Act.CUT), ("250 Ok", Act.SILENCE)]
    )
    @pytest.mark.parametrize("pause_seconds", [0.0, 0.1, 1.1])
    async def test_a_connection_closed_by_the_server_costs_the_next_message_nothing(
        self, farewell: Script, pause_seconds: float
    ) -> None:
        server = ScriptedServer().then("DOT", farewell)
        async with served(server, timeout_seconds=0.3) as channel:
            first = await answers_to(channel, outgoing("s1"))
            await asyncio.sleep(pause_seconds)
            second = await answers_to(channel, outgoing("s2"))
        assert [type(answer) for answer in first + second] == [Accepted, Accepted]
        assert server.sids() == ["s1", "s2"]
        assert server.connections == 2

    async def test_an_idle_connection_is_looked_at_before_a_message_begins(self) -> None:
        server = ScriptedServer().then("RSET", ("421 4.4.2 idle", Act.CUT))
        async with served(server) as channel:
            await answers_to(channel, outgoing("s1"))
            await asyncio.sleep(1.1)
            [accepted] = await answers_to(channel, outgoing("s2"))
        assert isinstance(accepted, Accepted)
        assert server.connections == 2
        assert "RSET" in server.commands

    async def test_a_server_that_gives_fewer_connections_is_content_with_them(self) -> None:
        server = ScriptedServer(limit=2)
        async with served(server, connections=5) as channel:
            for prefix in "abc":
                messages, wire = group(50, prefix), RecordingWire()
                await channel.send(messages, wire)
                assert wire.all_accepted(messages)
            assert server.open == 2
            assert server.connections == 5  # none was tried a second time

    async def test_a_further_connection_is_tried_again_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("optirelay.channels.smtp.connections.MORE_AFTER_SECONDS", 0.1)
        server = ScriptedServer(limit=1)
        async with served(server, connections=2) as channel:
            await answers_to(channel, *group(20, "a"))
            server.limit = 2
            await asyncio.sleep(0.2)
            await answers_to(channel, *group(20, "b"))
            await asyncio.sleep(0.05)
            assert server.open == 2

    async def test_groups_side_by_side_share_the_connections(self) -> None:
        server = ScriptedServer()
        async with served(server, connections=3) as channel:
            await asyncio.gather(*(answers_to(channel, *group(30, prefix)) for prefix in "abcd"))
        assert server.most_open == 3
        assert len(server.taken) == 120

    async def test_a_small_group_does_not_wait_for_a_large_one(self) -> None:
        server = ScriptedServer()
        async with served(server, connections=2) as channel:
            large, wire = group(400, "large"), RecordingWire()
            sending = asyncio.create_task(channel.send(large, wire))
            while not wire.answers and not sending.done():
                await asyncio.sleep(0)
            await answers_to(channel, outgoing("small"))
            assert len(wire.answers) < 200
            await sending

    async def test_a_lost_server_leaves_answers_for_what_had_begun_and_nothing_for_the_rest(self) -> None:
        server = ScriptedServer()
        messages, wire = group(2000), RecordingWire()
        async with server.running():
            setup = ChannelSetup("acme", "newsletter", 3.0, Options(server.port, connections=3), print)
            channel = SmtpChannel(setup, answer_seconds=3.0)
            sending = asyncio.create_task(channel.send(messages, wire))
            while len(wire.answers) < 50 and not sending.done():
                await asyncio.sleep(0)
        with pytest.raises(TryLater, match=r"no connection to 127\.0\.0\.1:\d+"):
            await sending
        await channel.aclose()
        assert wire.answers.keys() == set(wire.begun)
        assert 50 <= len(wire.begun) < 2000
        accepted = {sid for sid, answer in wire.answers.items() if isinstance(answer, Accepted)}
        doubtful = {sid for sid, answer in wire.answers.items() if isinstance(answer, Doubtful)}
        assert accepted <= set(server.sids()) <= accepted | doubtful

    async def test_a_cancelled_send_closes_the_connections_whose_state_nobody_knows(self) -> None:
        server = ScriptedServer().then("DOT", Act.SILENCE, Act.SILENCE)
        wire = RecordingWire()
        async with served(server, connections=2) as channel:
            sending = asyncio.create_task(channel.send(group(10), wire))
            while len(server.taken) < 2 and not sending.done():
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert len(wire.begun) == 2
            assert wire.answers == {}
            await asyncio.sleep(0.05)
            assert server.open == 0
            [accepted] = await answers_to(channel, outgoing("later"))
            assert isinstance(accepted, Accepted)

    def test_it_works_on_uvloop(self) -> None:
        async def journey() -> list[Answer]:
            async with served(ScriptedServer(), connections=2) as channel:
                return await answers_to(channel, *group(20))

        answers = uvloop.run(journey())
        assert [type(answer) for answer in answers] == [Accepted] * 20


class TestNoConnection:
    """Raised with a sentence that names the server and the mend; nothing begins."""

    async def sentence(self, options: Options, *, timeout_seconds: float = 1.0) -> str:
        wire = RecordingWire()
        async with smtp(options, timeout_seconds=timeout_seconds) as channel:
            with pytest.raises(TryLater) as probed:
                await channel.probe()
            with pytest.raises(TryLater) as sent:
                await channel.send(group(5), wire)
        assert wire.begun == []
        assert str(probed.value) == str(sent.value)
        return str(sent.value)

    async def test_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            assert f"no connection to 127.0.0.1:{port}" in await self.sentence(Options(port))

    async def test_the_name_is_not_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody(*args: object, **kwargs: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", nobody)
        sentence = await self.sentence(Options(587, host="smtp.example.com"))
        assert sentence == "the name smtp.example.com is not known (Name or service not known); check `host`"

    @pytest.mark.parametrize(
        ("point", "reply", "words"),
        [
            ("BANNER", "554 5.3.2 no service here", "554 5.3.2 no service here"),
            ("BANNER", ("421 4.7.0 busy", Act.CUT), "421 4.7.0 busy"),
            ("BANNER", Act.CUT, "no connection to"),
            ("BANNER", Act.SILENCE, "does not answer within 0.3 s"),
            ("BANNER", "SSH-2.0-OpenSSH_9.7", "no connection to|turns us away"),
            ("EHLO", "502 5.5.1 what", "502 5.5.1 what"),
            ("EHLO", Act.CUT, "no connection to"),
            ("EHLO", Act.SILENCE, "does not answer within 0.3 s"),
        ],
    )
    async def test_the_server_does_not_greet(self, point: str, reply: Script, words: str) -> None:
        server = ScriptedServer(always={point: reply})
        async with server.running():
            sentence = await self.sentence(Options(server.port), timeout_seconds=0.3)
            assert any(part in sentence for part in words.split("|"))
            assert f"127.0.0.1:{server.port}" in sentence

    async def test_one_connection_is_tried_not_all(self) -> None:
        server = ScriptedServer(always={"BANNER": "554 no"})
        async with served(server, connections=10) as channel:
            with pytest.raises(TryLater):
                await channel.send(group(50), RecordingWire())
        assert server.connections == 1

    async def test_a_probe_asks_for_a_sign_of_life(self) -> None:
        async with served(ScriptedServer(always={"NOOP": "451 4.3.0 ill"})) as channel:
            with pytest.raises(TryLater, match=r"451 4\.3\.0 ill"):
                await channel.probe()

    async def test_starttls_is_never_left_out(self) -> None:
        server = ScriptedServer()
        async with server.running():
            options = Options(server.port, security="starttls", username="acme", password=Password("open sesame"))
            assert "offers no STARTTLS; set `security` to tls" in await self.sentence(options)
        assert {line[:4] for line in server.commands} <= {"EHLO", "QUIT"}

    async def test_a_log_in_that_is_not_offered(self) -> None:
        server = ScriptedServer()
        async with server.running():
            options = Options(server.port, username="acme", password=Password("open sesame"))
            assert "offers no log-in" in await self.sentence(options)

    async def test_the_password_is_never_told_even_if_the_server_repeats_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server = ScriptedServer(offers=("AUTH PLAIN",), always={"AUTH": "535 5.7.8 wrong: open sesame"})
        async with server.running():
            options = Options(server.port, username="acme", password=Password("open sesame"))
            sentence = await self.sentence(options)
            assert sentence == (
                f"127.0.0.1:{server.port} refuses the log-in (535 5.7.8); check `username` and `password`"
            )
        assert "sesame" not in caplog.text


class TestEncryptedAndLoggedIn:
    """Against aiosmtpd, with certificates of an authority made for the test."""

    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
        """Trusted on this machine, the way an operator does it."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        return authority

    @staticmethod
    def certificate(authority: trustme.CA, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        return context

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    @pytest.mark.parametrize("security", ["starttls", "tls"])
    async def test_mail_arrives_unchanged(
        self, authority: trustme.CA, security: Literal["starttls", "tls"], mechanism: str
    ) -> None:
        mailbox = Mailbox()
        context = self.certificate(authority, "localhost", "127.0.0.1")
        content = b"Subject: dots\r\n\r\n.\r\n..\r\n.leading\r\nmiddle.dot\r\n\r\n.\r\n"
        async with aiosmtpd_server(
            mailbox,
            tls=context if security == "tls" else None,
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            auth_required=security == "starttls",
            auth_require_tls=security == "starttls",  # of "tls" aiosmtpd does not see that it is encrypted
            auth_exclude_mechanism=[{"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[mechanism]],
            authenticator=mailbox.log_in,
        ) as port:
            options = Options(
                port,
                host="localhost",
                security=security,
                username="acme",
                password=Password("open sesame"),
                connections=2,
            )
            async with smtp(options) as channel:
                await channel.probe()
                answers = await answers_to(
                    channel, outgoing("s0", to="o'hara+tag@example.com", content=content), *group(5, "t")
                )
        assert answers == [Accepted("A1B2C3")] * 6
        first = next(envelope for envelope in mailbox.envelopes if envelope.rcpt_tos == ["o'hara+tag@example.com"])
        assert first.content == content
        assert first.mail_from == "news@acme.example"
        assert all(mailbox.encrypted)
        assert set(mailbox.users) == {b"acme"}

    async def test_an_address_beyond_ascii_arrives(self) -> None:
        mailbox = Mailbox()
        async with aiosmtpd_server(mailbox, enable_SMTPUTF8=True) as port, smtp(Options(port)) as channel:
            [accepted] = await answers_to(channel, outgoing("s1", to="grüße@example.com"))
        assert isinstance(accepted, Accepted)
        assert mailbox.envelopes[0].rcpt_tos == ["grüße@example.com"]

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    async def test_a_certificate_of_an_unknown_authority_is_not_accepted(
        self, authority: trustme.CA, security: Literal["starttls", "tls"]
    ) -> None:
        mailbox = Mailbox()
        context = self.certificate(trustme.CA(), "localhost")
        implicit, explicit = (context, None) if security == "tls" else (None, context)
        async with aiosmtpd_server(mailbox, tls=implicit, tls_context=explicit) as port:
            sentence = await TestNoConnection().sentence(Options(port, host="localhost", security=security))
        assert sentence.startswith(f"the certificate of localhost:{port} cannot be trusted")
        assert "SSL_CERT_FILE" in sentence

    async def test_a_certificate_for_another_name_is_not_accepted(self, authority: trustme.CA) -> None:
        context = self.certificate(authority, "other.example")
        async with aiosmtpd_server(Mailbox(), tls=context) as port:
            sentence = await TestNoConnection().sentence(Options(port, host="localhost", security="tls"))
        assert "cannot be trusted" in sentence
        assert "check `host`" in sentence

    async def test_tls_where_the_server_speaks_plain(self, authority: trustme.CA) -> None:
        async with aiosmtpd_server(Mailbox()) as port:
            sentence = await TestNoConnection().sentence(Options(port, host="localhost", security="tls"))
        assert f"no TLS with localhost:{port}" in sentence
        assert "check `security`" in sentence

    async def test_a_wrong_password(self, authority: trustme.CA) -> None:
        mailbox = Mailbox()
        context = self.certificate(authority, "localhost")
        async with aiosmtpd_server(
            mailbox, tls_context=context, auth_required=True, authenticator=mailbox.log_in
        ) as port:
            options = Options(
                port, host="localhost", security="starttls", username="acme", password=Password("abracadabra")
            )
            sentence = await TestNoConnection().sentence(options)
        assert sentence == f"localhost:{port} refuses the log-in (535 5.7.8); check `username` and `password`"

    async def test_closing_an_encrypted_connection_does_not_hang(self, authority: trustme.CA) -> None:
        context = self.certificate(authority, "127.0.0.1")
        server = ScriptedServer(tls=context, always={"QUIT": Act.SILENCE})
        async with server.running():
            async with smtp(Options(server.port, security="tls")) as channel:
                await answers_to(channel, outgoing("s1"))
                began = time.monotonic()
            assert time.monotonic() - began < 30  # it would have waited for ever
