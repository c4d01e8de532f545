-- Batches: taken under a lease, started group by group, ended; every statement is one tenant's.

-- name: take_batch
-- The next due batch of the channel whose lease is free or lapsed. Its fence grows: who had it before is shut out.
-- A paused campaign's and a paused or stopped channel's are left. While PostgreSQL was away nobody could renew a lease: since its start
-- each owner has a whole one to do so.
update batch b
set owner = %(owner)s, lease_until = clock_timestamp() + %(lease)s::interval, fence = fence + 1
from (
  select n.tenant, n.id, n.owner as taken_from
  from batch n join channel h on h.tenant = n.tenant and h.name = n.channel
  join campaign p on p.tenant = n.tenant and p.id = n.campaign
  where n.tenant = %(tenant)s and n.channel = %(channel)s and n.triggered = %(triggered)s and n.done_at is null and n.due_at <= %(now)s
    and (n.lease_until is null or greatest(n.lease_until, pg_postmaster_start_time() + %(lease)s::interval) < clock_timestamp())
    and (h.waits_until is null or h.waits_until < clock_timestamp()) and h.paused_at is null and h.stopped_at is null and p.state <> 'paused'
  order by n.due_at limit 1 for update of n skip locked
) n, campaign c
where b.tenant = n.tenant and b.id = n.id and c.tenant = b.tenant and c.id = b.campaign
returning b.id, b.campaign, c.campaign_id, c.planned_on, b.template_id, b.template_version, b.started, b.fence, n.taken_from;

-- name: merge_waiting
-- Triggered messages that wait came one by one: those of one day and template, of which nothing has begun, go on as one batch.
with waiting as materialized (
  select id, campaign, template_id, template_version, due_at, total from batch
  where tenant = %(tenant)s and channel = %(channel)s and triggered and done_at is null and due_at <= %(now)s and lease_until is null
    and started = 0 and begun = 0 and tries = 0 and repeats = 0 and template_version is not null and skipped = '{}' and total < 100
  order by due_at limit 1000 for update skip locked
), alike as (
  select w.*, sum(w.total) over (order by w.id) as so_far from waiting w
  where (w.campaign, w.template_id, w.template_version) = (select campaign, template_id, template_version from waiting order by due_at limit 1)
), merged as (
  select * from alike where so_far <= 1000
), made as (
  insert into batch (tenant, campaign, channel, triggered, template_id, template_version, due_at, total)
  select %(tenant)s, campaign, %(channel)s, true, template_id, template_version, min(due_at), sum(total) from merged
  group by campaign, template_id, template_version having count(*) > 1
  returning id
), moved as (
  update message set batch = (select id from made)
  where tenant = %(tenant)s and batch = any(array(select id from merged)) and exists (select from made)
)
update batch set total = 0, done_at = clock_timestamp()
where tenant = %(tenant)s and id = any(array(select id from merged)) and exists (select from made);

-- name: lock_batch
-- The batch with its counters, locked; `waiting` where nothing of it may start now.
select b.id, b.campaign, c.campaign_id, b.started, b.tries, b.first_tried_at, b.repeats, b.template_id, b.template_version, b.channel, c.planned_on,
       b.triggered, b.added_up, b.total, b.begun, b.accepted, b.in_doubt, b.skipped, b.refused, b.owner, b.fence, b.done_at is not null as done, b.told, b.begun_at,
       c.state as campaign_state,
       coalesce(h.waits_until > clock_timestamp(), false) or h.paused_at is not null or h.stopped_at is not null or c.state = 'paused' as waiting
from batch b
join campaign c on c.tenant = b.tenant and c.id = b.campaign
join channel h on h.tenant = b.tenant and h.name = b.channel
where b.tenant = %(tenant)s and b.id = %(batch)s for update of b;

-- name: write_batch
update batch set started = greatest(started, %(started)s), total = %(total)s, begun = %(begun)s, accepted = %(accepted)s, in_doubt = %(in_doubt)s,
  skipped = %(skipped)s, refused = %(refused)s, begun_at = %(begun_at)s,
  done_at = case when %(done)s then coalesce(done_at, clock_timestamp()) end
where tenant = %(tenant)s and id = %(batch)s;

-- name: free_batch
-- Its due moves to its next message, and anybody may take it.
update batch set owner = null, lease_until = null, due_at = coalesce(%(due_at)s, due_at)
where tenant = %(tenant)s and id = %(batch)s and fence = %(fence)s and done_at is null;

-- name: hear_opt_outs
-- Opt-outs that are committed are seen from here on, and none is committed before the end of the transaction.
select pg_advisory_xact_lock_shared(%(tenant)s, hashtext('opt-outs'));

-- name: next_messages
-- The batch's messages first (at most 1,000, by their own index), whatever the planner thinks of the tables' sizes.
with here as materialized (
  select id, customer_id, address, send_at from message where tenant = %(tenant)s and batch = %(batch)s
)
select m.id, m.customer_id, m.address, m.send_at,
       coalesce((select p.tags::text from personalization p
                 where p.tenant = %(tenant)s and p.planned_on = %(planned_on)s and p.message = m.id), '{}') as tags,
       (select s.opted_in from subscription s
        where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = m.customer_id) as opted_in,
       ((select true from suppression s
        where s.tenant = %(tenant)s and s.address = lower(m.address) and s.channel in ('', %(channel)s) limit 1) is not null
        or case when (select exists (select from suppression where tenant = %(tenant)s and starts_with(address, 'erased:'))) then exists (
          select from suppression s where s.tenant = %(tenant)s and s.channel in ('', %(channel)s) and s.address = 'erased:' || encode(sha256(
            (select link_key from tenant where id = %(tenant)s) || convert_to('address ' || lower(m.address), 'UTF8')), 'hex')
        ) else false end) as suppressed
from here m
where m.id > %(started)s
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null
order by m.id limit %(limit)s;

-- name: fired
-- What fired the messages of a batch of a triggered campaign.
with here as materialized (select id, trigger_name, action_id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id, m.trigger_name, m.action_id,
       (select p.promo_codes from personalization p
        where p.tenant = %(tenant)s and p.planned_on = %(planned_on)s and p.message = m.id) as promo_codes
from here m where m.id = any(%(messages)s);

-- name: batch_numbers
select nextval(pg_get_serial_sequence('batch', 'id')) as id from generate_series(1, %(count)s) where %(tenant)s is not null;

-- name: take_back
-- What was added up of a batch that is to be changed; it counts for itself again.
with taken as (
  update batch set added_up = false where tenant = %(tenant)s and id = %(batch)s and added_up
  returning campaign, template_id, told, accepted, skipped, refused
), counts as (
  select campaign, template_id, told, 'accepted' as state, '' as reason, accepted as messages from taken
  union all
  select t.campaign, t.template_id, t.told, 'skipped', j.key, j.value::int from taken t, jsonb_each_text(t.skipped) j
  union all
  select t.campaign, t.template_id, t.told, 'refused', j.key, j.value::int from taken t, jsonb_each_text(t.refused) j
)
update day_total d set messages = d.messages - c.messages, untold = d.untold - case when c.told is null then c.messages else 0 end from counts c
where d.tenant = %(tenant)s and d.campaign = c.campaign and d.template_id is not distinct from c.template_id
  and d.state = c.state and d.reason = c.reason;

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
copy outcome (tenant, planned_on, message, state, reason, provider_id, at, worker) from stdin (format binary);

-- name: add_outcomes
-- A few at once: those that are not there yet.
insert into outcome (tenant, planned_on, message, state, reason, provider_id, at, worker)
select %(tenant)s, %(planned_on)s, n.message, n.state::outcome_state, n.reason, n.provider_id, %(at)s, n.worker
from jsonb_to_recordset(%(outcomes)s::jsonb) as n (message bigint, state text, reason text, provider_id text, worker text)
on conflict do nothing
returning message;

-- name: incoming_outcomes
create temporary table if not exists incoming_outcome (like outcome) on commit delete rows;

-- name: copy_incoming_outcomes
copy incoming_outcome (tenant, planned_on, message, state, reason, provider_id, at, worker) from stdin (format binary);

-- name: merge_outcomes
-- An outcome stays what it is, but for one in doubt, which a late answer settles. Returns what was written; `was_in_doubt` says over what.
insert into outcome as o select i.* from incoming_outcome i
join message m on m.tenant = i.tenant and m.planned_on = i.planned_on and m.id = i.message and m.batch = %(batch)s
where i.tenant = %(tenant)s
on conflict (tenant, planned_on, message) do update
  set state = excluded.state, reason = excluded.reason, provider_id = excluded.provider_id, at = excluded.at, worker = null
  where o.state = 'in_doubt' and excluded.state <> 'in_doubt'
returning o.message, o.state::text as state, o.reason, xmax <> 0 as was_in_doubt;

-- name: undecided
-- Of the batch's messages those that events may decide: what became of each, and what events tell.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id as message, o.state::text as state, o.reason, coalesce(o.by_event, false) as by_event,
       exists (select from delivery_event e where e.tenant = %(tenant)s and e.planned_on = %(planned_on)s and e.message = m.id
               and e.kind <> 'failed') as arrived,
       exists (select from delivery_event e where e.tenant = %(tenant)s and e.planned_on = %(planned_on)s and e.message = m.id
               and e.kind in ('failed', 'blocked')) as dropped
from here m
cross join lateral (
  select state, reason, by_event from outcome where tenant = %(tenant)s and planned_on = %(planned_on)s and message = m.id offset 0
) o
where exists (select from delivery_event e where e.tenant = %(tenant)s and e.planned_on = %(planned_on)s and e.message = m.id and e.open)
order by m.id;

-- name: decide
-- What was in doubt, or refused without a word of the provider, becomes what an event tells.
update outcome set state = %(state)s::outcome_state, reason = %(reason)s, by_event = true, worker = null, at = %(at)s
where tenant = %(tenant)s and planned_on = %(planned_on)s and message = any(%(messages)s);

-- name: compared
update delivery_event set open = false
where tenant = %(tenant)s and planned_on = %(planned_on)s and message = any(%(messages)s) and open;

-- name: keep_events
-- Its batch was told already, so a later report tells what became of the message.
insert into event (tenant, planned_on, message, campaign, kind, told)
select %(tenant)s, %(planned_on)s, m, %(campaign)s, %(kind)s, %(told)s from unnest(%(messages)s::bigint[]) m
on conflict do nothing;

-- name: undo_doubts
-- Messages of the batch that were in doubt and are open again; with a worker, only those that it had in hand.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
delete from outcome o using here m
where m.id = any(%(messages)s) and o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id
  and o.state = 'in_doubt' and (%(worker)s::text is null or o.worker = %(worker)s)
returning o.message;

-- name: disown_doubts
-- The worker that had these in hand has said all that it knows.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
update outcome o set worker = null from here m
where m.id = any(%(messages)s) and o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id and o.worker = %(worker)s;

-- name: doubts_in
-- Of these messages those that the batch has and that are in doubt, with their send time.
with here as materialized (select id, send_at, address from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id as message, m.send_at from here m
where m.id = any(%(messages)s) and (m.address is not null or not %(addressed)s)
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) = 'in_doubt'
order by m.id;

-- name: undo_refusals
-- Messages of the batch that were refused, are not too late and are open again; one that was given up may have arrived and stays.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s and send_at > %(sent_after)s)
delete from outcome o using here m
where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id and o.state = 'refused' and o.reason <> 'given_up'
returning o.message, o.reason;

-- name: copy_attempts
copy attempt (tenant, planned_on, message, at, outcome, detail) from stdin;

-- name: still_here
-- Of these messages the ones that the batch still has and that have no outcome.
with here as materialized (select id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id from here m
where m.id = any(%(messages)s)
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null;

-- name: new_batch
-- With `newest`, it is of its template as that is now.
insert into batch (tenant, campaign, channel, triggered, template_id, template_version, due_at, tries, first_tried_at, repeats, total)
select b.tenant, b.campaign, b.channel, b.triggered, b.template_id, case when %(newest)s then t.version else b.template_version end,
       %(due_at)s, %(tries)s, %(first_tried_at)s, %(repeats)s, %(total)s
from batch b left join template t on t.tenant = b.tenant and t.channel = b.channel and t.template_id = b.template_id
where b.tenant = %(tenant)s and b.id = %(batch)s
returning id;

-- name: move_messages
update message set batch = %(new_batch)s
where tenant = %(tenant)s and planned_on = %(planned_on)s and id = any(%(messages)s);

-- name: next_due
select greatest(min(b.due_at), h.waits_until) as due_at from batch b
join channel h on h.tenant = b.tenant and h.name = b.channel
join campaign c on c.tenant = b.tenant and c.id = b.campaign
where b.tenant = %(tenant)s and b.channel = %(channel)s and b.triggered = %(triggered)s and b.done_at is null
  and h.paused_at is null and h.stopped_at is null and c.state <> 'paused'
  and (b.lease_until is null or greatest(b.lease_until, pg_postmaster_start_time() + %(lease)s::interval) < clock_timestamp())
group by h.waits_until;

-- name: open_batches
select id from batch where tenant = %(tenant)s and campaign = %(campaign)s and done_at is null order by id;

-- name: open_of_worker
select id from batch where tenant = %(tenant)s and owner = %(worker)s and done_at is null order by id;

-- name: doubts_of_worker
-- Messages in doubt that a worker had in hand when it ended or went silent.
select m.batch, m.id as message from outcome o
join message m on m.tenant = o.tenant and m.planned_on = o.planned_on and m.id = o.message
where o.tenant = %(tenant)s and o.state = 'in_doubt' and o.worker = %(worker)s order by 1, 2;

-- name: batches_of
-- Where messages are by now.
select m.batch, m.id as message from unnest(%(messages)s::bigint[]) as wanted (id)
cross join lateral (select batch, id from message where tenant = %(tenant)s and planned_on = %(planned_on)s and id = wanted.id offset 0) m
order by 1, 2;

-- name: refused_batches
-- A campaign's batches with refusals that can be tried again.
select id from batch where tenant = %(tenant)s and campaign = %(campaign)s and refused - 'given_up' <> '{}' order by id;

-- name: wake_senders
select pg_notify('optirelay_batch', %(tenant)s::text);
