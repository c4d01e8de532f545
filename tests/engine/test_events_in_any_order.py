"""Events of a message and our own record of what became of it, in any order and often: the same end."""

import asyncio
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.by_hand import fetched
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.recording import compare_outcomes
from optirelay.engine.reporting import tell
from optirelay.engine.settle import Known
from optirelay.model import Accepted, Answer, Doubtful, Message, Refusal, Refused
from optirelay.store.batches import TakenBatch

MESSAGES = 1000
"""Of an example: each with a permutation of its own."""
EXAMPLES = int(os.environ.get("OPTIRELAY_ORDERS", "2000")) // MESSAGES
OURS = "ours"
ORDER = ("sent", "failed", "blocked", "bounced", "delivered", "gone", "opened", "clicked", "unsubscribed", "complained")
WORDS = (*ORDER, "replied", "stop", "no word of ours")
ANSWERS: Mapping[str, Answer] = {
    "accepted": Accepted(),
    "in doubt": Doubtful("no answer"),
    "given up": Refused(Refusal.GIVEN_UP),
    "rejected": Refused(Refusal.REJECTED),
}
STANDS = {"sent": "accepted", "gone": "bounced"}
FACTS = {"gone": "bounced", "stop": "unsubscribed", "failed": "dropped", "blocked": "dropped"}
FACTS |= {word: word for word in ("delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")}
EVENT_IDS = {0: "sent", 1: "delivered", 2: "opened", 3: "clicked", 4: "unsubscribed", 5: "dropped", 6: "complained"}
EVENT_IDS |= {7: "bounced"}


@dataclass(frozen=True)
class Story:
    """What happens to one message, in this order; OURS is when we learn the answer."""

    answer: str
    steps: Sequence[str]

    @property
    def words(self) -> frozenset[str]:
        return frozenset(self.steps) - {OURS}

    @property
    def arrived(self) -> bool:
        return self.answer == "accepted" or (
            self.answer in ("in doubt", "given up") and bool(self.words - {"failed", "no word of ours"})
        )

    @property
    def state(self) -> str:
        """Where it stands in the end, whatever the order."""
        if self.arrived:
            return next((STANDS.get(w, w) for w in reversed(ORDER) if w in self.words), "accepted")
        return "in_doubt" if self.answer == "in doubt" and "failed" not in self.words else "refused"

    @property
    def told(self) -> set[str]:
        """What Optimove hears of its customer."""
        if not self.arrived:
            return {"dropped"} if self.state == "refused" else set()
        return {"sent", *(FACTS[word] for word in self.words & FACTS.keys())}


def a_story(dice: random.Random) -> Story:
    words = dice.sample(WORDS, dice.randint(0, 5))
    steps = [OURS, *(word for word in words for _ in range(dice.randint(1, 5)))]
    dice.shuffle(steps)
    return Story(dice.choice(list(ANSWERS)), steps)


def event_of(word: str, message: Message, number: int, dice: random.Random) -> dict[str, object]:
    """The same event is told with the same id, or without one; or it is another event of the same name."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    event: dict[str, object] = {"id": message.sid, "event": word, "at": at.isoformat()}
    match word:
        case "gone":
            event |= {"event": "bounced", "permanent": True}
        case "stop":
            event |= {"event": "replied", "text": " stop! "}
        case "replied":
            event |= {"text": "please do not stop"}
    if dice.random() < 0.7:
        event["event_id"] = f"{word} {message.sid} {number if dice.random() < 0.2 else ''}"
    return event


async def called_back(house: House, events: Sequence[Mapping[str, object]], dice: random.Random) -> None:
    """They come in requests of their own, and are recorded."""
    left = list(events)
    requests = []
    while left:
        size = dice.randint(1, 40)
        requests.append((ACME, NEWSLETTER, dice.randbytes(16), json.dumps({"events": left[:size]}).encode()))
        left = left[size:]
    if requests:
        await house.ctx.store.keep_callbacks(requests)
        while await pipeline.record(house.ctx):
            pass


async def play(house: House, dice: random.Random) -> None:
    """Every story's first step, then every story's second …; in the end each stands where it must."""
    async with house.ctx.store.tenant(ACME).transaction() as ledger:  # who opted out in the last one is here again
        await ledger.connection.execute("truncate subscription, subscription_statement, suppression")
    campaign_id = await fetched(house, customers=MESSAGES)
    group: list[tuple[TakenBatch, Message]] = []
    while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        group += [(taken, message) for message in begun.start]
    stories = [(taken, message, a_story(dice)) for taken, message in group]
    for number in range(max(len(story.steps) for _, _, story in stories)):
        now = [(t, m, s, s.steps[number]) for t, m, s in stories if number < len(s.steps)]
        events = [event_of(step, message, number, dice) for _, message, _, step in now if step != OURS]
        answers: dict[TakenBatch, Known] = defaultdict(Known)
        for taken, message, story, step in now:
            if step == OURS:
                answers[taken].answers[message.number] = ANSWERS[story.answer]
        await pipeline.write_answers(house.ctx, ACME, answers)
        await called_back(house, events, dice)
        if dice.random() < 0.3:
            await compare_outcomes(house.ctx)
    while await compare_outcomes(house.ctx):
        pass
    await look(house, campaign_id, [(message, story) for _, message, story in stories])


async def look(house: House, campaign_id: str, stories: Iterable[tuple[Message, Story]]) -> None:
    [shape] = await operate.campaigns(house.ctx, campaign_id=campaign_id)
    assert await operate.audit(house.ctx, "acme", shape) == []
    exported = [row async for row in operate.export(house.ctx, "acme", campaign_id, "newsletter")]
    states = {row[operate.EXPORT_COLUMNS.index("sid")]: row[operate.EXPORT_COLUMNS.index("state")] for row in exported}
    expected, told, counted = {}, Counter[tuple[str, str]](), Counter[str]()
    for message, story in stories:
        expected[message.sid] = story.state
        told.update((message.customer_id, fact) for fact in story.told)
        counted.update({FACTS[word] for word in story.words & FACTS.keys()} - {"dropped"})
    assert {sid: state for sid, state in states.items() if sid in expected} == expected
    assert shape["events"] == {event: counted[event] for event in shape["events"]}
    await tell(house.ctx, ACME, (await house.campaign(campaign_id)).id)
    heard: Counter[tuple[str, str]] = Counter()
    for call in await house.sim("interactions"):
        if str(call["body"]["CampaignID"]) == campaign_id:
            event = EVENT_IDS[int(call["body"]["EventID"])]
            heard.update((customer, event) for customer in call["body"]["CustomerIDs"])
    assert (heard - told, told - heard) == (Counter(), Counter())
    totals: dict[str, int] = {}
    for call in await house.sim("metrics"):
        for row in call["body"]:
            if str(row["CampaignID"]) == campaign_id:
                totals[EVENT_IDS_OF_METRICS[int(row["MetricID"])]] = int(row["MetricValue"])
    assert totals == Counter(fact for _, fact in told.elements())


EVENT_IDS_OF_METRICS = {**EVENT_IDS, 9: "bounced"}


def test_whatever_the_order_the_end_is_the_same(make_settings: MakeSettings) -> None:
    unhurried = {"rate_limit": "100000/1s"}
    with asyncio.Runner() as runner:
        opening = open_house(make_settings, workers=0, tenant=unhurried)
        house = runner.run(opening.__aenter__())
        runner.run(house.push(17))

        @settings(max_examples=EXAMPLES, deadline=None, database=None)
        @given(st.integers(0, 2**32))
        def in_any_order(seed: int) -> None:
            runner.run(play(house, random.Random(seed)))

        in_any_order()
        runner.run(opening.__aexit__(None, None, None))
