"""What a program can tell a running simulator, and ask it: the URLs under /_sim as methods."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any, TypeVar

from optirelay.simulator.control import PREFIX
from optirelay.simulator.errors import BadEntry
from optirelay.simulator.exchange import Answer, Request, to_json

T = TypeVar("T")


class Orders(ABC):
    """Each method may be called from any thread; BadEntry, a ValueError, names the key that is wrong and the mend.

    The entries that methods take as keywords are those of a scenario, with the same keys.
    """

    @property
    def key(self) -> str:
        """The API key of the first tenant."""
        return self._first_key()

    def tenant(self, **entry: Any) -> None:
        """Add a tenant (`id`, `key`, `channels`, `customers` …), or give a known one new keys, channels, customers."""
        self._post("tenants", entry)

    def customers(self, *people: dict[str, Any], **more: Any) -> None:
        """Add customers or replace those whose `customer_id` is known; every other key is an attribute."""
        self._post("customers", {"customers": list(people), **more})

    def campaign(self, **entry: Any) -> int:
        """Add a campaign (`channel` and `templates` are needed; `customers`, `send_at`, `fire_at` …); its id."""
        return int(self._post("campaigns", entry)["id"])

    def fire(self, campaign_id: int, *, events: Sequence[int] | None = None, tenant: int | None = None) -> int:
        """The campaign runs: its rows can be read, and listeners are told, in the background.

        `events` are the types to tell in place of the campaign's own. How many notifications go out.
        """
        how = {} if events is None else {"events": list(events)}
        return int(self._post(f"campaigns/{campaign_id}/fire", how, tenant)["listeners"])

    def fire_day(self, *events: int, tenant: int | None = None) -> int:
        """Types 2 and 3, or one of them: what is said of all of today's campaigns. How many notifications go out."""
        entry = {"events": list(events)} if events else {}
        return int(self._post("fire", entry if tenant is None else {**entry, "tenant": tenant})["listeners"])

    def cancel(self, campaign_id: int, *, tenant: int | None = None) -> int:
        """The campaign is off, on all of its channels. How many notifications go out."""
        return int(self._post(f"campaigns/{campaign_id}/cancel", {}, tenant)["listeners"])

    def trigger(self, **entry: Any) -> int:
        """Fire a trigger for `customers`, or one that the entry defines (`channel`, `templates` …).

        How many notifications go out at once; where the tenant has a gateway, that is asked first.
        """
        return int(self._post("triggers/fire", entry)["notifications"])

    def customer_event(self, customer: str, event: str, **more: Any) -> int:
        """A customer did something, and triggers whose rule that meets fire. How many notifications go out at once."""
        entry = {"customer": customer, "event": event, **more}
        return int(self._post("customers/events", entry)["notifications"])

    def fault(self, call: str, fault: str, *, times: int = 1, seconds: float = 5.0) -> None:
        """Let the next `times` calls of that name go wrong; `seconds` is how long "slow" takes."""
        self._post("faults", {"call": call, "fault": fault, "times": times, "seconds": seconds})

    def quirk(self, **quirks: Any) -> None:
        """Change how this Optimove behaves from now on."""
        self._post("quirks", quirks)

    def told(self, kind: str, *, tenant: int | None = None) -> list[dict[str, Any]]:
        """What it was told, by one tenant or by all, newest last, each entry with its time, tenant and parsed body.

        Kinds: listeners, templates, apps, metrics, interactions, attributes, preferences, promotions, events
        (saveEvent), gateway, and calls (each with its answer); and what it told: notifications, callbacks.
        """
        return list(self._get(kind, tenant))

    def current(self, kind: str, *, tenant: int | None = None) -> list[dict[str, Any]]:
        """How things stand after all that: listeners, templates, apps, attributes, preferences, promotions."""
        return list(self._get(kind, tenant, current="1"))

    def state(self) -> dict[str, Any]:
        """Everything, as /_sim/state shows it."""
        return dict(self._get("state"))

    def _get(self, name: str, tenant: int | None = None, **query: str) -> Any:
        query |= {} if tenant is None else {"tenant": str(tenant)}
        return self._value(Request("GET", PREFIX + name, query, {}, b""))

    def _post(self, name: str, entry: dict[str, Any], tenant: int | None = None) -> Any:
        query = {} if tenant is None else {"tenant": str(tenant)}
        return self._value(Request("POST", PREFIX + name, query, {}, to_json(entry)))

    def _value(self, request: Request) -> Any:
        answer = self._ask(request)
        value = json.loads(answer.body)  # not what the simulator goes on working with
        if answer.status != HTTPStatus.OK:
            raise BadEntry(value["error"])
        return value

    @abstractmethod
    def _ask(self, request: Request) -> Answer:
        """The answer to a request under /_sim."""

    @abstractmethod
    def _first_key(self) -> str: ...


def in_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> T:
    """Do it where that loop runs, from any thread; at once where this is that thread."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is loop:
        return work()
    done: Future[T] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            done.set_exception(error)

    loop.call_soon_threadsafe(do)
    return done.result()
