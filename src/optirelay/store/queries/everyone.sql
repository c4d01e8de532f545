-- Statements over all tenants: what arrives, who works, and the names behind numbers.

-- name: keep_tenants
insert into tenant (name) select unnest(%(names)s::text[]) on conflict (name) do nothing;

-- name: keep_link_keys
update tenant set link_key = uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) where link_key is null;

-- name: tenant_numbers
select name, id, link_key from tenant;

-- name: keep_channels
insert into channel (tenant, name)
select t.id, c.name from unnest(%(tenants)s::text[], %(channels)s::text[]) as c (tenant, name) join tenant t on t.name = c.tenant
on conflict do nothing;

-- name: keep_notifications
-- The same bytes twice are one notification. One statement, which is its own transaction: each further one would wait for
-- a turn of a busy event loop while nobody is answered.
with kept as (
  insert into notification (tenant, hash, body)
  select * from unnest(%(tenants)b::int[], %(hashes)b::bytea[], %(bodies)b::bytea[])
  on conflict do nothing
)
select pg_notify(%(wakes)s, '');

-- name: take_notifications
-- The oldest of each tenant that has some, the same number of each: however many one has, another's need not wait for them. None further
-- once these have so many octets. Whoever takes them is done with them at the commit.
with waiting as materialized (
  select t.tenant from unnest(%(tenants)s::int[]) as t (tenant)
  where exists (select from notification n where n.tenant = t.tenant and n.state = 'new')
), oldest as (
  select n.*, sum(length(n.body)) over (order by n.id) - length(n.body) as before from waiting w
  cross join lateral (
    select tenant, id, hash, body, received_at from notification where tenant = w.tenant and state = 'new'
    order by id limit greatest(1, %(limit)s / (select count(*) from waiting)) for update skip locked
  ) n
), taken as (
  select tenant, id from oldest where before < %(octets)s order by id limit %(limit)s
)
update notification n set state = 'done' from taken t
where n.tenant = t.tenant and n.id = t.id
returning n.tenant, n.id, n.hash, n.body, n.received_at;

-- name: set_aside_notification
update notification set state = 'set_aside' where tenant = %(tenant)s and id = %(id)s;

-- name: keep_callbacks
-- The same key within seven days is the same callback.
insert into callback as c (tenant, channel, key, body)
select distinct on (tenant, channel, key) * from unnest(%(tenants)s::int[], %(channels)s::text[], %(keys)s::bytea[], %(bodies)s::bytea[])
  as incoming (tenant, channel, key, body)
on conflict (tenant, channel, key) do update set body = excluded.body, received_at = clock_timestamp(), state = 'new'
  where c.received_at < clock_timestamp() - interval '7 days';

-- name: take_callbacks
select tenant, channel, key, id, body, received_at from callback
where state = 'new' and tenant = any(%(tenants)s) order by id limit %(limit)s for update skip locked;

-- name: settle_callbacks
update callback c set state = %(state)s
from unnest(%(tenants)s::int[], %(channels)s::text[], %(keys)s::bytea[]) as s (tenant, channel, key)
where c.tenant = s.tenant and c.channel = s.channel and c.key = s.key;

-- name: keep_attribute_results
-- One statement, as with notifications.
with kept as (
  insert into attribute_result (tenant, call, body)
  select * from unnest(%(tenants)b::int[], %(calls)s::bigint[], %(bodies)b::bytea[])
)
select pg_notify(%(wakes)s, '');

-- name: with_undecided
-- Batches of messages that have an outcome by now, and had none, or were in doubt, when an event of them came.
select distinct d.tenant, m.batch from delivery_event d
cross join lateral (
  select batch, id from message where tenant = d.tenant and planned_on = d.planned_on and id = d.message offset 0
) m
where d.open and d.tenant = any(%(tenants)s)
  and exists (select from outcome o where o.tenant = d.tenant and o.planned_on = d.planned_on and o.message = d.message)
limit 100;

-- name: take_due_reports
select tenant, id as campaign from campaign
where report_at <= %(now)s and tenant = any(%(tenants)s) order by report_at limit %(limit)s for update skip locked;

-- name: to_share
-- Channels with something to tell Optimove about opt-ins, or whose calls no result came of in time; those of files when one is due.
select r.tenant, r.channel from unnest(%(tenants)s::int[], %(channels)s::text[], %(every)s::interval[], %(full)s::boolean[]) as r (tenant, channel, every, whole)
left join opt_in_route o on o.tenant = r.tenant and o.channel = r.channel
where (o.waits_until is null or o.waits_until <= %(now)s) and (
  exists (select from opt_in_call c where c.tenant = r.tenant and c.channel = r.channel
          and (c.state in ('made', 'written') or (c.answered_at < %(now)s - %(result_within)s::interval and c.call = 'UpdateCustomerAttributes')))
  or (r.every is null or o.file_at is null or o.file_at + r.every <= %(now)s) and (
    r.whole or exists (select from subscription s where s.tenant = r.tenant and s.channel = r.channel and s.told is distinct from s.opted_in
                       and (s.again_at is null or s.again_at <= %(now)s))
  )
);

-- name: with_results
select distinct tenant from attribute_result where state = 'new' and tenant = any(%(tenants)s);

-- name: add_up
-- Triggered batches that are done: their counters go into one row for each day, template and outcome. How many there were. One whose
-- messages have all moved has nothing to add, and still tells when they began.
with due as (
  select tenant, id from batch
  where triggered and not added_up and done_at is not null and in_doubt = 0 and (total > 0 or begun_at is null) and done_at < clock_timestamp() - %(after)s::interval
    and tenant = any(%(tenants)s)
  order by done_at limit %(limit)s for update skip locked
), taken as (
  update batch b set added_up = true from due where b.tenant = due.tenant and b.id = due.id
  returning b.tenant, b.campaign, b.template_id, b.told, b.begun_at, b.accepted, b.skipped, b.refused
), counts as (
  select tenant, campaign, template_id, told, begun_at, 'accepted' as state, '' as reason, accepted as messages from taken where accepted > 0
  union all
  select t.tenant, t.campaign, t.template_id, t.told, t.begun_at, 'skipped', j.key, j.value::int from taken t, jsonb_each_text(t.skipped) j
  union all
  select t.tenant, t.campaign, t.template_id, t.told, t.begun_at, 'refused', j.key, j.value::int from taken t, jsonb_each_text(t.refused) j
), added as (
  insert into day_total as d (tenant, campaign, template_id, state, reason, messages, untold, begun_at)
  select tenant, campaign, template_id, state, reason, sum(messages), coalesce(sum(messages) filter (where told is null), 0), max(begun_at)
  from counts group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
  on conflict (tenant, campaign, template_id, state, reason) do update
    set messages = d.messages + excluded.messages, untold = d.untold + excluded.untold, begun_at = greatest(d.begun_at, excluded.begun_at)
)
select count(*)::int as batches from taken;

-- name: close_days
-- Days of triggered campaigns that are over, and of which nothing is open.
update campaign c set state = 'complete', closed_at = clock_timestamp()
from (
  select tenant, id from campaign
  where kind = 'triggered' and state = 'open' and planned_on < %(before)s and created_at < clock_timestamp() - interval '1 day' and tenant = any(%(tenants)s)
  limit %(limit)s for update skip locked
) d
where c.tenant = d.tenant and c.id = d.id
  and not exists (select from batch b where b.tenant = d.tenant and b.campaign = d.id and not b.added_up and b.done_at is null);

-- name: seen_worker
insert into worker (id, host, pid) values (%(id)s, %(host)s, %(pid)s)
on conflict (id) do update set seen_at = clock_timestamp()
returning extract(epoch from clock_timestamp())::float8 as now;

-- name: clock
select extract(epoch from clock_timestamp())::float8 as now;

-- name: gone_worker
-- Nobody needs to be told of its clock any more.
with gone as (delete from worker where id = %(id)s)
delete from problem where kind = 'clock_off' and tenant is null and subject = %(id)s;

-- name: forget_workers
with gone as (delete from worker where seen_at < clock_timestamp() - interval '10 minutes' returning id)
delete from problem p using gone where p.kind = 'clock_off' and p.tenant is null and p.subject = gone.id;

-- name: reporting_workers
select count(*) as workers from worker where seen_at > clock_timestamp() - %(silence)s::interval;

-- name: started_worker
select exists (
  select from worker where host = %(host)s and pid = %(pid)s and started_at > clock_timestamp() - %(within)s::interval
) as started;

-- name: renew_leases
-- Of these batches those that nobody has locked just now; which. To hold some and wait for others would be a deadlock with whoever writes
-- several of them, in an order of its own.
with free as (
  select b.tenant, b.id from batch b
  join unnest(%(tenants)s::int[], %(batches)s::bigint[]) as h (tenant, id) on b.tenant = h.tenant and b.id = h.id
  where b.owner = %(owner)s and b.done_at is null for update of b skip locked
)
update batch b set lease_until = clock_timestamp() + %(lease)s::interval
from free where b.tenant = free.tenant and b.id = free.id
returning b.tenant, b.id;

-- name: renew_lease
update batch set lease_until = clock_timestamp() + %(lease)s::interval
where tenant = %(tenant)s and id = %(batch)s and owner = %(owner)s and done_at is null;

-- name: problems
select p.kind, t.name as tenant, nullif(p.channel, '') as channel, nullif(p.campaign_id, '') as campaign_id, p.since, p.problem, p.mend
from problem p left join tenant t on t.id = p.tenant order by p.since, p.id;

-- name: measured_campaigns
-- Campaigns that are not over, or ended lately, from batch counters alone; such days of a triggered one together, in the state of the newest.
with whole as (
  select t.id as tenant, t.name, c.channel, c.kind, c.campaign_id, array_agg(c.id) as days, (array_agg(c.state order by c.planned_on desc))[1] as state
  from tenant t join campaign c on c.tenant = t.id
  where t.name = any(%(tenants)s) and c.announced and (c.closed_at is null or c.closed_at > clock_timestamp() - %(lately)s::interval)
  group by t.id, t.name, c.channel, c.kind, c.campaign_id
)
select w.name as tenant, w.channel, w.kind, w.state, coalesce(h.paused_at is not null or h.stopped_at is not null, false) as channel_paused,
       exists (select from pass where tenant = w.tenant and campaign = any(w.days) and state <> 'done') as fetching,
       b.total, b.begun, b.accepted, b.in_doubt, b.open, b.held, b.next_due_at,
       coalesce(s.reasons, '{}') as skipped, coalesce(r.reasons, '{}') as refused
from whole w left join channel h on h.tenant = w.tenant and h.name = w.channel
cross join lateral (
  select coalesce(sum(total), 0)::int as total, coalesce(sum(begun), 0)::int as begun, coalesce(sum(accepted), 0)::int as accepted,
         coalesce(sum(in_doubt), 0)::int as in_doubt, count(*) filter (where done_at is null) as open,
         count(*) filter (where done_at is null and template_version is null) as held, min(due_at) filter (where done_at is null) as next_due_at
  from counted_batch where tenant = w.tenant and campaign = any(w.days)
) b
cross join lateral (
  select jsonb_object_agg(k.key, k.n) as reasons from (
    select j.key, sum(j.value::int) as n from counted_batch b, jsonb_each_text(b.skipped) j
    where b.tenant = w.tenant and b.campaign = any(w.days) and b.skipped <> '{}' group by j.key
  ) k
) s
cross join lateral (
  select jsonb_object_agg(k.key, k.n) as reasons from (
    select j.key, sum(j.value::int) as n from counted_batch b, jsonb_each_text(b.refused) j
    where b.tenant = w.tenant and b.campaign = any(w.days) and b.refused <> '{}' group by j.key
  ) k
) r;

-- name: measured_lateness
-- How late the oldest batch is that could go; of each channel.
select t.name as tenant, h.name as channel, coalesce(max(extract(epoch from %(now)s - b.due_at)), 0)::float8 as seconds
from tenant t join channel h on h.tenant = t.id
left join (batch b join campaign c on c.tenant = b.tenant and c.id = b.campaign and c.state = 'open')
  on b.tenant = h.tenant and b.channel = h.name and b.done_at is null and b.template_version is not null and b.due_at <= %(now)s and h.paused_at is null and h.stopped_at is null
where t.name = any(%(tenants)s) group by 1, 2;

-- name: measured_notifications
select t.name as tenant, count(n.id) as waiting from tenant t left join notification n on n.tenant = t.id and n.state = 'new'
where t.name = any(%(tenants)s) group by 1;

-- name: measured_callbacks
select t.name as tenant, count(c.id) as waiting from tenant t left join callback c on c.tenant = t.id and c.state = 'new'
where t.name = any(%(tenants)s) group by 1;

-- name: measured_events
-- Messages with an event of a kind; of campaigns that are not over, or ended lately.
select t.name as tenant, c.channel, e.kind, sum(e.messages)::bigint as messages
from tenant t join campaign c on c.tenant = t.id join counted_event e on e.tenant = c.tenant and e.campaign = c.id
where t.name = any(%(tenants)s) and (c.closed_at is null or c.closed_at > clock_timestamp() - %(lately)s::interval) group by 1, 2, 3;

-- name: measured_swept
-- Campaigns that a sweep found and no notification announced; that are not over, or ended lately.
select t.name as tenant, c.channel, count(*) as campaigns from tenant t join campaign c on c.tenant = t.id
where t.name = any(%(tenants)s) and c.announced and (c.closed_at is null or c.closed_at > clock_timestamp() - %(lately)s::interval)
  and (select bool_and(starts_with(p.occasion, 'sweep, ')) from pass p where p.tenant = c.tenant and p.campaign = c.id)
group by 1, 2;

-- name: measured_jobs
select args->>'tenant' as tenant, task_name as job, count(*) as waiting from procrastinate_jobs
where status = 'todo' and args->>'tenant' = any(%(tenants)s) group by 1, 2;

-- name: measured_problems
select coalesce(t.name, '') as tenant, p.kind, count(*) as problems from problem p left join tenant t on t.id = p.tenant
where t.name is null or t.name = any(%(tenants)s) group by 1, 2;

-- name: measured_reports
-- Calls of reports by their state; of campaigns that are not over, or ended lately.
select t.name as tenant, r.state, count(*) as batches
from tenant t join campaign c on c.tenant = t.id join report_batch r on r.tenant = c.tenant and r.campaign = c.id
where t.name = any(%(tenants)s) and (c.closed_at is null or c.closed_at > clock_timestamp() - %(lately)s::interval) group by 1, 2;

-- name: alone_at_forgetting
-- False where somebody else is at it; nobody comes before the transaction ends. Rows are few and named, so indexes find them.
select pg_try_advisory_xact_lock(hashtext('forget by age'), 0) as alone,
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);

-- name: forget_batches
-- Addresses, personalization and providers' words of batches that are done that long: of one, or of small ones together. Doubts keep theirs.
with oldest as (
  select tenant, id, total, done_at from batch
  where done_at < %(before)s and not forgotten and in_doubt = 0 order by done_at limit 200 for update skip locked
), due as materialized (
  select tenant, id from (select o.*, sum(total) over (order by done_at, tenant, id) as so_far from oldest o) o
  where so_far <= %(most)s or so_far = total
), done as (
  update batch b set forgotten = true from due where b.tenant = due.tenant and b.id = due.id
), theirs as materialized (
  select due.tenant, m.planned_on, m.id from due
  cross join lateral (select planned_on, id from message where tenant = due.tenant and batch = due.id offset 0) m
), tags as (
  delete from personalization p using theirs t where p.tenant = t.tenant and p.planned_on = t.planned_on and p.message = t.id
), words as (
  update attempt a set detail = '' from theirs t where a.tenant = t.tenant and a.planned_on = t.planned_on and a.message = t.id and a.detail <> ''
), names as (
  update outcome o set provider_id = null from theirs t
  where o.tenant = t.tenant and o.planned_on = t.planned_on and o.message = t.id and o.provider_id is not null
), addresses as (
  update message m set address = null from theirs t
  where m.tenant = t.tenant and m.planned_on = t.planned_on and m.id = t.id and m.address is not null
)
select count(*)::int as batches from due;

-- name: empty_old_notifications
with old as (
  select tenant, id from notification where received_at < %(before)s and state <> 'new' and body <> '' limit %(most)s for update skip locked
)
update notification n set body = '' from old where n.tenant = old.tenant and n.id = old.id;

-- name: drop_old_notifications
with old as (
  select tenant, id from notification where received_at < %(before)s and state <> 'new' limit %(most)s for update skip locked
)
delete from notification n using old where n.tenant = old.tenant and n.id = old.id;

-- name: empty_old_callbacks
with old as (
  select tenant, channel, key from callback where received_at < %(before)s and state <> 'new' and body <> '' limit %(most)s for update skip locked
)
update callback c set body = '' from old where c.tenant = old.tenant and c.channel = old.channel and c.key = old.key;

-- name: drop_old_callbacks
with old as (
  select tenant, channel, key from callback where received_at < %(before)s and state <> 'new' limit %(most)s for update skip locked
)
delete from callback c using old where c.tenant = old.tenant and c.channel = old.channel and c.key = old.key;

-- name: drop_old_attribute_results
with old as (
  select tenant, id from attribute_result where received_at < %(before)s and state <> 'new' limit %(most)s for update skip locked
)
delete from attribute_result r using old where r.tenant = old.tenant and r.id = old.id;

-- name: let_campaigns_go
-- Campaigns of which every day is over that long, told for the last time, and in doubt of nothing. Nobody is shown them from here on, and
-- their ids are free; their rows go piece by piece.
with over as (
  select tenant, channel, kind, campaign_id, array_agg(id) as days from campaign where not going
  group by tenant, channel, kind, campaign_id
  having max(planned_on) < %(day)s
    and bool_and(state in ('complete', 'cancelled') and report_at is null and coalesce(closed_at, created_at) < %(before)s)
), due as (
  select o.tenant, o.days from over o
  where not exists (select from pass p where p.tenant = o.tenant and p.campaign = any(o.days) and p.state <> 'done')
    and not exists (select from batch b where b.tenant = o.tenant and b.campaign = any(o.days) and (b.done_at is null or b.in_doubt > 0))
    and not exists (select from report_batch r where r.tenant = o.tenant and r.campaign = any(o.days) and r.state in ('ready', 'sent', 'in_doubt'))
  limit 100
)
update campaign c set going = true, announced = false, campaign_id = 'gone ' || c.campaign_id
from due where c.tenant = due.tenant and c.id = any(due.days);

-- name: drop_batches
-- Batches of campaigns that go, with all that is known of their messages.
with first as (
  select b.tenant, b.id, b.total from (select tenant, id from campaign where going order by tenant, id limit 10) c
  join batch b on b.tenant = c.tenant and b.campaign = c.id limit 200
), due as materialized (
  select tenant, id from (select s.*, sum(total) over (order by tenant, id) as so_far from first s) s
  where so_far <= %(most)s or so_far = total
), theirs as materialized (
  select due.tenant, m.planned_on, m.id from due
  cross join lateral (select planned_on, id from message where tenant = due.tenant and batch = due.id offset 0) m
), tags as (
  delete from personalization p using theirs t where p.tenant = t.tenant and p.planned_on = t.planned_on and p.message = t.id
), words as (
  delete from attempt a using theirs t where a.tenant = t.tenant and a.planned_on = t.planned_on and a.message = t.id
), outcomes as (
  delete from outcome o using theirs t where o.tenant = t.tenant and o.planned_on = t.planned_on and o.message = t.id
), facts as (
  delete from event e using theirs t where e.tenant = t.tenant and e.planned_on = t.planned_on and e.message = t.id
), told as (
  delete from delivery_event d using theirs t where d.tenant = t.tenant and d.planned_on = t.planned_on and d.message = t.id
), messages as (
  delete from message m using theirs t where m.tenant = t.tenant and m.planned_on = t.planned_on and m.id = t.id
), batches as (
  delete from batch b using due where b.tenant = due.tenant and b.id = due.id
)
select count(*)::int as batches from due;

-- name: drop_campaign
-- One that goes and has no batch any more.
with due as materialized (
  select tenant, id from campaign c where going and not exists (select from batch b where b.tenant = c.tenant and b.campaign = c.id)
  order by tenant, id limit 1
), passes as materialized (
  select p.tenant, p.id from due join pass p on p.tenant = due.tenant and p.campaign = due.id
), pages as (
  delete from page g using passes p where g.tenant = p.tenant and g.pass = p.id
), read as (
  delete from pass p using due where p.tenant = due.tenant and p.campaign = due.id
), totals as (
  delete from day_total d using due where d.tenant = due.tenant and d.campaign = due.id
), counted as (
  delete from counted_event e using due where e.tenant = due.tenant and e.campaign = due.id
), told as (
  delete from told_metric m using due where m.tenant = due.tenant and m.campaign = due.id
), reports as (
  delete from report_batch r using due where r.tenant = due.tenant and r.campaign = due.id
)
delete from campaign c using due where c.tenant = due.tenant and c.id = due.id;
