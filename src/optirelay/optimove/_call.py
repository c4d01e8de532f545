"""A call to Optimove as a value: it knows what to send and how to read the answer, and does no I/O."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

T_co = TypeVar("T_co", covariant=True)

PAGE_SIZE = 10_000  # rows a page; Optimove's older documentation, and what it gave to those who asked for more
SKIP = "$skip"


@dataclass(frozen=True)
class Call(Generic[T_co]):
    """One request to Optimove and the reader of its answer. Two calls that send the same are equal."""

    method: Literal["GET", "POST", "PUT"]
    path: str  # "/general/RegisterEventListener": without the API's address and version
    read: Callable[[bytes], T_co] = field(repr=False, compare=False)  # the body of a 2xx; raises Unreadable
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)  # whatever msgspec encodes; None sends no body
    additive: bool = False  # what is sent adds up, so that twice does harm
    signed: bool = False  # to the tenant's address for metrics, with a signature and without the API key
    function: str = ""  # the name, where the path does not end with it

    @property
    def name(self) -> str:
        """The function's name in Optimove's reference: "RegisterEventListener"."""
        return self.function or self.path.rpartition("/")[2]

    @property
    def repeatable(self) -> bool:
        """Making this call twice is the same as making it once."""
        return not self.additive


class Page(Protocol[T_co]):
    """Some rows of a longer list, in Optimove's order; a list of rows is one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


P_co = TypeVar("P_co", bound=Page[Any], covariant=True)


@dataclass(frozen=True)
class PagedCall(Call[P_co]):
    """One page of a list that Optimove gives in pages. `send` gets this page, `pages` and `rows` go on from it.

    Optimove says neither how many rows there are nor whether more follow, and it may give fewer than were asked for.
    So only an empty page is the end, and the next page starts after the rows that were received.
    """

    @property
    def skip(self) -> int:
        """How many rows come before this page."""
        return int(self.query[SKIP])

    def after(self, page: Page[object]) -> Self:
        """The call for what follows this page: `$skip` advances by the number of rows received."""
        return replace(self, query={**self.query, SKIP: self.skip + len(page)})


def page_query(skip: int, top: int) -> dict[str, str | int]:
    """Which rows: `top` of them after the first `skip`. ValueError for a negative `skip` and a `top` below 1."""
    if skip < 0 or top < 1:
        raise ValueError(f"A page starts at 0 or later and has room for 1 row or more, not skip={skip} and top={top}")
    return {"$top": top, SKIP: skip}
