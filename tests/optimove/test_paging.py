"""Lists that come in pages: read to the empty page, by what was received, with one page in memory."""

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from optirelay.optimove import (
    Broken,
    ChannelTemplate,
    ExecutionDetail,
    OptimoveClient,
    PagedCall,
    RateLimited,
    RepeatedPage,
    SendDetail,
    SyncOptimoveClient,
    UnreadableRow,
    get_canceled_campaign_customers,
    get_channel_templates,
    get_customer_execution_details_by_campaign,
    get_customer_send_details_by_channel,
)

Answer = Callable[[int, int], bytes]  # by $skip and $top


def row(number: int) -> dict[str, Any]:
    return {"CustomerID": f"C-{number}", "TemplateID": 17, "ScheduledTime": "2031-04-02 10:00:00"}


class Optimove:
    """So many rows, at most `cap` a page; remembers what it was asked for."""

    def __init__(self, rows: int, cap: int = 1_000_000) -> None:
        self.rows, self.cap = rows, cap
        self.asked: list[tuple[int, int]] = []

    def page(self, skip: int, top: int) -> list[dict[str, Any]]:
        return [row(number) for number in range(skip, min(skip + top, skip + self.cap, self.rows))]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        skip, top = int(request.url.params["$skip"]), int(request.url.params["$top"])
        self.asked.append((skip, top))
        return httpx2.Response(200, content=json.dumps(self.page(skip, top)))


def a_page(**options: Any) -> PagedCall[Any]:
    return get_customer_send_details_by_channel(campaign_id=1, channel_id=2, attributes=[], **options)


def sync_client(optimove: Callable[[httpx2.Request], httpx2.Response]) -> SyncOptimoveClient:
    return SyncOptimoveClient("https://api5.optimove.net", "k3y", transport=httpx2.MockTransport(optimove))


def async_client(optimove: Callable[[httpx2.Request], httpx2.Response]) -> OptimoveClient:
    return OptimoveClient("https://api5.optimove.net", "k3y", transport=httpx2.MockTransport(optimove))


async def both_ways(make: Callable[[], Optimove], call: PagedCall[Any]) -> Iterator[tuple[Optimove, list[Any]]]:
    """The rows that each client gives, and what it asked for."""
    told, asked = make(), make()
    with sync_client(told) as client:
        rows = [*client.rows(call)]
    async with async_client(asked) as other:
        return iter([(told, rows), (asked, [one async for one in other.rows(call)])])


async def take(rows: AsyncIterator[Any], into: list[Any]) -> None:
    async for one in rows:
        into.append(one)


async def test_only_an_empty_page_is_the_end_and_the_next_begins_after_the_rows_received() -> None:
    for optimove, rows in await both_ways(lambda: Optimove(rows=25, cap=10), a_page(top=20)):
        assert optimove.asked == [(0, 20), (10, 20), (20, 20), (25, 20)]
        assert [one.customer_id for one in rows] == [f"C-{number}" for number in range(25)]


async def test_an_empty_list_is_one_call_and_no_row() -> None:
    for optimove, rows in await both_ways(lambda: Optimove(rows=0), a_page()):
        assert (optimove.asked, rows) == ([(0, 10_000)], [])


async def test_pages_are_given_whole_and_can_be_taken_up_again_after_any_of_them() -> None:
    with sync_client(optimove := Optimove(rows=25, cap=10)) as client:
        call = a_page()
        first = next(client.pages(call))
        assert [len(page) for page in client.pages(call.after(first))] == [10, 5]
    assert [skip for skip, _ in optimove.asked] == [0, 10, 20, 25]
    async with async_client(Optimove(rows=25, cap=10)) as other:
        assert [len(page) async for page in other.pages(call)] == [10, 10, 5]


async def test_nothing_is_asked_for_before_it_is_wanted() -> None:
    with sync_client(optimove := Optimove(rows=30, cap=10)) as client:
        rows = client.rows(a_page())
        assert optimove.asked == []
        for _ in range(10):
            next(rows)
        assert len(optimove.asked) == 1
        next(rows)
        assert len(optimove.asked) == 2


def test_a_page_can_be_sent_by_itself_and_knows_the_next() -> None:
    call = a_page(skip=5, top=7)
    with sync_client(Optimove(rows=25)) as client:
        page = client.send(call)
    assert (len(page), call.skip, call.after(page).skip, call.after(page).after(page).skip) == (7, 5, 12, 19)
    assert call.after(page).query["$top"] == 7
    assert call.after(page).read is call.read


async def test_every_kind_of_list_is_read_in_pages() -> None:
    cancelled = get_canceled_campaign_customers(1, top=10)
    for optimove, rows in await both_ways(lambda: Optimove(rows=15), cancelled):
        assert [skip for skip, _ in optimove.asked] == [0, 10, 15]
        assert [one.customer_id for one in rows] == [f"C-{number}" for number in range(15)]
    details = get_customer_execution_details_by_campaign(campaign_id=1, channel_id=2)
    for _, rows in await both_ways(lambda: Optimove(rows=1), details):
        assert isinstance(rows[0], ExecutionDetail)


class Endless(Optimove):
    """Knows no $skip."""

    def page(self, skip: int, top: int) -> list[dict[str, Any]]:
        return super().page(0, top)


async def test_the_page_before_once_more_is_an_error_after_its_rows_were_given_once() -> None:
    call = a_page(top=10)
    given: list[Any] = []
    with sync_client(optimove := Endless(rows=30)) as client, pytest.raises(RepeatedPage) as caught:
        given.extend(client.rows(call))
    assert isinstance(caught.value, Broken)
    assert str(caught.value) == (
        "Optimove answered GetCustomerSendDetailsByChannel with the page before once more at $skip=10"
    )
    assert (caught.value.call, caught.value.repeatable) == ("GetCustomerSendDetailsByChannel", True)
    assert optimove.asked == [(0, 10), (10, 10)]
    also: list[Any] = []
    async with async_client(Endless(rows=30)) as other:
        with pytest.raises(RepeatedPage):
            await take(other.rows(call), also)
    assert also == given
    assert len(given) == 10


class Shrinking(Optimove):
    """Gives the same two rows of nobody new in other words: no byte-for-byte repetition."""

    def page(self, skip: int, top: int) -> list[dict[str, Any]]:
        return [row(skip % 2), row(skip)]


def test_a_list_of_ever_new_pages_is_the_callers_to_leave() -> None:
    with sync_client(optimove := Shrinking(rows=0)) as client:
        rows = client.rows(a_page())
        for _ in range(50):
            next(rows)
    assert len(optimove.asked) == 25


async def test_what_goes_wrong_with_a_later_page_is_raised_there() -> None:
    class Limited(Optimove):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(429) if self.asked else super().__call__(request)

    with sync_client(Limited(rows=20, cap=10)) as client:
        pages = client.pages(a_page())
        assert len(next(pages)) == 10
        with pytest.raises(RateLimited):
            next(pages)
    async with async_client(Limited(rows=20, cap=10)) as other:
        rows: list[Any] = []
        with pytest.raises(RateLimited):
            await take(other.rows(a_page()), rows)
    assert len(rows) == 10


def test_a_row_that_cannot_be_read_keeps_its_place_among_the_send_details() -> None:
    class OneBad(Optimove):
        def page(self, skip: int, top: int) -> list[dict[str, Any]]:
            return [
                one | {"TemplateID": "letter"} if one["CustomerID"] == "C-3" else one for one in super().page(skip, top)
            ]

    with sync_client(OneBad(rows=5, cap=2)) as client:
        assert [type(one) for one in client.rows(a_page())] == [*[SendDetail] * 3, UnreadableRow, SendDetail]


class Counted(Optimove):
    """Says at each page how many rows were still there."""

    def __init__(self, rows: int, cap: int) -> None:
        super().__init__(rows, cap)
        self.alive: list[int] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.alive.append(sum(isinstance(it, ExecutionDetail) for it in gc.get_objects()))
        return super().__call__(request)


async def test_no_page_is_kept_when_the_next_is_fetched() -> None:
    call = get_customer_execution_details_by_campaign(campaign_id=1, channel_id=2)
    with sync_client(optimove := Counted(rows=90, cap=30)) as client:
        for _ in client.rows(call):
            pass
    assert len(optimove.alive) == 4
    assert max(optimove.alive) <= 1  # the row that was given last
    async with async_client(optimove := Counted(rows=90, cap=30)) as other:
        async for _ in other.rows(call):
            pass
    assert len(optimove.alive) == 4
    assert max(optimove.alive) <= 1


async def test_three_hundred_pages_take_the_memory_of_a_few() -> None:
    def most(pages: int) -> int:
        with sync_client(Optimove(rows=pages * 100, cap=100)) as client:
            tracemalloc.reset_peak()
            assert sum(1 for _ in client.rows(a_page())) == pages * 100
            return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        most(2)
        few, many = most(5), most(300)
    finally:
        tracemalloc.stop()
    assert many < few * 1.5, (few, many)


async def test_what_comes_in_no_pages_is_no_paged_call() -> None:
    call = get_channel_templates(452)
    assert not isinstance(call, PagedCall)
    with sync_client(lambda _: httpx2.Response(200, content=b'[{"TemplateID":17,"TemplateName":"A"}]')) as client:
        assert client.send(call) == [ChannelTemplate(17, "A")]


@pytest.mark.parametrize(("skip", "top"), [(-1, 1), (0, 0)])
def test_a_page_that_cannot_be_is_a_value_error(skip: int, top: int) -> None:
    with pytest.raises(ValueError, match=f"not skip={skip} and top={top}"):
        get_canceled_campaign_customers(1, skip=skip, top=top)
