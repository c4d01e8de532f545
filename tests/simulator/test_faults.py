"""What can be made to go wrong goes wrong, so many times, and is or is not applied."""

import time

import httpx2
import pytest

INTERACTIONS = "/current/integrations/UpdateCampaignInteractions"
BODY = {
    "CampaignID": 90211,
    "ChannelID": 504,
    "InteractionDate": "2031-04-02",
    "TemplateID": 17,
    "EventID": 3,
    "CustomerIDs": ["C-1", "C-2"],
}


async def let_fail(optimove: httpx2.AsyncClient, fault: str, **more: object) -> None:
    entry = {"call": "updatecampaigninteractions", "fault": fault, **more}
    assert (await optimove.post("/_sim/faults", json=entry)).status_code == 200


async def applied(optimove: httpx2.AsyncClient) -> int:
    return len((await optimove.get("/_sim/interactions")).json())


@pytest.mark.parametrize(
    ("fault", "status", "times_applied"),
    [
        *(("rate_limited", 429, 0), ("error_before", 500, 0), ("error_after", 500, 1), ("string_error", 200, 0)),
        *(("unauthorized", 401, 0), ("forbidden", 403, 0), ("refused", 400, 0), ("moved", 302, 0)),
        *(("wrong_shape", 200, 0), ("accepted", 202, 1), ("response_code", 200, 1)),
    ],
)
async def test_an_answer_is_replaced(optimove: httpx2.AsyncClient, fault: str, status: int, times_applied: int) -> None:
    await let_fail(optimove, fault)
    answer = await optimove.post(INTERACTIONS, json=BODY)
    assert answer.status_code == status
    if fault in ("moved", "accepted"):
        assert answer.content == b""
    else:
        assert isinstance(answer.json(), dict if fault in ("rate_limited", "wrong_shape", "response_code") else str)
    assert await applied(optimove) == times_applied
    assert (await optimove.post(INTERACTIONS, json=BODY)).content == b""
    assert (await optimove.get("/_sim/calls")).json()[0]["fault"] == fault


async def test_garbage_is_no_json(optimove: httpx2.AsyncClient) -> None:
    await let_fail(optimove, "garbage")
    answer = await optimove.post(INTERACTIONS, json=BODY)
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()
    assert await applied(optimove) == 0


@pytest.mark.parametrize(("fault", "times_applied"), [("cut_before", 0), ("cut_after", 1)])
async def test_a_connection_is_cut_without_an_answer(
    optimove: httpx2.AsyncClient, fault: str, times_applied: int
) -> None:
    await let_fail(optimove, fault)
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        await optimove.post(INTERACTIONS, json=BODY)
    assert await applied(optimove) == times_applied
    (call,) = (await optimove.get("/_sim/calls")).json()
    assert (call["status"], call["fault"], call["body"]) == (None, fault, BODY)
    assert (await optimove.post(INTERACTIONS, json=BODY)).status_code == 200


async def test_an_answer_is_cut_within(optimove: httpx2.AsyncClient) -> None:
    await let_fail(optimove, "cut_within")
    with pytest.raises(httpx2.RemoteProtocolError, match="body"):
        await optimove.post(INTERACTIONS, json=BODY)
    assert await applied(optimove) == 1


async def test_a_slow_call_is_answered_late(optimove: httpx2.AsyncClient) -> None:
    await let_fail(optimove, "slow", seconds=0.3)
    started = time.monotonic()
    assert (await optimove.post(INTERACTIONS, json=BODY)).status_code == 200
    assert time.monotonic() - started >= 0.3


async def test_a_caller_who_does_not_wait_has_been_heard(optimove: httpx2.AsyncClient) -> None:
    await let_fail(optimove, "slow", seconds=0.5)
    with pytest.raises(httpx2.ReadTimeout):
        await optimove.post(INTERACTIONS, json=BODY, timeout=0.2)
    assert await applied(optimove) == 1


async def test_a_fault_happens_so_many_times_and_to_that_call_alone(optimove: httpx2.AsyncClient) -> None:
    await let_fail(optimove, "error_before", times=2)
    assert (await optimove.post("/current/integrations/UpdateCampaignMetrics", json=[])).status_code == 200
    assert [(await optimove.post(INTERACTIONS, json=BODY)).status_code for _ in range(3)] == [500, 500, 200]
    assert (await optimove.get("/_sim/state")).json()["faults"] == []


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"call": "Nothing", "fault": "slow"}, "call"),
        ({"call": "AddChannelTemplates", "fault": "fire"}, "fault"),
        ({"call": "AddChannelTemplates", "fault": "slow", "times": 0}, "times"),
        ({"call": "AddChannelTemplates", "fault": "slow", "seconds": -1}, "seconds"),
        ({"fault": "slow"}, "call is missing"),
    ],
)
async def test_a_fault_that_is_none_is_refused(
    optimove: httpx2.AsyncClient, entry: dict[str, object], named: str
) -> None:
    answer = await optimove.post("/_sim/faults", json=entry)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
