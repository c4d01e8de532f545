-- Batches: taken under a lease, started group by group, ended; every statement is one tenant's.

-- name: take_batch
-- The next due batch of the channel whose lease is free or lapsed. Its fence grows: who had it before is shut out.
update batch b
set owner = %(owner)s, lease_until = clock_timestamp() + %(lease)s::interval, fence = fence + 1
from (
  select n.tenant, n.id, n.owner is not null as lapsed
  from batch n join channel h on h.tenant = n.tenant and h.name = n.channel
  where n.tenant = %(tenant)s and n.channel = %(channel)s and n.done_at is null and n.due_at <= %(now)s
    and (n.lease_until is null or n.lease_until < clock_timestamp())
    and (h.waits_until is null or h.waits_until < clock_timestamp())
  order by n.due_at limit 1 for update of n skip locked
) n, campaign c
where b.tenant = n.tenant and b.id = n.id and c.tenant = b.tenant and c.id = b.campaign
returning b.id, b.campaign, c.campaign_id, c.planned_on, b.template_id, b.template_version, b.started, b.fence, b.tries, b.first_tried_at, n.lapsed;

-- name: lock_batch
-- The batch with its counters, locked; `mine` where the fence is still the caller's and the campaign may be sent.
select b.id, b.campaign, c.campaign_id, b.started, b.tries, b.first_tried_at, b.template_id, b.template_version, b.channel, c.planned_on,
       b.total, b.begun, b.accepted, b.in_doubt, b.skipped, b.refused, b.fence, b.done_at is not null as done,
       c.state as campaign_state, coalesce(h.waits_until > clock_timestamp(), false) as waiting
from batch b
join campaign c on c.tenant = b.tenant and c.id = b.campaign
join channel h on h.tenant = b.tenant and h.name = b.channel
where b.tenant = %(tenant)s and b.id = %(batch)s for update of b;

-- name: write_batch
update batch set started = greatest(started, %(started)s), total = %(total)s, begun = %(begun)s, accepted = %(accepted)s, in_doubt = %(in_doubt)s,
  skipped = %(skipped)s, refused = %(refused)s,
  done_at = case when %(done)s then coalesce(done_at, clock_timestamp()) end
where tenant = %(tenant)s and id = %(batch)s;

-- name: free_batch
-- Its due moves to its next message, and anybody may take it.
update batch set owner = null, lease_until = null, due_at = coalesce(%(due_at)s, due_at)
where tenant = %(tenant)s and id = %(batch)s and fence = %(fence)s and done_at is null;

-- name: next_messages
-- The batch's messages first (at most 1,000, by their own index), whatever the planner thinks of the tables' sizes.
with here as materialized (
  select id, customer_id, address, send_at from message where tenant = %(tenant)s and batch = %(batch)s
)
select m.id, m.customer_id, m.address, m.send_at,
       coalesce((select p.tags from personalization p
                 where p.tenant = %(tenant)s and p.planned_on = %(planned_on)s and p.message = m.id), '{}') as tags
from here m
where m.id > %(started)s
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null
order by m.id limit %(limit)s;

-- name: slots
-- The channel's next free slot; the caller's messages get it and those behind it, `interval` apart.
update channel set next_slot_at = greatest(next_slot_at, clock_timestamp()) + %(count)s * %(interval)s::interval
where tenant = %(tenant)s and name = %(channel)s
returning extract(epoch from next_slot_at - %(count)s * %(interval)s::interval - clock_timestamp())::float8 as wait;

-- name: slot_wait
select extract(epoch from next_slot_at - clock_timestamp())::float8 as wait from channel
where tenant = %(tenant)s and name = %(channel)s and next_slot_at > clock_timestamp();

-- name: open_messages
-- What was started and has no outcome.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id from here m
where m.id <= %(started)s
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null
order by m.id;

-- name: unstarted_messages
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id from here m
where m.id > %(started)s
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null
order by m.id;

-- name: copy_outcomes
copy outcome (tenant, planned_on, message, state, reason, provider_id, at) from stdin;

-- name: incoming_outcomes
create temporary table if not exists incoming_outcome (like outcome) on commit delete rows;

-- name: copy_incoming_outcomes
copy incoming_outcome (tenant, planned_on, message, state, reason, provider_id, at) from stdin;

-- name: merge_outcomes
-- An outcome stays what it is, but for one in doubt, which a late answer settles. Returns what was written; `was_in_doubt` says over what.
insert into outcome as o select i.* from incoming_outcome i
join message m on m.tenant = i.tenant and m.planned_on = i.planned_on and m.id = i.message and m.batch = %(batch)s
where i.tenant = %(tenant)s
on conflict (tenant, planned_on, message) do update
  set state = excluded.state, reason = excluded.reason, provider_id = excluded.provider_id, at = excluded.at
  where o.state = 'in_doubt' and excluded.state <> 'in_doubt'
returning o.message, o.state::text as state, o.reason, xmax <> 0 as was_in_doubt;

-- name: copy_attempts
copy attempt (tenant, planned_on, message, at, outcome, detail) from stdin;

-- name: still_here
-- Of these messages the ones that the batch still has and that have no outcome.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id from here m
where m.id = any(%(messages)s)
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null;

-- name: new_batch
insert into batch (tenant, campaign, channel, template_id, template_version, due_at, tries, first_tried_at, total)
select tenant, campaign, channel, template_id, template_version, %(due_at)s, %(tries)s, %(first_tried_at)s, %(total)s
from batch where tenant = %(tenant)s and id = %(batch)s
returning id;

-- name: move_messages
update message set batch = %(new_batch)s
where tenant = %(tenant)s and planned_on = %(planned_on)s and id = any(%(messages)s);

-- name: next_due
select greatest(min(b.due_at), h.waits_until) as due_at from batch b
join channel h on h.tenant = b.tenant and h.name = b.channel
where b.tenant = %(tenant)s and b.channel = %(channel)s and b.done_at is null
  and (b.lease_until is null or b.lease_until < clock_timestamp())
group by h.waits_until;

-- name: open_batches
select id from batch where tenant = %(tenant)s and campaign = %(campaign)s and done_at is null order by id;

-- name: channel_waits
update channel set waits = waits + 1, waits_until = clock_timestamp() + %(pause)s::interval
where tenant = %(tenant)s and name = %(channel)s and (waits_until is null or waits_until < clock_timestamp());

-- name: waits
select waits, case when waits_until > clock_timestamp() then waits_until end as waits_until from channel
where tenant = %(tenant)s and name = %(channel)s;

-- name: channel_works
update channel set waits = 0, waits_until = null where tenant = %(tenant)s and name = %(channel)s and waits > 0;

-- name: wake_senders
select pg_notify('optirelay_batch', %(tenant)s::text);
