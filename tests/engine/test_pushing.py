"""Templates as an operator handles them: pushed, brought in step with Optimove's lists, compared, previewed."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests import by_hand
from tests.conftest import MakeSettings
from tests.house import ACME, NEWSLETTER, House, open_house

from optirelay import pipeline
from optirelay.engine import operate
from optirelay.engine.operate import pushing
from optirelay.engine.settle import Known
from optirelay.errors import NeedsOperator
from optirelay.model import Accepted

GOOD = b'---\nid: 17\nname: Welcome back\nchannel: newsletter\nsubject: "Hello {{ FIRST_NAME }}"\n---\n<p>Hello</p>\n'
BOTH_IDS = {"triggered_id": 604}
OFTEN = {"rate_limit": "1000/s"}
MANY_CALLS = {"quirks": {"calls": "1000/1s"}}
CHANGES = ("AddChannelTemplates", "DeleteChannelTemplates")
LISTS = (504, 604)


def a_file(number: int, name: str) -> dict[str, bytes]:
    return {f"t{number}.liquid": GOOD.replace(b"id: 17", b"id: %d" % number).replace(b"Welcome back", name.encode())}


async def at_optimove(house: House, channel_id: int) -> dict[int, str]:
    """What the simulator lists."""
    state = (await house.optimove.get("/_sim/state")).json()
    (channel,) = [channel for channel in state["channels"] if channel["channel"] == channel_id]
    return {template["TemplateID"]: template["TemplateName"] for template in channel["templates"]}


async def changes(house: House) -> list[dict[str, Any]]:
    """The calls that changed a list, also where their answer was lost."""
    return [
        call
        for call in await house.sim("calls")
        if call["call"] in CHANGES and (call["status"] == 200 or call["fault"] == "cut_after")
    ]


async def by_somebody_else(house: House, call: str, body: Any) -> None:
    query = {"ChannelID": 504} if call == "AddChannelTemplates" else {}
    headers = {"X-API-KEY": "demo-key"}
    answer = await house.optimove.post(f"/current/integrations/{call}", params=query, json=body, headers=headers)
    assert answer.status_code == 200


# --- pushed -----------------------------------------------------------------------------------------------------------


async def test_pushed_templates_are_stored_and_in_optimoves_list(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0) as house:
        first = await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD})
        second = await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD, "welcome.txt": b"Hello"})
        third = await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD, "welcome.txt": b"Hello"})
        assert (first.stored, second.stored, third.stored, third.unchanged) == (1, 1, 0, 1)
        assert [*first.warnings, *first.behind, *second.behind, *third.behind] == []
        assert await operate.templates(house.ctx) == [
            {
                "tenant": "acme",
                "channel": "newsletter",
                "template_id": 17,
                "name": "Welcome back",
                "key": "welcome",
                "app": None,
                "state": "ok",
            }
        ]


async def test_every_fault_of_every_file_is_told_at_once_and_nothing_is_stored(make_settings: MakeSettings) -> None:
    files = {
        "good.liquid": GOOD,
        "no-front.liquid": b"<p>Hello</p>",
        "no-liquid.liquid": GOOD.replace(b"id: 17", b"id: 18").replace(b"<p>Hello</p>", b"<p>{% if %}</p>"),
        "elsewhere.liquid": GOOD.replace(b"id: 17", b"id: 19").replace(b"newsletter", b"texts"),
    }
    async with open_house(make_settings, workers=0) as house:
        with pytest.raises(operate.BadTemplates) as error:
            await operate.push_templates(house.ctx, "acme", files)
        told = str(error.value)
        assert "no-front.liquid, line 1: there is no front matter" in told
        assert "no-liquid.liquid: html, line 1" in told
        assert 'elsewhere.liquid: the tenant has no channel "texts"' in told
        assert "good.liquid" not in told
        assert await operate.templates(house.ctx) == []


async def test_a_file_whose_id_changed_is_another_template_and_the_old_one_stays(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0) as house:
        await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD})
        for body in (GOOD.replace(b"id: 17", b"id: 20"), GOOD, GOOD.replace(b"id: 17", b"id: 20")):
            await operate.push_templates(house.ctx, "acme", {"welcome.liquid": body})
        rows = await operate.templates(house.ctx)
    assert [(row["template_id"], row["key"], row["state"]) for row in rows] == [
        (17, "welcome (17)", "ok"),
        (20, "welcome", "ok"),
    ]


async def test_a_template_that_loops_without_end_is_a_warning(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0) as house:
        loop = b"{% for a in (1..100000) %}{% for b in (1..100000) %}{{ b }}{% endfor %}{% endfor %}"
        pushed = await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD + loop})
    (warning,) = pushed.warnings
    assert warning.startswith("welcome.liquid: with a sample recipient it cannot be rendered")


async def test_a_template_is_looked_at_as_the_kinds_of_its_channels_have_it(make_settings: MakeSettings) -> None:
    channels = {
        "newsletter": {"scheduled_id": 504, "provider": "null"},
        "texts": {"kind": "sms", "scheduled_id": 604, "provider": "null", "address": "attribute:MOBILE"},
    }
    text = b"---\nid: 30\nname: A text\nchannel: texts\nfrom: ACME\n---\nHello {{ unsubscribe_url }}\n"
    both = text.replace(b"30", b"31").replace(b"texts", b"[newsletter, texts]")
    loop = b"{% for a in (1..100000) %}{% for b in (1..100000) %}{{ b }}{% endfor %}{% endfor %}"
    async with open_house(make_settings, workers=0, tenant={"channels": channels}) as house:
        files = {"a.liquid": text.replace(b"Hello", b"{% nope %}"), "both.liquid": both}
        with pytest.raises(operate.BadTemplates) as error:
            await operate.push_templates(house.ctx, "acme", files)
        subject, body, sender = str(error.value).splitlines()
        assert subject == "both.liquid: subject is missing, which newsletter (email) needs; add it to the front matter."
        assert body.startswith("a.liquid: body, line 1: unexpected tag 'nope'")
        assert sender.startswith("both.liquid: from: 'ACME' is no e-mail address")
        pushed = await operate.push_templates(house.ctx, "acme", {"text.liquid": text})
        assert (pushed.stored, [*pushed.warnings], [*pushed.behind]) == (1, [], [])
        both = both.replace(b"from: ACME", b'subject: "Hello"') + loop
        told = (await operate.push_templates(house.ctx, "acme", {"both.liquid": both})).warnings
        assert sorted(warning.split(": ")[-2] for warning in told) == ["body, line 2", "html, line 2"]


async def test_a_name_that_the_channel_does_not_ask_for_is_a_warning(make_settings: MakeSettings) -> None:
    body = GOOD.replace(b"<p>Hello</p>", b"<p>{{ FIRST_NAM }} {{ customer_id }} {{ EMAIL }}</p>")
    body = body.replace(b"channel: newsletter", b"channel: [newsletter, people]")
    newsletter = {"scheduled_id": 504, "provider": "null", "personalization": ["FIRST_NAME"]}
    people = {"scheduled_id": 604, "provider": "null", "address": "contacts"}  # of whom anything may be known
    tenant = {"channels": {"newsletter": newsletter, "people": people}}
    async with open_house(make_settings, workers=0, tenant=tenant) as house:
        pushed = await operate.push_templates(house.ctx, "acme", {"welcome.liquid": body})
        (warning,) = pushed.warnings
        assert warning.startswith(
            "welcome.liquid: EMAIL, FIRST_NAM: neither built in nor in the personalization of channel newsletter"
        )


async def test_a_push_says_what_optimove_still_lacks_and_a_worker_goes_on(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0, tenant={"api_key": "wrong-key"}) as house:
        pushed = await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD})
        assert pushed.stored == 1
        assert "does not accept our key" in pushed.behind[0]
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            jobs = await (await ledger.connection.execute("select task_name from procrastinate_jobs")).fetchall()
        assert [job[0] for job in jobs] == ["sync"]


async def test_a_push_outlasts_an_optimove_that_fails_for_a_moment(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "PAUSE_SECONDS", 0.05)
    async with open_house(make_settings, workers=0) as house:
        await house.fault("GetChannelTemplates", "error_before", times=2)
        assert (await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD})).behind == []


async def test_a_push_gives_up_waiting_in_time(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "PATIENCE_SECONDS", 0.3)
    async with open_house(make_settings, workers=0) as house:
        await house.fault("GetChannelTemplates", "error_before", times=5)
        (behind,) = (await operate.push_templates(house.ctx, "acme", {"welcome.liquid": GOOD})).behind
        assert behind.startswith("Optimove failed at GetChannelTemplates (500)")


# --- in step ----------------------------------------------------------------------------------------------------------


async def test_both_lists_equal_ours_after_adds_renames_and_drops_through_429s_and_cuts(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "PAUSE_SECONDS", 0.05)
    first: dict[str, bytes] = {}
    for number in range(1, 251):
        first |= a_file(number, f"Template {number}")
    second = {name: source for name, source in first.items() if int(name[1:-7]) <= 220}
    for number in range(1, 51):
        second |= a_file(number, f"Anew {number}")
    async with open_house(make_settings, workers=0, channel=BOTH_IDS, tenant=OFTEN, scenario=MANY_CALLS) as house:
        for fault in ("rate_limited", "cut_after", "cut_before"):
            await house.fault("AddChannelTemplates", fault)
        pushed = await operate.push_templates(house.ctx, "acme", first)
        assert (pushed.stored, pushed.dropped, [*pushed.behind]) == (250, 0, [])
        added = await changes(house)
        for call, fault in (("DeleteChannelTemplates", "cut_before"), ("AddChannelTemplates", "rate_limited")):
            await house.fault(call, fault)
        await house.fault("DeleteChannelTemplates", "cut_after", times=2)
        pushed = await operate.push_templates(house.ctx, "acme", second, prune=True)
        assert (pushed.stored, pushed.dropped, [*pushed.behind]) == (0, 30, [])
        wanted = {number: f"{'Anew' if number <= 50 else 'Template'} {number}" for number in range(1, 221)}
        assert [await at_optimove(house, channel_id) for channel_id in LISTS] == [wanted, wanted]
        assert await operate.templates_diff(house.ctx) == []
        done = await changes(house)
        assert max(len(call["body"]) for call in done) == 100
        # Of each template and list: added once, renamed by one deletion and one addition, dropped once.
        counted = Counter((call["call"], row["TemplateID"]) for call in done for row in call["body"])
        assert counted == Counter(
            {("AddChannelTemplates", number): 4 if number <= 50 else 2 for number in range(1, 251)}
            | {("DeleteChannelTemplates", number): 2 for number in range(1, 251) if number <= 50 or number > 220}
        )
        # Three full calls a list at first; what was lost on its way back was seen in the list.
        assert (len(added), len(done) - len(added)) == (6, 6)
        assert await house.problems() == set()


async def test_a_template_that_somebody_else_changes_is_put_back_and_the_operator_told(
    make_settings: MakeSettings,
) -> None:
    async with open_house(make_settings, workers=0, channel=BOTH_IDS) as house:
        await operate.push_templates(house.ctx, "acme", a_file(17, "One") | a_file(18, "Two") | a_file(19, "Three"))
        assert await house.problems() == set()
        await by_somebody_else(house, "DeleteChannelTemplates", [{"ChannelID": 504, "TemplateID": 17}])
        await by_somebody_else(house, "AddChannelTemplates", [{"TemplateID": 18, "TemplateName": "Zwei"}])
        await by_somebody_else(house, "AddChannelTemplates", [{"TemplateID": 900, "TemplateName": "Theirs"}])
        shown = {row["template_id"]: (row["ours"], row["optimove"], row["sync"]) for row in await differing(house)}
        assert shown == {
            17: ("One", None, "add"),
            18: ("Two", "Zwei", "rename"),
            900: (None, "Theirs", "leave alone"),
        }
        assert await operate.sync_templates(house.ctx) == []
        wanted = {17: "One", 18: "Two", 19: "Three"}
        assert await at_optimove(house, 504) == wanted | {900: "Theirs"}
        assert await at_optimove(house, 604) == wanted
        told = [row["problem"] for row in await operate.problems(house.ctx)]
        assert [problem.split(" of ")[0] for problem in told] == ["Template 17", "Template 18"]
        assert await operate.sync_templates(house.ctx, "acme", prune=True) == []
        assert await at_optimove(house, 504) == wanted
        assert await house.problems() == {"template_drift"}  # all is well again, and somebody should see it
        async with house.ctx.store.tenant(ACME).transaction() as ledger:
            await ledger.connection.execute("update problem set since = since - interval '61 minutes'")
        assert await operate.sync_templates(house.ctx) == []
        assert await house.problems() == set()


async def differing(house: House) -> list[dict[str, Any]]:
    return await operate.templates_diff(house.ctx, "acme")


async def test_a_change_of_ours_is_no_drift_and_add_alone_renames_where_the_tenant_says_so(
    make_settings: MakeSettings,
) -> None:
    async with open_house(make_settings, workers=0, tenant={"optimove": {"rename": "add"}}) as house:
        for name in ("One", "Two"):
            assert [*(await operate.push_templates(house.ctx, "acme", a_file(17, name))).behind] == []
        assert await at_optimove(house, 504) == {17: "Two"}
        assert [call["call"] for call in await changes(house)] == ["AddChannelTemplates"] * 2
        assert await house.problems() == set()


async def test_a_template_of_a_running_campaign_goes_when_that_is_over_or_by_force(
    make_settings: MakeSettings,
) -> None:
    async with open_house(make_settings, workers=0) as house:
        await operate.push_templates(house.ctx, "acme", a_file(17, "One") | a_file(18, "Two") | a_file(19, "Three"))
        campaign_id = await by_hand.fetched(house, customers=10, templates=[17, 18])
        (left,) = (await operate.push_templates(house.ctx, "acme", a_file(18, "Two"), prune=True)).behind
        assert left.startswith(f"template 17 of channel newsletter stays while campaign {campaign_id} needs it")
        assert await at_optimove(house, 504) == {17: "One", 18: "Two"}
        assert [row["sync"] for row in await differing(house)] == ["drop later"]
        files = a_file(17, "One") | a_file(18, "Two")
        assert [*(await operate.push_templates(house.ctx, "acme", files)).behind] == []
        assert await differing(house) == []  # pushed once more it is ours again, and then it is not
        assert len((await operate.push_templates(house.ctx, "acme", a_file(18, "Two"), prune=True)).behind) == 1
        await pipeline.sync.run(house.ctx, ACME)  # nothing that a worker would try again and again
        await delivered(house)
        assert await operate.sync_templates(house.ctx) == []
        assert await at_optimove(house, 504) == {18: "Two"}
        assert [row["template_id"] for row in await operate.templates(house.ctx)] == [18]
        await by_somebody_else(house, "AddChannelTemplates", [{"TemplateID": 17, "TemplateName": "Theirs"}])
        assert [row["sync"] for row in await differing(house)] == ["leave alone"]


async def delivered(house: House) -> None:
    """All that is due is answered."""
    while taken := await pipeline.take(house.ctx, ACME, NEWSLETTER):
        begun = await pipeline.begin(house.ctx, ACME, taken, {}, most=1000)
        known = Known({message.number: Accepted() for message in begun.start})
        await pipeline.write_answers(house.ctx, ACME, {taken: known})


async def test_force_drops_what_a_running_campaign_needs_and_its_messages_still_go(
    make_settings: MakeSettings,
) -> None:
    async with open_house(make_settings, workers=0) as house:
        await operate.push_templates(house.ctx, "acme", a_file(17, "One") | a_file(18, "Two"))
        campaign_id = await by_hand.fetched(house, customers=10, templates=[17])
        await operate.push_templates(house.ctx, "acme", a_file(18, "Two"), prune=True)
        assert await operate.sync_templates(house.ctx, "acme", force=True) == []
        assert await at_optimove(house, 504) == {18: "Two"}
        await delivered(house)
        assert (await house.campaign(campaign_id)).accepted == (await house.campaign(campaign_id)).handed_over > 0
        # Pushed again it is ours again, and its content goes on from where it was.
        assert [*(await operate.push_templates(house.ctx, "acme", a_file(17, "One"))).behind] == []
        assert await at_optimove(house, 504) == {17: "One", 18: "Two"}


# --- apps -------------------------------------------------------------------------------------------------------------

PUSH = {"kind": "push", "scheduled_id": 506, "provider": "null", "address": "attribute:TOKEN"}
PUSH_FILE = b"---\nid: 17\nname: Ping\nchannel: push\nsubject: Hello\napp: ios-main\n---\nHello\n"


async def test_apps_are_told_before_their_templates_and_go_after_them(make_settings: MakeSettings) -> None:
    optimove = {"tenants": [{"id": 7001, "key": "demo-key", "channels": {"506": "Push"}, "customers": 30}]}

    apps = {"apps": {"ios-main": "Acme iOS", "tv": "TV"}}
    tenant = {"channels": {"push": PUSH | apps}}
    async with open_house(make_settings, workers=0, tenant=tenant, scenario=optimove) as house:
        await house.fault("AddChannelApps", "cut_after")
        assert [*(await operate.push_templates(house.ctx, "acme", {"ping.liquid": PUSH_FILE})).behind] == []
        calls = [call["call"] for call in await house.sim("calls") if call["method"] == "POST"]
        assert calls == ["AddChannelApps", "AddChannelApps", "AddChannelTemplates"]
        (template,) = (await house.sim("templates"))[-1:]
        assert template["body"] == [{"TemplateID": 17, "TemplateName": "Ping", "AppID": "ios-main"}]
        later = tenant | {"api_url": str(house.optimove.base_url), "channels": {"push": PUSH | {"apps": {}}}}
        house.ctx = replace(house.ctx, settings=make_settings(tenant=later))
        assert await operate.sync_templates(house.ctx) == []
        gone = [call["body"] for call in await house.sim("calls") if call["call"] == "DeleteChannelApps"]
        assert gone == [[{"ChannelID": 506, "AppID": "tv"}]]
        await house.fault("DeleteChannelApps", "cut_after")
        assert (await house.optimove.post("/_sim/quirks", json={"delete_unknown": "error"})).status_code == 200
        without = PUSH_FILE.replace(b"app: ios-main\n", b"")
        assert [*(await operate.push_templates(house.ctx, "acme", {"ping.liquid": without})).behind] == []
        gone = [call["body"] for call in await house.sim("calls") if call["call"] == "DeleteChannelApps"]
        assert gone[1:] == [[{"ChannelID": 506, "AppID": "ios-main"}]] * 2  # of the first no answer came
        assert await house.problems() == set()
        (template,) = (await house.sim("templates"))[-1:]
        assert template["body"] == [{"TemplateID": 17, "TemplateName": "Ping"}]


# --- previews ---------------------------------------------------------------------------------------------------------

LETTER = (
    b'---\nid: 17\nname: Letter\nchannel: newsletter\nsubject: "Hello {{ FIRST_NAME }}"\n'
    b"from: Acme <news@acme.example>\n---\n"
    b"<p>{{ FIRST_NAME }} of {{ COUNTRY | default: 'here' }}: {{ promo_codes[0] }} {{ campaign_id }}</p>\n"
)


async def test_a_preview_has_sample_values_or_those_of_a_real_message(make_settings: MakeSettings) -> None:
    async with open_house(make_settings, workers=0) as house:
        file = {"letter.liquid": LETTER}
        made = await operate.preview(house.ctx, "acme", file)
        assert (made.sender, made.subject) == ("Acme <news@acme.example>", "Hello FIRST_NAME")
        assert made.html is not None
        assert "<p>FIRST_NAME of COUNTRY: PROMO-1 90211</p>" in made.html
        with pytest.raises(NeedsOperator, match="there is no template letter there"):
            await operate.preview(house.ctx, "acme", "letter")
        await operate.push_templates(house.ctx, "acme", file)
        await house.people({"customer_id": "C-1", "EMAIL": "ana@example.com", "FIRST_NAME": "<Ana>"})
        campaign_id = await by_hand.fetched(house, customers=["C-1"])
        ana = operate.Person(campaign_id, "C-1")
        for wanted in ("letter", "17"):
            made = await operate.preview(house.ctx, "acme", wanted, person=ana, values={"COUNTRY": "FR"})
            assert made.subject == "Hello <Ana>"
            assert made.text.strip() == f"<Ana> of FR:  {campaign_id}"
        with pytest.raises(NeedsOperator, match="has no message to customer C-2 on channel newsletter"):
            await operate.preview(house.ctx, "acme", "17", person=operate.Person(campaign_id, "C-2"))
        with pytest.raises(NeedsOperator, match="has no channel texts; name one of newsletter"):
            await operate.preview(house.ctx, "acme", "17", channel="texts")
        with pytest.raises(operate.BadTemplates, match="unexpected tag"):
            await operate.preview(house.ctx, "acme", {"letter.liquid": LETTER + b"{% nope %}"})
