"""The simulator's own URLs under /_sim: what it should do, and what it was told."""

import re
from http import HTTPStatus
from typing import Any

from optirelay.simulator import scenario, triggered, view
from optirelay.simulator.campaigns import Campaign
from optirelay.simulator.entry import Entry
from optirelay.simulator.errors import BadEntry
from optirelay.simulator.exchange import Answer, Request, json_answer
from optirelay.simulator.firing import Firing
from optirelay.simulator.triggers import Trigger
from optirelay.simulator.world import Tenant, World

PREFIX = "/_sim/"


def answer(world: World, firing: Firing, request: Request) -> Answer:
    """The answer to a request under /_sim; what is wrong with it is a 400 that names the key and the mend."""
    name = request.path.removeprefix(PREFIX)
    try:
        if request.method == "GET":
            return _shown(world, request, name)
        if request.method == "POST":
            return _done(world, firing, request, name)
    except BadEntry as error:
        return _error(HTTPStatus.BAD_REQUEST, str(error))
    return _error(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not for {request.path}; use GET or POST")


def _shown(world: World, request: Request, name: str) -> Answer:
    if name == "state":
        return json_answer(view.summary(world) if request.param("summary") == "1" else view.state(world))
    if name in view.CURRENT and request.param("current") == "1":
        return json_answer(view.current(world, name, _tenant_or_none(world, request, name)))
    if name in world.told:
        tenant_id = _tenant_or_none(world, request, name)
        return json_answer([entry for entry in world.entries(name) if tenant_id in (None, entry["tenant"])])
    if name == "triggers":
        return json_answer(view.triggers(world))
    if name == "customers":
        return json_answer(_customers(world, request))
    if name == "opt_ins":
        return json_answer(_opt_ins(world, request))
    shown = ", ".join(f"{PREFIX}{kind}" for kind in ("state", "customers", "triggers", "opt_ins", *world.told))
    return _error(HTTPStatus.NOT_FOUND, f"{request.path} shows nothing; there are {shown}")


def _customers(world: World, request: Request) -> list[Any]:
    if request.param("campaign") is not None:
        return [row for campaign in _campaigns(world, request) for row in view.campaign_rows(campaign)]
    return view.people(_tenant(world, request, "customers"))


def _opt_ins(world: World, request: Request) -> dict[str, Any]:
    tenant = _tenant(world, request, "opt_ins")
    if tenant.opt_ins is None:
        raise BadEntry(f"opt_ins: tenant {tenant.tenant_id} receives no files; give its entry a folder, opt_in_files")
    tenant.opt_ins.look()
    return {"customers": tenant.opt_ins.customers, "files": tenant.opt_ins.files}


def _tenant(world: World, request: Request, kind: str) -> Tenant:
    tenant_id = _number(request, "tenant")
    if tenant_id not in world.tenants:
        raise BadEntry(f"{kind}: tenant is {tenant_id}; give one of {sorted(world.tenants)} in the query")
    return world.tenants[tenant_id]


def _tenant_or_none(world: World, request: Request, kind: str) -> int | None:
    return None if request.param("tenant") is None else _tenant(world, request, kind).tenant_id


def _done(world: World, firing: Firing, request: Request, name: str) -> Answer:
    told = re.fullmatch(r"campaigns/([0-9]{1,18})/(fire|cancel)", name)
    if told:
        campaigns = _campaigns(world, request, int(told[1]))
        return json_answer({"listeners": _tell(firing, campaigns, told[2], request)})
    if name == "fire":
        tenant, events = scenario.read_day(world, _json(request, name) if request.body else {})
        return json_answer({"listeners": firing.fire_day(tenant.tenant_id, events)})
    if name in triggered.ORDERS:
        return json_answer(triggered.ORDERS[name](world, firing, _json(request, name) if request.body else {}))
    if name not in scenario.ADD:
        changeable = ", ".join(f"{PREFIX}{kind}" for kind in (*scenario.ADD, "fire", *triggered.ORDERS))
        return _error(HTTPStatus.NOT_FOUND, f"{request.path} takes nothing; there are {changeable}")
    added = scenario.ADD[name](world, _json(request, name))
    if isinstance(added, Campaign):
        firing.plan(added)
    return json_answer({"id": added.campaign_id} if isinstance(added, Campaign | Trigger) else {"ok": True})


def _tell(firing: Firing, campaigns: list[Campaign], what: str, request: Request) -> int:
    if what == "cancel":
        return firing.cancel(campaigns)
    entry = Entry("fire", _json(request, "fire") if request.body else {})
    events = scenario.read_events(entry, list(campaigns[0].events))
    entry.done()
    return firing.fire(campaigns, events)


def _campaigns(world: World, request: Request, campaign_id: int | None = None) -> list[Campaign]:
    """The campaign on each of its channels; `tenant` in the query is needed where two tenants have the same id."""
    number = _number(request, "campaign") if campaign_id is None else campaign_id
    found = world.campaigns_with(number, None if request.param("tenant") is None else _number(request, "tenant"))
    if not found:
        known = sorted({campaign.campaign_id for campaign in world.campaigns})
        raise BadEntry(f"campaigns: there is no campaign {number}; give one of {known}")
    if len({campaign.tenant_id for campaign in found}) > 1:
        raise BadEntry(f"campaigns: {number} is one of several tenants; say which by ?tenant= in the query")
    return found


def _number(request: Request, name: str) -> int:
    text = request.param(name) or ""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadEntry(f"{name} is {text!r}; give a whole number in the query")
    return int(text)


def _json(request: Request, name: str) -> Any:
    try:
        return request.json()
    except (ValueError, RecursionError) as error:
        raise BadEntry(f"{name}: the body is no JSON ({error}); give an object with keys") from error


def _error(status: HTTPStatus, text: str) -> Answer:
    return json_answer({"error": text}, status)
