"""The simulator's HTTP side: Optimove's calls, the simulator's own URLs and the page on /."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from optirelay.simulator import calls, control, events, page
from optirelay.simulator.clock import utc_now
from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Answer, Request, json_answer, read_query
from optirelay.simulator.faults import TOO_MANY_CALLS, Fault, answer_with
from optirelay.simulator.firing import Firing
from optirelay.simulator.world import ApiKey, Tenant, World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CUT = "optirelay.cut"  # the ASGI extension that closes a connection at once
MAX_KEPT_ROWS = 100  # of longer answers only the number of rows is remembered


NO_KEY = ApiKey("")  # of what is signed instead


@dataclass(slots=True)
class Heard:
    """What became known of a call on its way to the answer."""

    tenant: Tenant | None = None
    key: ApiKey | None = None
    call: str | None = None
    fault: Fault | None = None
    body: Any = None


class App:
    """An ASGI application over a world; the server has to offer the extension CUT."""

    def __init__(self, world: World, firing: Firing) -> None:
        self._world = world
        self._firing = firing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or close its connection when a fault wants that."""
        request = await _read_request(scope, receive)
        if request is None:
            return
        answer: Answer | None
        if request.path == "/" and request.method == "GET":
            answer = page.answer(self._world)
        elif request.path.startswith(control.PREFIX):
            answer = control.answer(self._world, self._firing, request)
        else:
            answer = await self._answer_call(request)
        if answer is None:
            await _cut(scope, receive)
        else:
            await _write(answer, send)
            if answer.cut:
                await _cut(scope, receive)

    async def _answer_call(self, request: Request) -> Answer | None:
        """One of Optimove's calls, remembered with its answer. None: to be cut."""
        heard = Heard()
        answer: Answer | None
        try:
            answer = self._handle(request, heard)
        except Refused as error:
            answer = json_answer(error.value, error.status)
        self._remember(request, heard, answer)
        if heard.fault and heard.fault.fault == "slow":
            await asyncio.sleep(heard.fault.seconds)
        return answer

    def _handle(self, request: Request, heard: Heard) -> Answer | None:
        """Key, budget, path, fault, call: in this order. Events have a signature for a key, and no budget."""
        if events.is_event(request):
            heard.call = calls.SAVE_EVENT.name
            heard.tenant = events.tenant_of(self._world, request)
            return self._carry_out(calls.SAVE_EVENT, heard, request)
        found = self._world.key_with(request.headers.get("x-api-key", ""))
        if found is None:
            raise Refused("Unauthorized", self._world.quirks.unauthorized_status)
        heard.tenant, heard.key = _, key = found
        if not key.may_call(self._world.quirks, utc_now()):
            return TOO_MANY_CALLS
        call = calls.find_call(request)
        heard.call = call.name
        if key.integrations and call.name not in calls.THIRD_PARTY:
            raise Refused("Forbidden", self._world.quirks.forbidden_status)
        return self._carry_out(call, heard, request)

    def _carry_out(self, call: calls.Call, heard: Heard, request: Request) -> Answer | None:
        assert heard.tenant is not None
        heard.body = calls.read_body(call, request)
        heard.fault = self._world.next_fault(call.name)
        fault = heard.fault.fault if heard.fault else None
        told = calls.Told(self._world, self._firing, heard.tenant, heard.key or NO_KEY, request, heard.body, fault)
        return answer_with(heard.fault, lambda: self._apply(call, told))

    def _apply(self, call: calls.Call, told: calls.Told) -> Answer:
        rows = call.handler(told)
        if call.kind:
            tenant_id, query = told.tenant.tenant_id, told.request.query
            self._world.remember(call.kind, tenant_id, utc_now(), call=call.name, body=told.body, query=query)
        # Calls that change something return no payload:
        # https://developer.optimove.com/reference/post_general-registereventlistener
        if rows is None:
            return Answer()
        return rows if isinstance(rows, Answer) else json_answer(rows)

    def _remember(self, request: Request, heard: Heard, answer: Answer | None) -> None:
        rows = len(answer.value) if answer and isinstance(answer.value, list) else None
        self._world.remember(
            "calls",
            heard.tenant.tenant_id if heard.tenant else None,
            utc_now(),
            call=heard.call,
            method=request.method,
            path=request.path,
            query=request.query,
            status=answer and answer.status,
            body=heard.body,
            rows=rows,
            answer=answer.value if answer and (rows or 0) <= MAX_KEPT_ROWS else None,
            fault=heard.fault and heard.fault.fault,
        )


async def _read_request(scope: Scope, receive: Receive) -> Request | None:
    """The whole request; None when the caller left in the middle of it."""
    parts: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            break
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], scope["path"], read_query(scope["query_string"]), headers, b"".join(parts))


async def _write(answer: Answer, send: Send) -> None:
    headers = [(b"content-length", str(len(answer.body)).encode())]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode()))
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": answer.cut})


async def _cut(scope: Scope, receive: Receive) -> None:
    scope["extensions"][CUT]["abort"]()
    while (await receive())["type"] != "http.disconnect":
        pass
