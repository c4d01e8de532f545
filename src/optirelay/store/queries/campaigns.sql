-- Campaigns and their passes; every statement is one tenant's.

-- name: cancelled
-- By Optimove on any channel, or by the operator on this one.
select exists (
  select from campaign where tenant = %(tenant)s and campaign_id = %(campaign_id)s and state = 'cancelled'
    and (not cancelled_by_operator or (channel = %(channel)s and kind = 'scheduled'))
) as cancelled;

-- name: keep_campaign
-- One that was named without a channel, and is announced on this one now, is shown from now on.
insert into campaign (tenant, channel, kind, campaign_id, planned_on, state, closed_at, announced)
values (%(tenant)s, %(channel)s, 'scheduled', %(campaign_id)s, %(planned_on)s, %(state)s, case when %(state)s <> 'open' then clock_timestamp() end,
        %(announced)s)
on conflict (tenant, campaign_id, channel) where kind = 'scheduled' do update set announced = true where excluded.announced and not campaign.announced;

-- name: keep_cancelled
-- A triggered campaign that was cancelled before anything of it was heard.
insert into campaign (tenant, channel, kind, campaign_id, planned_on, state, closed_at)
values (%(tenant)s, %(channel)s, 'triggered', %(campaign_id)s, %(planned_on)s, 'cancelled', clock_timestamp()) on conflict do nothing;

-- name: unheard_of
-- Of these those that no notification and no row has made known on this channel, that nobody is reading just now, and that are not cancelled.
select e.campaign_id from unnest(%(campaign_ids)s::text[]) as e (campaign_id)
where not exists (
  select from campaign c
  where c.tenant = %(tenant)s and c.campaign_id = e.campaign_id
    and ((c.state = 'cancelled' and (not c.cancelled_by_operator or (c.channel = %(channel)s and c.kind = 'scheduled')))
         or (c.channel = %(channel)s and c.kind = 'scheduled'
             and (c.announced or exists (select from pass p where p.tenant = c.tenant and p.campaign = c.id and p.state <> 'done'))))
);

-- name: announce
update campaign set announced = true where tenant = %(tenant)s and id = %(campaign)s and not announced;

-- name: announced
select announced from campaign where tenant = %(tenant)s and id = %(campaign)s;

-- name: lock_campaign
select id, state from campaign
where tenant = %(tenant)s and channel = %(channel)s and kind = 'scheduled' and campaign_id = %(campaign_id)s for update;

-- name: add_pass
-- A pass for each occasion; one runs, the others wait for it.
insert into pass (tenant, campaign, number, occasion, state)
select %(tenant)s, %(campaign)s, coalesce(max(number), 0) + 1, %(occasion)s,
       case when bool_or(state <> 'done') then 'waiting' else 'reading' end
from pass where tenant = %(tenant)s and campaign = %(campaign)s
having not coalesce(bool_or(occasion = %(occasion)s), false)
returning id, state;

-- name: reopen
-- Locks it, also where nothing changes: whoever is closing it comes before or sees what is new.
update campaign set state = case state when 'complete' then 'open' else state end,
  closed_at = case state when 'complete' then null else closed_at end
where tenant = %(tenant)s and id = %(campaign)s;

-- name: no_new_days
-- Nobody begins another day of a triggered campaign until the transaction ends: that day would not know.
select pg_advisory_xact_lock(%(tenant)s, hashtext('days of campaigns'));

-- name: cancel
-- By Optimove, on every channel. One that the operator had cancelled is now cancelled by Optimove.
update campaign set state = 'cancelled', closed_at = coalesce(closed_at, clock_timestamp()), cancelled_by_operator = false
where tenant = %(tenant)s and campaign_id = %(campaign_id)s and (state <> 'cancelled' or cancelled_by_operator) returning id;

-- name: cancel_one
-- Each day of a triggered one, also those that are over: something of them may come late.
update campaign set state = 'cancelled', closed_at = coalesce(closed_at, clock_timestamp()), cancelled_by_operator = true
where tenant = %(tenant)s and (campaign_id, channel, kind) = (select campaign_id, channel, kind from campaign where tenant = %(tenant)s and id = %(campaign)s)
  and (state in ('open', 'paused') or (state = 'complete' and kind = 'triggered'))
returning id;

-- name: to_call_off
-- Of these campaigns those of which something may be left to skip: of a triggered one the days with something open.
select c.id from campaign c
where c.tenant = %(tenant)s and c.id = any(%(campaigns)s)
  and (c.kind = 'scheduled'
       or exists (select from batch b where b.tenant = c.tenant and b.campaign = c.id and not b.added_up and b.done_at is null))
order by c.id;

-- name: pause
-- Each day of a triggered one, also those that are over: `closed_at` stays, and tells which they are.
update campaign set state = 'paused'
where tenant = %(tenant)s and (campaign_id, channel, kind) = (select campaign_id, channel, kind from campaign where tenant = %(tenant)s and id = %(campaign)s)
  and (state = 'open' or (state = 'complete' and kind = 'triggered'));

-- name: resume
-- A day that was over is again, unless something of it came meanwhile.
update campaign c set state = case when c.closed_at is null or o.open then 'open' else 'complete' end,
  closed_at = case when o.open then null else c.closed_at end
from (
  select d.id, exists (select from batch b where b.tenant = d.tenant and b.campaign = d.id and not b.added_up and b.done_at is null) as open
  from campaign n join campaign d on d.tenant = n.tenant and d.campaign_id = n.campaign_id and d.channel = n.channel and d.kind = n.kind
  where n.tenant = %(tenant)s and n.id = %(campaign)s
) o
where c.tenant = %(tenant)s and c.id = o.id and c.state = 'paused';

-- name: known
select exists (select from campaign where tenant = %(tenant)s and campaign_id = %(campaign_id)s and announced) as known;

-- name: end_passes
update pass set state = 'done' where tenant = %(tenant)s and campaign = any(%(campaigns)s) and state <> 'done';

-- name: days_of
-- Every row of the campaign on its channel, the first one first: of a triggered one there is one for each day.
select o.id from campaign c
join campaign o on o.tenant = c.tenant and o.campaign_id = c.campaign_id and o.channel = c.channel and o.kind = c.kind
where c.tenant = %(tenant)s and c.id = %(campaign)s order by o.id;

-- name: reading
-- What the gather job of a pass must know.
select p.id as pass_, p.number, p.reading, p.state, c.id as campaign, c.campaign_id, c.channel, c.planned_on, c.state as campaign_state, c.announced
from pass p join campaign c on c.tenant = p.tenant and c.id = p.campaign
where p.tenant = %(tenant)s and p.id = %(pass_)s;

-- name: lock_reading
select p.id as pass_, p.number, p.reading, p.state, c.id as campaign, c.campaign_id, c.channel, c.planned_on, c.state as campaign_state, c.announced
from pass p join campaign c on c.tenant = p.tenant and c.id = p.campaign
where p.tenant = %(tenant)s and p.id = %(pass_)s for update of p;

-- name: keep_running
select state <> 'cancelled' as running from campaign where tenant = %(tenant)s and id = %(campaign)s for share;

-- name: lock_passes
-- Before their campaigns are locked: whoever adds a page locks in this order, too.
select p.id from pass p join campaign c on c.tenant = p.tenant and c.id = p.campaign
where p.tenant = %(tenant)s and (c.campaign_id = %(campaign_id)s::text or c.id = %(campaign)s::bigint) and p.state <> 'done'
order by p.id for update of p;

-- name: reading_so_far
select coalesce(sum(new), 0)::int as new, coalesce(sum(repeated), 0)::int as repeated
from page where tenant = %(tenant)s and pass = %(pass_)s and reading = %(reading)s;

-- name: next_reading
update pass set reading = reading + 1 where tenant = %(tenant)s and id = %(pass_)s;

-- name: end_pass
update pass set state = 'done' where tenant = %(tenant)s and id = %(pass_)s;

-- name: start_waiting_pass
update pass set state = 'reading'
where tenant = %(tenant)s
  and id = (select id from pass where tenant = %(tenant)s and campaign = %(campaign)s and state = 'waiting' order by number limit 1)
returning id;

-- name: close
-- Complete when no pass and no batch is open. True when nothing of the campaign is left to do.
with locked as (
  select id, state from campaign where tenant = %(tenant)s and id = %(campaign)s for update
)
select id, state from locked;

-- name: anything_open
select exists (select from pass where tenant = %(tenant)s and campaign = %(campaign)s and state <> 'done')
    or exists (select from batch where tenant = %(tenant)s and campaign = %(campaign)s and not added_up and done_at is null) as open;

-- name: complete
update campaign set state = 'complete', closed_at = clock_timestamp()
where tenant = %(tenant)s and id = %(campaign)s and state in ('open', 'paused');

-- name: counts
-- One row a campaign, all days of a triggered one together, from batch counters and pages alone. Its state is that of its newest day.
with whole as (
  select c.channel, c.kind, c.campaign_id, min(c.id) as id, array_agg(c.id order by c.id) as days, array_agg(c.planned_on order by c.id) as planned_on,
         (array_agg(c.state order by c.planned_on desc))[1] as state
  from campaign c
  where c.tenant = %(tenant)s and (c.announced or %(campaign)s::bigint is not null) and (%(campaign_id)s::text is null or c.campaign_id = %(campaign_id)s)
    and (%(channel)s::text is null or c.channel = %(channel)s) and (%(kind)s::text is null or c.kind = %(kind)s)
    and (%(campaign)s::bigint is null or c.id = %(campaign)s)
  group by c.channel, c.kind, c.campaign_id
)
select w.id, w.days, w.planned_on, w.channel, w.kind, w.campaign_id, w.state,
       (select h.paused_at is not null or h.stopped_at is not null from channel h where h.tenant = %(tenant)s and h.name = w.channel) as channel_paused,
       coalesce(p.handed_over, 0)::int as handed_over,
       exists (select from pass where tenant = %(tenant)s and campaign = any(w.days) and state <> 'done') as fetching,
       coalesce(b.total, 0)::int as total, coalesce(b.begun, 0)::int as begun, coalesce(b.accepted, 0)::int as accepted,
       coalesce(b.in_doubt, 0)::int as in_doubt, coalesce(b.open, 0)::int as open, coalesce(b.held, 0)::int as held, b.next_due_at,
       coalesce(b.skipped, '[]') as skipped, coalesce(b.refused, '[]') as refused, coalesce(b.templates, '[]') as templates, coalesce(e.events, '{}') as events,
       (select coalesce(bool_and(starts_with(occasion, 'sweep, ')), false) from pass where tenant = %(tenant)s and campaign = any(w.days)) as swept
from whole w
left join lateral (
  select sum(g.new) as handed_over from pass p join page g on g.tenant = p.tenant and g.pass = p.id
  where p.tenant = %(tenant)s and p.campaign = any(w.days)
) p on true
left join lateral (
  select sum(total) as total, sum(begun) as begun, sum(accepted) as accepted, sum(in_doubt) as in_doubt,
         count(*) filter (where done_at is null) as open, count(*) filter (where done_at is null and template_version is null) as held,
         min(due_at) filter (where done_at is null) as next_due_at,
         jsonb_agg(skipped) filter (where skipped <> '{}') as skipped, jsonb_agg(refused) filter (where refused <> '{}') as refused,
         jsonb_agg(jsonb_build_array(template_id, accepted)) filter (where accepted > 0) as templates
  from counted_batch where tenant = %(tenant)s and campaign = any(w.days)
) b on true
left join lateral (
  select jsonb_object_agg(k.kind, k.messages) as events from (
    select kind, sum(messages) as messages from counted_event where tenant = %(tenant)s and campaign = any(w.days) group by kind
  ) k
) e on true
order by w.id;

-- name: row_counts
-- The same by counting rows: what --audit compares the counters with.
select state, reason, template_id, count(*)::int as messages from message_state
where tenant = %(tenant)s and planned_on = %(planned_on)s and campaign = %(campaign)s group by 1, 2, 3;

-- name: event_counts
-- Messages with an event of a kind, counted by rows; what a provider did not tell is not among them.
select kind, count(*)::int as messages from event
where tenant = %(tenant)s and campaign = %(campaign)s and kind <> 'sent' and kind <> 'dropped' group by kind;

-- name: batch_faults
-- Batches whose counters are not what their rows say.
with rows as (
  select batch, count(*) as total, count(*) filter (where state = 'accepted') as accepted, count(*) filter (where state = 'in_doubt') as in_doubt,
         count(*) filter (where state = 'skipped') as skipped, count(*) filter (where state = 'refused') as refused,
         count(*) filter (where state = 'sending') as sending
  from message_state where tenant = %(tenant)s and planned_on = %(planned_on)s and campaign = %(campaign)s group by batch
), counted as (
  select id, total, accepted, in_doubt, begun,
         coalesce((select sum(value::int) from jsonb_each_text(skipped)), 0) as skipped, coalesce((select sum(value::int) from jsonb_each_text(refused)), 0) as refused
  from batch where tenant = %(tenant)s and campaign = %(campaign)s
)
select c.id from counted c left join rows r on r.batch = c.id
where (c.total, c.accepted, c.in_doubt, c.skipped, c.refused, c.begun - c.accepted - c.in_doubt - c.refused)
  is distinct from (coalesce(r.total, 0), coalesce(r.accepted, 0), coalesce(r.in_doubt, 0), coalesce(r.skipped, 0), coalesce(r.refused, 0), coalesce(r.sending, 0));
