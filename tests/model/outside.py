"""What is outside: providers, which know who really got what, and an Optimove that keeps what it was told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

import httpx2
import msgspec

from optirelay.channels import Wire
from optirelay.model import Accepted, Answer, Contract, Doubtful, Later, Outgoing, Refusal, Refused, Sid
from optirelay.optimove import Interaction, Metric


class Fate(StrEnum):
    """What really becomes of one try."""

    ARRIVES = "arrives"
    REJECTED = "rejected"
    PUT_OFF = "put_off"
    VANISHES = "vanishes"  # on its way: nobody got it, and nobody answers


ANSWERS: Mapping[Fate, Answer] = {
    Fate.ARRIVES: Accepted("q1"),
    Fate.REJECTED: Refused(Refusal.REJECTED, "550 no such user"),
    Fate.PUT_OFF: Later("450 later"),
    Fate.VANISHES: Doubtful("no answer"),
}


class Provider:
    """A provider that sends on whatever it takes; a repeat reaches the person twice."""

    contract: ClassVar[Contract] = Contract.HOLD
    contracts: ClassVar[Sequence[Contract]] = (Contract.HOLD,)
    reported: ClassVar[bool] = True
    takes_mail: ClassVar[bool] = True

    def __init__(self) -> None:
        self.arrived: Counter[Sid] = Counter()
        self.rejected: set[Sid] = set()

    def receive(self, sid: Sid, fate: Fate) -> Fate:
        """The bytes of one try have left, and this is meant to become of it; what does."""
        self.arrived[sid] += fate is Fate.ARRIVES
        return fate

    async def send(self, messages: Sequence[Outgoing], wire: Wire) -> None:
        """Take all of them."""
        for mail in messages:
            if await wire.begin(mail.sid):
                wire.answered(mail.sid, ANSWERS[self.receive(mail.sid, Fate.ARRIVES)])

    async def probe(self) -> None:
        """It is always there."""

    async def aclose(self) -> None:
        """Nothing is open."""


class KeyedProvider(Provider):
    """A provider that knows the sid: a repeat is the same message, and has the same answer."""

    contract: ClassVar[Contract] = Contract.KEYED
    contracts: ClassVar[Sequence[Contract]] = (Contract.KEYED,)

    def receive(self, sid: Sid, fate: Fate) -> Fate:
        """The first yes or no counts for every repeat."""
        if fate is Fate.REJECTED and self.arrived[sid]:
            return Fate.ARRIVES
        if fate is Fate.REJECTED or (fate is Fate.ARRIVES and sid in self.rejected):
            self.rejected.add(sid)
            return Fate.REJECTED
        if fate is Fate.ARRIVES:
            self.arrived[sid] = 1
        return fate


class ReplaceableProvider(KeyedProvider):
    """A provider where a repeat takes the place of the first on the device."""

    contract: ClassVar[Contract] = Contract.REPLACEABLE
    contracts: ClassVar[Sequence[Contract]] = (Contract.REPLACEABLE,)


class Trouble(StrEnum):
    """How one call to Optimove goes wrong."""

    AWAY = "away"  # there is no connection
    LOST = "lost"  # the call is lost
    UNANSWERED = "unanswered"  # it is heard, and its answer is lost


Row = dict[str, Any]


class Optimove(httpx2.AsyncBaseTransport):
    """An Optimove behind the real client: it has lists of recipients, and keeps what it is told."""

    def __init__(self) -> None:
        self.rows: dict[int, list[Row]] = {}  # by campaign
        self.served: list[Row] = []  # by the last call for a page
        self.heard: set[bytes] = set()  # bodies of interactions
        self.sent: Counter[tuple[int, str]] = Counter()  # by campaign and customer
        self.dropped: Counter[tuple[int, str]] = Counter()
        self.totals: dict[tuple[int, int, int], int] = {}  # by campaign, template and metric: the last that was told
        self.trouble: Trouble | None = None  # of every call, until it is over

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one call."""
        body = await request.aread()
        if self.trouble is Trouble.AWAY:
            raise httpx2.ConnectError("nobody there", request=request)
        if self.trouble is Trouble.LOST:
            raise httpx2.ReadError("lost", request=request)
        answer = self._answer(request.url, body)
        if self.trouble is Trouble.UNANSWERED:
            raise httpx2.ReadError("cut", request=request)
        return httpx2.Response(200, content=answer, request=request)

    def _answer(self, url: httpx2.URL, body: bytes) -> bytes:
        match url.path.rpartition("/")[2]:
            case "GetCustomerSendDetailsByChannel":
                skip, top = int(url.params["$skip"]), int(url.params["$top"])
                self.served = self.rows[int(url.params["CampaignID"])][skip : skip + top]
                return msgspec.json.encode(self.served)
            case "UpdateCampaignInteractions":
                self._hear_interactions(body)
            case "UpdateCampaignMetrics":
                for told in msgspec.json.decode(body):
                    self.totals[told["CampaignID"], told["TemplateID"], told["MetricID"]] = told["MetricValue"]
            case other:
                raise AssertionError(other)
        return b""

    def _hear_interactions(self, body: bytes) -> None:
        told = msgspec.json.decode(body)
        self.heard.add(body)
        counts = self.sent if told["EventID"] == Interaction.SENT else self.dropped
        for customer in told["CustomerIDs"]:
            counts[told["CampaignID"], customer] += 1

    def total(self, campaign: int, metric: Metric) -> int:
        """What was told last, over all templates."""
        return sum(n for (of, _, what), n in self.totals.items() if (of, what) == (campaign, metric))
