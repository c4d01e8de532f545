-- What providers told of messages; every statement is one tenant's.

-- name: named
-- Of these messages those of the channel, and what became of each so far.
select w.place, m.campaign, m.customer_id, m.address, o.state::text as state, o.reason, o.by_event
from unnest(%(places)s::int[], %(days)s::date[], %(messages)s::bigint[]) as w (place, planned_on, id)
cross join lateral (
  select campaign, customer_id, address from message where tenant = %(tenant)s and planned_on = w.planned_on and id = w.id offset 0
) m
join campaign c on c.tenant = %(tenant)s and c.id = m.campaign and c.channel = %(channel)s
left join lateral (
  select state, reason, coalesce(by_event, false) as by_event from outcome
  where tenant = %(tenant)s and planned_on = w.planned_on and message = w.id offset 0
) o on true;

-- name: keep_delivery_events
-- The identities of those that are new.
insert into delivery_event (tenant, channel, identity, planned_on, message, name, kind, rank, at, open, callback)
select %(tenant)s, %(channel)s, * from unnest(
  %(identities)s::bytea[], %(days)s::date[], %(messages)s::bigint[], %(names)s::text[], %(kinds)s::text[], %(ranks)s::int[],
  %(ats)s::timestamptz[], %(open)s::boolean[], %(callbacks)s::bigint[]
)
on conflict do nothing
returning identity;

-- name: keep_facts
-- Each kind once a message, since when it first was so, and counted once.
with kept as (
  insert into event as e (tenant, planned_on, message, campaign, kind, at)
  select %(tenant)s, planned_on, message, campaign, kind, min(at)
  from unnest(%(days)s::date[], %(messages)s::bigint[], %(campaigns)s::bigint[], %(kinds)s::text[], %(ats)s::timestamptz[])
    as f (planned_on, message, campaign, kind, at)
  group by planned_on, message, campaign, kind order by planned_on, message, kind
  on conflict (tenant, planned_on, message, kind) do update set at = excluded.at where excluded.at < e.at and e.told is null
  returning e.campaign, e.kind, xmax = 0 as new
)
insert into counted_event as c (tenant, campaign, kind, messages)
select %(tenant)s, campaign, kind, count(*) from kept where new and kind <> 'dropped' group by campaign, kind order by campaign, kind
on conflict (tenant, campaign, kind) do update set messages = c.messages + excluded.messages;

-- name: message
-- Whose message it is, and by which channel.
select m.campaign, c.campaign_id, c.channel, m.customer_id, m.address from message m
join campaign c on c.tenant = m.tenant and c.id = m.campaign
where m.tenant = %(tenant)s and m.planned_on = %(planned_on)s and m.id = %(message)s;
