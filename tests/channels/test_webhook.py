"""The webhook channel against receivers over real sockets: what is posted, and what each answer means."""

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import standardwebhooks
import time_machine
import trustme
import uvloop

from optirelay import __version__
from optirelay.channels import Channel, ChannelSetup
from optirelay.channels.webhook import WebhookChannel
from optirelay.channels.webhook.answers import Reply as Heard
from optirelay.errors import NeedsOperator, TryLater
from optirelay.model import (
    Accepted,
    Answer,
    AppId,
    ChannelKind,
    Contract,
    Doubtful,
    Later,
    Outgoing,
    Refusal,
    Refused,
    Sid,
)
from optirelay.net import Network

from .contract import ChannelContract, HoldChannelContract, KeyedChannelContract, RecordingWire, group, outgoing, sids
from .webhook_receivers import SECRET, Act, Receiver, Reply, ids, reply

OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
THIS_MACHINE = (ip_network("127.0.0.0/8"),)
NOW = datetime(2031, 4, 2, 10, 0, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Text:
    text: str

    def reveal(self) -> str:
        return self.text


@dataclass(frozen=True)
class Options:
    url: str
    secrets: Sequence[Text] = (Text(SECRET),)
    batch: int = 1
    concurrency: int = 4
    contract: Contract = Contract.KEYED


@asynccontextmanager
async def webhook(
    options: Options,
    *,
    timeout_seconds: float = 30.0,
    kind: ChannelKind = ChannelKind.SMS,
    allow: Sequence[Network] = THIS_MACHINE,
    together: int | None = None,
) -> AsyncIterator[WebhookChannel]:
    setup = ChannelSetup(
        "acme", "texts", timeout_seconds, options, print, allow_networks=allow, kind=kind, together=together
    )
    channel = WebhookChannel(setup)
    try:
        yield channel
    finally:
        await channel.aclose()


@asynccontextmanager
async def served(
    receiver: Receiver,
    *,
    batch: int = 1,
    concurrency: int = 4,
    timeout_seconds: float = 30.0,
    kind: ChannelKind = ChannelKind.SMS,
    together: int | None = None,
    secrets: Sequence[str] = (SECRET,),
) -> AsyncIterator[WebhookChannel]:
    async with receiver.running():
        options = Options(receiver.url, [Text(secret) for secret in secrets], batch, concurrency)
        async with webhook(options, timeout_seconds=timeout_seconds, kind=kind, together=together) as channel:
            yield channel


async def answers_to(channel: Channel, *messages: Outgoing) -> list[Answer]:
    wire = RecordingWire()
    await channel.send(messages, wire)
    return [wire.answers[mail.sid] for mail in messages]


async def stopped_by(channel: Channel, *messages: Outgoing) -> tuple[Exception, RecordingWire]:
    """What send raises, and what it told before."""
    wire = RecordingWire()
    with pytest.raises((TryLater, NeedsOperator)) as raised:
        await channel.send(messages, wire)
    assert wire.answers.keys() == set(wire.begun)
    return raised.value, wire


class Behind:
    """What the contracts ask of the provider."""

    reported = True
    contract = Contract.KEYED
    batch = 1
    receiver: Receiver

    @pytest.fixture
    async def channel(self) -> AsyncIterator[Channel]:
        self.receiver = Receiver(keyed=self.contract is Contract.KEYED)
        async with self.receiver.running():
            options = Options(self.receiver.url, batch=self.batch, concurrency=3, contract=self.contract)
            async with webhook(options) as channel:
                yield channel
        assert self.receiver.most_in_flight <= 3

    def arrived(self) -> list[Sid]:
        return [Sid(sid) for sid in self.receiver.taken]

    def lose_the_next_answer(self) -> None:
        self.receiver.then(Act.CUT)

    def cut_before_the_last_byte(self) -> None:
        self.receiver.refuse()


class TestKeyed(Behind, KeyedChannelContract):
    pass


class TestHold(Behind, HoldChannelContract):
    contract = Contract.HOLD


class TestSeveralARequest(Behind, ChannelContract):
    contract = Contract.KEYED
    batch = 7


class TestRequest:
    """What is on the wire."""

    message = msgspec.structs.replace(
        outgoing("s_01", to="+33612345678", subject=""),
        sender="ACME",
        text="Hello Ana",
        html="<p>not of a text</p>",
        personalization={"NAME": "Ana 🎉", "A": "1"},
    )

    async def test_one_message_is_the_body_that_is_promised(self) -> None:
        async with served(receiver := Receiver()) as channel:
            await answers_to(channel, self.message)
        [request] = receiver.posts
        assert request.said == {
            "type": "message.send",
            "timestamp": "2031-04-02T10:00:00Z",
            "data": {
                "id": "s_01",
                "tenant": "acme",
                "channel": "texts",
                "kind": "sms",
                "campaign_id": "90211",
                "trigger": None,
                "action_id": None,
                "customer_id": "00042",
                "template_id": 17,
                "app_id": None,
                "to": "+33612345678",
                "from": "ACME",
                "subject": None,
                "text": "Hello Ana",
                "html": None,
                "personalization": {"NAME": "Ana 🎉", "A": "1"},
                "promo_codes": [],
                "unsubscribe_url": "https://relay.example.com/u/s_01",
                "send_at": "2031-04-02T10:00:00Z",
            },
        }
        assert request.path == "/send?key=1"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"] == f"optirelay/{__version__}"
        assert request.headers["webhook-id"] == "s_01"

    async def test_mail_has_its_html_and_no_sender_is_null(self) -> None:
        mail = msgspec.structs.replace(self.message, subject="Hi", sender="", html="<p>Hi</p>")
        async with served(receiver := Receiver(), kind=ChannelKind.EMAIL) as channel:
            await answers_to(channel, mail)
        [said] = receiver.posts[0].messages()
        assert (said["kind"], said["subject"], said["html"], said["from"]) == ("email", "Hi", "<p>Hi</p>", None)

    async def test_a_push_message_says_whose_app_it_is_for(self) -> None:
        push = msgspec.structs.replace(self.message, subject="Hi", app=AppId("ios-main"))
        async with served(receiver := Receiver(), kind=ChannelKind.PUSH) as channel:
            await answers_to(channel, push)
        [said] = receiver.posts[0].messages()
        assert (said["kind"], said["app_id"]) == ("push", "ios-main")

    async def test_each_try_has_the_same_body_and_id_and_a_new_time_and_signature(self) -> None:
        other_order = msgspec.structs.replace(self.message, personalization={"A": "1", "NAME": "Ana 🎉"})
        with time_machine.travel(NOW, tick=False) as traveller:
            async with served(receiver := Receiver().then(reply(500))) as channel:
                await answers_to(channel, self.message)
                traveller.shift(3600)
                await answers_to(channel, other_order)
        first, second = receiver.posts
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
        assert second.headers["webhook-timestamp"] == str(int(NOW.timestamp()) + 3600)
        assert first.headers["webhook-signature"] != second.headers["webhook-signature"]

    async def test_several_messages_are_one_request_with_an_id_of_its_own(self) -> None:
        with time_machine.travel(NOW + timedelta(microseconds=5), tick=False):
            async with served(receiver := Receiver(), batch=4, concurrency=1) as channel:
                assert await answers_to(channel, *group(10)) == [Accepted()] * 10
                await answers_to(channel, *group(1))
        assert [len(request.messages()) for request in receiver.posts] == [4, 4, 2, 1]
        assert ids(receiver.posts) == [*sids(group(10)), "s0"]
        assert {request.said["type"] for request in receiver.posts} == {"messages.send"}
        assert {request.said["timestamp"] for request in receiver.posts} == {"2031-04-02T10:00:30Z"}
        webhook_ids = {request.headers["webhook-id"] for request in receiver.posts}
        assert len(webhook_ids) == 4
        assert all(one.startswith("b_") and len(one) > 20 and "." not in one for one in webhook_ids)

    @pytest.mark.parametrize("batch", [1, 5])
    async def test_while_two_secrets_rotate_either_verifies(self, batch: int) -> None:
        receiver = Receiver(secrets=(SECRET, OTHER_SECRET))
        async with served(receiver, batch=batch, secrets=(OTHER_SECRET, SECRET)) as channel:
            messages = group(5)
            assert await answers_to(channel, *messages) == [Accepted()] * 5
        assert sorted(receiver.taken) == sids(messages)
        assert all(len(request.headers["webhook-signature"].split(" ")) == 2 for request in receiver.posts)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            receiver.posts[0].verify("whsec_" + base64.b64encode(b"somebody else's secret").decode())

    async def test_what_may_not_begin_is_left_out_of_its_request(self) -> None:
        wire = RecordingWire(forbidden={"s1", "s2", "s4", "s5", "s6"})
        async with served(receiver := Receiver(), batch=3, concurrency=1) as channel:
            await channel.send(group(9), wire)
        assert [len(request.messages()) for request in receiver.posts] == [1, 1, 2]
        assert ids(receiver.posts) == ["s0", "s3", "s7", "s8"]

    async def test_messages_begin_in_their_order(self) -> None:
        for batch in (1, 3):
            wire = RecordingWire()
            async with served(Receiver(), batch=batch, concurrency=5) as channel:
                await channel.send(group(40), wire)
            assert wire.begun == sids(group(40))


class TestTogether:
    """With a rate, only so many may leave together, and each request waits for slots of its own."""

    async def test_no_request_has_more_than_may_leave_together(self) -> None:
        async with served(receiver := Receiver(), batch=10, together=3, concurrency=1) as channel:
            await answers_to(channel, *group(8))
        assert [len(request.messages()) for request in receiver.posts] == [3, 3, 2]
        assert {request.said["type"] for request in receiver.posts} == {"messages.send"}

    async def test_two_groups_do_not_take_their_slots_in_turns(self) -> None:
        begun: list[Sid] = []

        class SlowWire(RecordingWire):
            async def begin(self, sid: Sid) -> bool:
                await asyncio.sleep(0.002)
                begun.append(sid)
                return await super().begin(sid)

        async with served(receiver := Receiver(), batch=5, together=5, concurrency=4) as channel:
            await asyncio.gather(*(channel.send(group(15, prefix), SlowWire()) for prefix in "ab"))
        requests = {tuple(ids([request])) for request in receiver.posts}
        assert all(tuple(begun[first : first + 5]) in requests for first in range(0, 30, 5))


ANSWERS = [
    # one message: what the receiver says, what it means
    (reply(200), Accepted()),
    (reply(204), Accepted()),
    (reply(202, {"provider_id": "p-1"}), Accepted("p-1")),
    (reply(200, {"provider_id": 17}), Accepted("17")),
    (reply(200, {"provider_id": ""}), Accepted()),
    (reply(200, {"provider_id": None}), Accepted()),
    (reply(200, {"provider_id": ["p"]}), Accepted()),
    (reply(200, {"provider_id": "p\x00\n1" + "x" * 500}), Accepted("p 1" + "x" * 197)),
    (reply(200, {"status": "queued"}), Accepted()),
    (reply(200, "ok"), Accepted()),
    (reply(200, "[]"), Accepted()),
    (reply(200, "[" * 60_000), Accepted()),
    (reply(200, "x" * 200_000), Accepted()),
    (Reply(200, b"\xff\xfe"), Accepted()),
    (reply(409, "had it"), Accepted()),
    (reply(400, "no such number"), Refused(Refusal.REJECTED, "400 no such number")),
    (reply(404), Refused(Refusal.REJECTED, "404")),
    (reply(413, "too\nlong\x00"), Refused(Refusal.REJECTED, "413 too long")),
    (reply(422, "y" * 1000), Refused(Refusal.REJECTED, "422 " + "y" * 200)),
    (reply(402), Refused(Refusal.REJECTED, "402")),
    (reply(451, {"error": "no"}), Refused(Refusal.REJECTED, '451 {"error": "no"}')),
    (reply(408), Later("408")),
    (reply(425), Later("425")),
    (reply(429, "slow down"), Later("429 slow down")),
    (reply(503), Later("503")),
    (reply(503, retry_after="7"), Later("503", timedelta(seconds=7))),
    (reply(500, "oops"), Doubtful("500 oops")),
    (reply(502), Doubtful("502")),
    (reply(504), Doubtful("504")),
    (reply(599), Doubtful("599")),
    (reply(200, {"results": [{"id": "s1", "status": "refused", "reason": "no"}]}), Refused(Refusal.REJECTED, "no")),
    *(
        (
            reply(status, location="http://127.0.0.1:1/"),
            Later(f"{status}: a redirect, which is never followed; write the new address as `url`"),
        )
        for status in (301, 302, 303, 307, 308)
    ),
]


class TestAnswers:
    @pytest.mark.parametrize(("said", "meant"), ANSWERS, ids=lambda one: f"{one}"[:40])
    async def test_what_an_answer_means_for_one_message(self, said: Reply, meant: Answer) -> None:
        async with served(receiver := Receiver().then(said)) as channel:
            answer, other = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert answer == meant
        assert words_of(answer) == words_of(meant)
        assert other == Accepted()
        assert len(receiver.posts) == 2

    @pytest.mark.parametrize("status", [409, 400, 503, 500])
    async def test_a_status_is_for_all_messages_of_a_request(self, status: int) -> None:
        async with served(Receiver().then(reply(status)), batch=3) as channel:
            answers = await answers_to(channel, *group(3))
        assert len(set(map(repr, answers))) == 1
        kinds = {409: Accepted, 400: Refused, 503: Later, 500: Doubtful}
        assert isinstance(answers[0], kinds[status])

    async def test_results_are_for_single_messages(self) -> None:
        results = [
            {"id": "s3", "status": "retry", "reason": "busy"},
            {"id": "s0", "status": "accepted", "provider_id": "p-0"},
            {"id": "s1", "status": "refused", "reason": "no such\nnumber"},
            {"id": "s4", "status": "queued"},
            {"id": "s5"},
            {"id": "nobody's", "status": "refused"},
        ]
        async with served(Receiver().then(reply(200, {"results": results})), batch=10) as channel:
            answers = await answers_to(channel, *group(7))
        assert answers[:4] == [
            Accepted("p-0"),
            Refused(Refusal.REJECTED, "no such number"),
            Accepted(),  # nobody says anything else
            Later("busy"),
        ]
        assert [type(answer) for answer in answers[4:]] == [Doubtful, Doubtful, Accepted]
        assert "'queued' of it, which is no status that we know" in words_of(answers[4])

    @pytest.mark.parametrize("said", [None, "  ", {}, {"results": []}, {"ok": True}])
    async def test_a_2xx_that_speaks_of_no_message_accepts_all(self, said: object) -> None:
        async with served(Receiver().then(reply(200, said)), batch=3) as channel:
            assert await answers_to(channel, *group(3)) == [Accepted()] * 3

    @pytest.mark.parametrize(
        "said",
        [
            "ok",
            "[]",
            "17",
            "null ",
            '{"results": ',
            "[" * 60_000,
            "x" * 200_000,
            {"results": {"s0": "accepted"}},
            {"results": None},
            {"results": ["s0", "s1"]},
            {"results": [{"status": "refused"}]},
            {"results": [{"id": 0, "status": "refused"}]},
        ],
    )
    async def test_a_2xx_whose_results_cannot_be_read_leaves_all_in_doubt(self, said: object) -> None:
        async with served(Receiver().then(reply(200, said)), batch=3) as channel:
            answers = await answers_to(channel, *group(3))
        assert [type(answer) for answer in answers] == [Doubtful] * 3

    async def test_the_results_of_the_largest_request_are_read(self) -> None:
        results = [
            {"id": mail.sid, "status": "refused", "reason": "r" * 200, "provider_id": "p" * 200} for mail in group(500)
        ]
        async with served(Receiver().then(reply(200, {"results": results})), batch=500) as channel:
            answers = await answers_to(channel, *group(500))
        assert answers == [Refused(Refusal.REJECTED, "r" * 200)] * 500

    @pytest.mark.parametrize("status", [401, 403, 410])
    @pytest.mark.parametrize("batch", [1, 3])
    async def test_a_status_that_only_a_person_can_mend_stops_the_channel(self, status: int, batch: int) -> None:
        async with served(receiver := Receiver(always=reply(status, "who?")), batch=batch, concurrency=2) as channel:
            stopped, wire = await stopped_by(channel, *group(30))
        assert isinstance(stopped, NeedsOperator)
        assert str(stopped) == (
            f"127.0.0.1:{receiver.port} answers {status} who?; check `url` and `secret` in "
            "[tenants.acme.channels.texts.webhook], then `optirelay channels resume`"
        )
        assert set(map(repr, wire.answers.values())) == {repr(Later(f"{status} who?", tried=False))}
        assert len(receiver.posts) <= 3
        assert len(wire.begun) <= 3 * batch

    async def test_what_was_under_way_when_the_channel_stopped_gets_its_own_answer(self) -> None:
        receiver = Receiver(answers_after=0.05).then(reply(200), reply(401), reply(500))
        async with served(receiver, concurrency=3) as channel:
            stopped, wire = await stopped_by(channel, *group(3))
        assert isinstance(stopped, NeedsOperator)
        assert sorted(type(answer).__name__ for answer in wire.answers.values()) == ["Accepted", "Doubtful", "Later"]

    async def test_429_with_a_time_makes_the_channel_wait(self) -> None:
        receiver = Receiver(always=reply(429, "quota", retry_after="11"))
        async with served(receiver, concurrency=2) as channel:
            stopped, wire = await stopped_by(channel, *group(30))
        assert isinstance(stopped, TryLater)
        assert stopped.after == timedelta(seconds=11)
        assert str(stopped) == f"127.0.0.1:{receiver.port} asks us to wait: 429 quota"
        assert set(map(repr, wire.answers.values())) == {repr(Later("429 quota", timedelta(seconds=11)))}
        assert len(receiver.posts) <= 3

    async def test_what_a_person_must_mend_is_told_before_a_wait(self) -> None:
        receiver = Receiver(answers_after=0.05).then(
            reply(429, retry_after="11"), reply(403), reply(429, retry_after="3")
        )
        async with served(receiver, concurrency=3) as channel:
            stopped, _ = await stopped_by(channel, *group(3))
        assert isinstance(stopped, NeedsOperator)

    @pytest.mark.parametrize(
        ("text", "pause"),
        [
            ("0", timedelta(0)),
            ("120", timedelta(minutes=2)),
            (" 120 ", timedelta(minutes=2)),
            ("86400", timedelta(days=1)),
            ("86401", timedelta(days=1)),
            ("9" * 5000, timedelta(days=1)),
            (format_datetime(NOW + timedelta(seconds=90), usegmt=True), timedelta(seconds=90)),
            ("Wednesday, 02-Apr-31 10:01:00 GMT", timedelta(seconds=30)),
            (format_datetime(NOW + timedelta(days=90), usegmt=True), timedelta(days=1)),
            (format_datetime(NOW - timedelta(seconds=90), usegmt=True), None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("١٢", None),
            ("Wed, 99 Apr 2031 10:00:00 GMT", None),
            ("Wed, 02 Apr 99999 10:00:00 GMT", None),
            ("0x10", None),
        ],
    )
    async def test_the_forms_of_retry_after(self, text: str, pause: timedelta | None) -> None:
        assert Heard(503, b"", whole=True, retry_after=text).wait(NOW) == pause

    async def test_a_date_counts_from_the_receivers_own_clock(self) -> None:
        theirs = NOW + timedelta(hours=5)
        said = reply(503, retry_after=format_datetime(theirs + timedelta(seconds=20)), date=format_datetime(theirs))
        async with served(Receiver().then(said)) as channel:
            [answer] = await answers_to(channel, outgoing("s1"))
        assert answer == Later("503", timedelta(seconds=20))


def words_of(answer: Answer) -> str:
    return "" if isinstance(answer, Accepted) else answer.detail


class TestNoAnswer:
    @pytest.mark.parametrize("act", [Act.CUT, Act.RESET, Act.HALF_HEAD, Act.GARBAGE, Act.RESET_UNREAD])
    @pytest.mark.parametrize("used", [False, True], ids=["new connection", "used connection"])
    async def test_a_request_that_is_not_answered_is_in_doubt(self, act: Act, used: bool) -> None:
        async with served(receiver := Receiver()) as channel:
            if used:
                await answers_to(channel, outgoing("before"))
            receiver.then(act)
            doubtful, accepted = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert isinstance(doubtful, Doubtful)
        assert doubtful.detail.startswith("posted, and no answer came: ")
        assert receiver.url not in doubtful.detail
        assert accepted == Accepted()

    async def test_a_request_that_is_not_answered_in_time_is_in_doubt(self) -> None:
        async with served(receiver := Receiver().then(Act.SILENCE), timeout_seconds=4.0) as channel:
            doubtful, accepted = await answers_to(channel, outgoing("s1"), outgoing("s2"))
        assert words_of(doubtful) == "posted, and no answer came: nothing within 4 s"
        assert accepted == Accepted()
        assert receiver.taken == ["s1", "s2"]

    @pytest.mark.parametrize("act", [Act.HALF_BODY, Act.SLOW_BODY])
    async def test_a_status_without_its_whole_body_is_an_answer_for_one_message(self, act: Act) -> None:
        async with served(Receiver().then(act), timeout_seconds=4.0) as channel:
            assert await answers_to(channel, outgoing("s1")) == [Accepted()]

    @pytest.mark.parametrize("act", [Act.HALF_BODY, Act.SLOW_BODY])
    async def test_and_leaves_several_in_doubt(self, act: Act) -> None:
        async with served(Receiver().then(act), batch=3, timeout_seconds=4.0) as channel:
            answers = await answers_to(channel, *group(3))
        assert [type(answer) for answer in answers] == [Doubtful] * 3

    async def test_a_connection_that_the_receiver_closed_meanwhile_is_not_written_to(self) -> None:
        async with served(receiver := Receiver(answers_after=0.01), concurrency=3) as channel:
            for prefix in "abc":
                assert await answers_to(channel, *group(6, prefix)) == [Accepted()] * 6
                await receiver.close_idle()
            assert receiver.connections == 9

    async def test_a_large_request_that_is_answered_before_it_was_read(self) -> None:
        large = [msgspec.structs.replace(mail, text="x" * 1_000_000) for mail in group(10)]
        receiver = Receiver().then(Reply(413, unread=True))
        async with served(receiver, batch=10) as channel:
            first = await answers_to(channel, *large)
            second = await answers_to(channel, *large)
        assert {type(answer) for answer in first} in ({Refused}, {Doubtful})
        assert second == [Accepted()] * 10


class TestNoConnection:
    """Later without a try for what had begun, and TryLater with the mend; nothing further begins."""

    async def sentence(self, options: Options, *, timeout_seconds: float = 30.0, allow: Any = THIS_MACHINE) -> str:
        async with webhook(options, timeout_seconds=timeout_seconds, allow=allow) as channel:
            with pytest.raises(TryLater) as probed:
                await channel.probe()
            stopped, wire = await stopped_by(channel, *group(40))
        assert str(stopped) == str(probed.value)
        assert set(map(repr, wire.answers.values())) == {repr(Later(str(stopped), tried=False))}
        assert {words_of(answer) for answer in wire.answers.values()} == {str(stopped)}
        assert 1 <= len(wire.begun) <= options.concurrency + 1
        assert "/send" not in str(stopped)
        return str(stopped)

    @pytest.mark.parametrize("batch", [1, 3])
    async def test_nobody_listens(self, batch: int) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            options = Options(f"http://127.0.0.1:{port}/send", batch=batch, concurrency=40)
            assert (await self.sentence(options)).startswith(f"no connection to 127.0.0.1:{port} (")

    async def test_the_address_is_private_and_not_allowed(self) -> None:
        async with Receiver().running() as receiver:
            sentence = await self.sentence(Options(receiver.url), allow=())
            assert sentence.endswith("name the network in [service] allow_networks")
            assert receiver.connections == 0

    async def test_no_tls_is_shaken(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
            port = silent.getsockname()[1]
            sentence = await self.sentence(Options(f"https://127.0.0.1:{port}/send"), timeout_seconds=1.0)
        assert sentence == f"127.0.0.1:{port} does not answer in time; check `url` and what stands between"

    async def test_the_url_spells_its_address_oddly(self) -> None:
        assert "check `url`" in await self.sentence(Options("http://2130706433/send"))

    async def test_a_receiver_that_goes_away_leaves_an_answer_for_each_that_began(self) -> None:
        receiver, wire, messages = Receiver(), RecordingWire(), group(2000)
        async with receiver.running(), webhook(Options(receiver.url, concurrency=8)) as channel:
            sending = asyncio.create_task(channel.send(messages, wire))
            while len(wire.answers) < 50 and not sending.done():
                await asyncio.sleep(0)
            await receiver.stop()
            with pytest.raises(TryLater, match="no connection to 127"):
                await sending
            await receiver.start()
            assert await answers_to(channel, outgoing("afterwards")) == [Accepted()]
        assert wire.answers.keys() == set(wire.begun)
        assert 50 <= len(wire.begun) < 2000
        accepted = {sid for sid, answer in wire.answers.items() if isinstance(answer, Accepted)}
        doubtful = {sid for sid, answer in wire.answers.items() if isinstance(answer, Doubtful)}
        assert accepted <= {*receiver.taken} - {"afterwards"} <= accepted | doubtful


class TestInFlight:
    @pytest.mark.parametrize("batch", [1, 2])
    async def test_so_many_requests_at_a_time_whatever_the_number_of_groups(self, batch: int) -> None:
        receiver = Receiver(answers_after=0.01)
        async with served(receiver, batch=batch, concurrency=5) as channel:
            await asyncio.gather(*(answers_to(channel, *group(20, prefix)) for prefix in "abcd"))
        assert receiver.most_in_flight == 5
        assert receiver.connections <= 5
        assert len(receiver.taken) == 80

    async def test_a_small_group_does_not_wait_for_a_large_one(self) -> None:
        async with served(Receiver(), concurrency=2) as channel:
            wire = RecordingWire()
            sending = asyncio.create_task(channel.send(group(400, "large"), wire))
            while not wire.answers and not sending.done():
                await asyncio.sleep(0)
            await answers_to(channel, outgoing("small"))
            assert len(wire.answers) < 200
            await sending

    async def test_a_group_that_waits_to_begin_does_not_keep_all_places(self) -> None:
        async with served(Receiver(), concurrency=2) as channel:
            waiting = RecordingWire()
            waiting.gate.clear()
            sending = asyncio.create_task(channel.send(group(10, "waits"), waiting))
            await asyncio.sleep(0.05)
            assert await answers_to(channel, *group(5)) == [Accepted()] * 5
            waiting.gate.set()
            await sending
            assert waiting.all_accepted(group(10, "waits"))

    async def test_a_cancelled_send_cuts_what_is_under_way_and_frees_its_places(self) -> None:
        receiver = Receiver(always=Act.SILENCE)
        async with served(receiver, concurrency=3, timeout_seconds=60.0) as channel:
            wire = RecordingWire()
            sending = asyncio.create_task(channel.send(group(10), wire))
            while len(receiver.posts) < 3:
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert len(wire.begun) == 3
            assert wire.answers == {}
            receiver.always = None
            assert await answers_to(channel, *group(6, "later")) == [Accepted()] * 6

    async def test_cancelled_while_a_request_is_collected_what_had_begun_was_never_posted(self) -> None:
        class HaltingWire(RecordingWire):
            async def begin(self, sid: Sid) -> bool:
                if sid == "s3":
                    await asyncio.Event().wait()
                return await super().begin(sid)

        async with served(receiver := Receiver(), batch=5, together=5) as channel:
            wire = HaltingWire()
            sending = asyncio.create_task(channel.send(group(10), wire))
            while len(wire.begun) < 3:
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert set(map(repr, wire.answers.values())) == {repr(Later(tried=False))}
            assert wire.answers.keys() == {"s0", "s1", "s2"}
            assert receiver.posts == []
            assert await answers_to(channel, *group(2, "later")) == [Accepted()] * 2

    async def test_what_the_wire_raises_leaves_nothing_under_way_unanswered(self) -> None:
        class BreakingWire(RecordingWire):
            async def begin(self, sid: Sid) -> bool:
                if sid == "s5":
                    raise LookupError(sid)
                return await super().begin(sid)

        wire = BreakingWire()
        async with served(Receiver(answers_after=0.05), concurrency=10) as channel:
            with pytest.raises(LookupError):
                await channel.send(group(10), wire)
        assert wire.all_accepted(group(5))

    async def test_a_message_that_cannot_be_spelled_spoils_no_other(self, caplog: pytest.LogCaptureFixture) -> None:
        odd = msgspec.structs.replace(outgoing("s1"), text="\ud800")
        wire = RecordingWire()
        async with served(Receiver(), concurrency=1) as channel:
            with pytest.raises(Exception, match="surrogates"):
                await channel.send([outgoing("s0"), odd, outgoing("s2")], wire)
        assert wire.answers[Sid("s0")] == Accepted()
        assert wire.answers.keys() == set(wire.begun)
        assert isinstance(wire.answers[Sid("s1")], Later)  # it never left

    def test_it_works_on_uvloop(self) -> None:
        async def journey() -> tuple[list[Answer], list[Answer]]:
            receiver = Receiver()
            async with served(receiver) as channel:
                good = await answers_to(channel, *group(20))
                receiver.then(Act.RESET)
                bad = await answers_to(channel, outgoing("lost"))
                receiver.refuse()
                await channel._http.aclose()
                channel._http._sessions.clear()
                stopped, _ = await stopped_by(channel, outgoing("late"))
                assert isinstance(stopped, TryLater)
            return good, bad

        good, bad = uvloop.run(journey())
        assert good == [Accepted()] * 20
        assert [type(answer) for answer in bad] == [Doubtful]


class TestEncrypted:
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

    async def test_messages_arrive(self, authority: trustme.CA) -> None:
        receiver = Receiver(tls=self.certificate(authority, "127.0.0.1"))
        async with served(receiver) as channel:
            await channel.probe()
            assert await answers_to(channel, *group(10)) == [Accepted()] * 10
            receiver.then(Act.RESET)
            assert [type(answer) for answer in await answers_to(channel, outgoing("lost"))] == [Doubtful]

    @pytest.mark.parametrize("kind", ["unknown authority", "another name"])
    async def test_a_certificate_that_cannot_be_trusted_is_no_connection(
        self, authority: trustme.CA, kind: str
    ) -> None:
        context = (
            self.certificate(trustme.CA(), "127.0.0.1")
            if kind == "unknown authority"
            else self.certificate(authority, "other.example")
        )
        async with Receiver(tls=context).running() as receiver:
            sentence = await TestNoConnection().sentence(Options(receiver.url))
            assert receiver.posts == []
        assert sentence.startswith(f"the certificate of 127.0.0.1:{receiver.port} cannot be trusted (")
        assert "SSL_CERT_FILE" in sentence


class TestProbe:
    @pytest.mark.parametrize("status", [200, 401, 404, 405, 500])
    async def test_whatever_is_answered_is_well(self, status: int) -> None:
        receiver = Receiver(to_head=reply(status))
        async with served(receiver) as channel:
            await channel.probe()
        assert [request.method for request in receiver.requests] == ["HEAD"]

    async def test_silence_is_not(self) -> None:
        async with served(receiver := Receiver(to_head=Act.SILENCE), timeout_seconds=3.0) as channel:
            with pytest.raises(TryLater) as raised:
                await channel.probe()
        assert str(raised.value) == (
            f"127.0.0.1:{receiver.port} lets us connect and does not answer (nothing within 3 s); "
            "check `url` and what stands between"
        )


async def test_nothing_personal_and_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(Receiver().then(Act.CUT, reply(400, "no"), reply(401)), concurrency=1) as channel:
        await stopped_by(channel, *group(4))
    for private in ("ann@example.com", "00042", SECRET, "key=1", "Ann"):
        assert private not in caplog.text
