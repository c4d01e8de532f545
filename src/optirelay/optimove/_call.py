"""A call to Optimove as a value: it knows what to send and how to read the answer, and does no I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request to Optimove and the reader of its answer. Two calls that send the same are equal."""

    method: Literal["GET", "POST"]
    path: str  # "/general/RegisterEventListener": without the API's address and version
    read: Callable[[bytes], T] = field(repr=False, compare=False)  # the body of a 2xx; raises Unreadable
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)  # whatever msgspec encodes; None sends no body
    additive: bool = False  # what is sent adds up, so that twice does harm
    signed: bool = False  # to the tenant's address for metrics, with a signature and without the API key

    @property
    def name(self) -> str:
        """The function's name in Optimove's reference: "RegisterEventListener"."""
        return self.path.rpartition("/")[2]

    @property
    def repeatable(self) -> bool:
        """Making this call twice is the same as making it once."""
        return not self.additive
