-- What Optimove is told: frozen, numbered, once; every statement is one tenant's.

-- name: alone
-- Whoever else freezes or claims calls of this campaign waits until the transaction ends.
select pg_advisory_xact_lock(%(tenant)s, hashtext('report ' || %(campaign)s::text));

-- name: report_by
-- Where it is not known when Optimove is told, it is told by then.
update campaign set report_at = %(at)s where tenant = %(tenant)s and id = %(campaign)s and report_at is null;

-- name: report_next
update campaign set report_at = %(at)s where tenant = %(tenant)s and id = %(campaign)s;

-- name: standing
select c.channel, c.campaign_id, c.report_at as next_at,
       (select max(b.begun_at) from counted_batch b where b.tenant = c.tenant and b.campaign = c.id) as handed_off_at
from campaign c where c.tenant = %(tenant)s and c.id = %(campaign)s;

-- name: take_told
-- Whole batches that are done and of which nothing was told yet, what is over in batches that are not, and what changed since
-- others were told. How many of any.
with days as (
  update day_total set untold = 0 where tenant = %(tenant)s and campaign = %(campaign)s and untold > 0
), batches as (
  update batch set told = %(report)s
  where tenant = %(tenant)s and campaign = %(campaign)s and done_at is not null and told is null
    and (accepted > 0 or refused <> '{}')
  returning id
), events as (
  update event e set told = %(report)s from tellable t
  where t.tenant = %(tenant)s and t.campaign = %(campaign)s
    and e.tenant = t.tenant and e.planned_on = t.planned_on and e.message = t.message and e.kind = t.kind
  returning e.message
), unfinished as (
  insert into event (tenant, planned_on, message, campaign, kind, at, told)
  select o.tenant, o.planned_on, o.message, b.campaign, case o.state when 'accepted' then 'sent' else 'dropped' end, o.at, %(report)s
  from batch b
  join message m on m.tenant = b.tenant and m.batch = b.id
  join outcome o on o.tenant = m.tenant and o.planned_on = m.planned_on and o.message = m.id
  where b.tenant = %(tenant)s and b.campaign = %(campaign)s and not b.added_up and b.done_at is null and (b.accepted > 0 or b.refused <> '{}')
    and o.state in ('accepted', 'refused')
  on conflict do nothing
  returning message
)
select (select count(*) from batches) + (select count(*) from events) + (select count(*) from unfinished) as taken;

-- name: report_number
select nextval(pg_get_serial_sequence('report_batch', 'id')) as id where %(tenant)s is not null;

-- name: told_customers
-- What happened to whom, in the order in which calls are cut; nobody of whom the same was told before.
select told.kind as event, told.template_id, told.app,
       (told.at at time zone 'UTC')::date as on_date, told.recipient_group, told.customer_id, told.at
from (
  select m.id, m.template_id, v.app, coalesce(m.recipient_group, 1) as recipient_group, m.customer_id, k.kind, o.at
  from batch b
  left join template_version v
    on v.tenant = b.tenant and v.channel = b.channel and v.template_id = b.template_id and v.version = b.template_version
  join message m on m.tenant = b.tenant and m.batch = b.id
  join outcome o on o.tenant = m.tenant and o.planned_on = m.planned_on and o.message = m.id
  cross join lateral (select case o.state when 'accepted' then 'sent' else 'dropped' end as kind) k
  where b.tenant = %(tenant)s and b.campaign = %(campaign)s and b.told = %(report)s and o.state in ('accepted', 'refused')
    and not exists (select from event e where e.tenant = m.tenant and e.planned_on = m.planned_on and e.message = m.id and e.kind = k.kind)
  union all
  select m.id, m.template_id, v.app, coalesce(m.recipient_group, 1), m.customer_id, e.kind,
         case when (o.state::text, e.kind) in (('accepted', 'sent'), ('refused', 'dropped')) then o.at else e.at end
  from event e
  join message m on m.tenant = e.tenant and m.planned_on = e.planned_on and m.id = e.message
  left join batch b on b.tenant = m.tenant and b.id = m.batch
  left join template_version v
    on v.tenant = b.tenant and v.channel = b.channel and v.template_id = b.template_id and v.version = b.template_version
  left join outcome o on o.tenant = e.tenant and o.planned_on = e.planned_on and o.message = e.message
  where e.tenant = %(tenant)s and e.campaign = %(campaign)s and e.told = %(report)s
) told
where not starts_with(told.customer_id, 'raw:') -- of whom Optimove has no name
  and not starts_with(told.customer_id, 'erased:') -- who counts, and is nobody any more
order by 1 desc, 2, 3, 4, 5, told.id;

-- name: told_totals
-- By template and event: how many there are by now of what was taken, and how many Optimove was told of.
with taken as (
  select template_id, 'sent' as event, accepted as total from counted_batch
  where tenant = %(tenant)s and campaign = any(%(campaigns)s) and told is not null
  union all
  select template_id, 'dropped', (select coalesce(sum(value::int), 0) from jsonb_each_text(refused)) from counted_batch
  where tenant = %(tenant)s and campaign = any(%(campaigns)s) and told is not null
  union all
  select m.template_id, e.kind, count(*)
  from event e
  join message m on m.tenant = e.tenant and m.planned_on = e.planned_on and m.id = e.message
  join batch b on b.tenant = m.tenant and b.id = m.batch
  left join outcome o on o.tenant = e.tenant and o.planned_on = e.planned_on and o.message = e.message
  where e.tenant = %(tenant)s and e.campaign = any(%(campaigns)s) and e.told is not null
    and (e.kind not in ('sent', 'dropped') or (e.kind = 'sent' and o.state = 'accepted' and b.told is null)
         or (e.kind = 'dropped' and o.state = 'refused' and b.told is null)
         or (e.kind = 'dropped' and o.state = 'accepted' and exists (
           select from delivery_event d where d.tenant = e.tenant and d.planned_on = e.planned_on and d.message = e.message
             and d.kind in ('failed', 'blocked'))))
  group by 1, 2
), totals as (
  select template_id, event, sum(total)::int as total from taken where template_id is not null group by 1, 2
)
select template_id, event, coalesce(t.total, 0) as total, coalesce(k.told, 0) as told
from totals t
full join (select template_id, event, told from told_metric where tenant = %(tenant)s and campaign = %(told_of)s) k using (template_id, event)
where coalesce(t.total, 0) > 0 or coalesce(k.told, 0) > 0
order by template_id, event desc;

-- name: keep_told
insert into told_metric (tenant, campaign, template_id, event, told)
select %(tenant)s, %(campaign)s, t.template_id, t.event, t.told
from unnest(%(templates)s::int[], %(events)s::text[], %(told)s::int[]) as t (template_id, event, told)
on conflict (tenant, campaign, template_id, event) do update set told = excluded.told;

-- name: freeze
insert into report_batch (tenant, campaign, report, call, event, customers, body, additive, oldest_at, state)
values (%(tenant)s, %(campaign)s, %(report)s, %(call)s, %(event)s, %(customers)s, %(body)s, %(additive)s, %(oldest_at)s, %(state)s)
returning id;

-- name: claim_report_batch
-- The next frozen batch that nobody is sending. Of totals the later must not be overtaken by the earlier.
update report_batch set state = 'sent', sent_at = clock_timestamp(), made_at = null, worker = %(worker)s
where tenant = %(tenant)s and id = (
  select r.id from report_batch r
  where r.tenant = %(tenant)s and r.campaign = %(campaign)s and r.state = 'ready' and r.call = any(%(calls)s)
    and (r.additive or not exists (
      select from report_batch o where o.tenant = r.tenant and o.campaign = r.campaign and o.call = r.call and o.state = 'sent' and not o.additive
    ))
  order by r.id limit 1 for update skip locked
)
returning id, call, body, additive;

-- name: make_report_batch
update report_batch set made_at = clock_timestamp() where tenant = %(tenant)s and id = %(id)s;

-- name: set_too_late
-- Not sent yet, or to be sent again, and its first event is older than that.
update report_batch set state = 'too_late'
where tenant = %(tenant)s and campaign = %(campaign)s and state = 'ready' and oldest_at < %(before)s
returning id, call, customers;

-- name: settle_report_batch
update report_batch set state = %(state)s, answer = %(answer)s,
  answered_at = case when %(state)s = 'answered' then clock_timestamp() end
where tenant = %(tenant)s and id = %(id)s and state in ('sent', 'in_doubt');

-- name: lost_report_batches
-- Claimed longer ago than any call takes: whoever sent them is gone. Or by this worker, which does not hold them any more.
select id, call, additive and made_at is not null as maybe_counted from report_batch
where tenant = %(tenant)s and campaign = %(campaign)s and state = 'sent'
  and (sent_at < clock_timestamp() - %(silence)s::interval or (worker = %(worker)s and id <> all(%(held)s::bigint[])))
for update skip locked;

-- name: under_way
select exists (select from report_batch where tenant = %(tenant)s and campaign = %(campaign)s and state = 'sent') as under_way;

-- name: report_batches_of_worker
select id, call, additive and made_at is not null as maybe_counted from report_batch where tenant = %(tenant)s and state = 'sent' and worker = %(worker)s for update;

-- name: resolve_report_batch
-- What an operator says of one in doubt; the campaign that it is about.
update report_batch set state = %(state)s, answer = %(answer)s, answered_at = case when %(state)s = 'answered' then clock_timestamp() end
where tenant = %(tenant)s and id = %(id)s and state = 'in_doubt'
returning campaign;

-- name: reported
-- Of these rows together: customers told as sent to, by one call or another of a report; an older batch is a report by itself.
with by_call as (
  select coalesce(report, id) as report, call, sum(customers) as told from report_batch
  where tenant = %(tenant)s and campaign = any(%(campaigns)s) and state = 'answered' and event = 'sent' group by 1, 2
), by_report as (
  select max(told) as told from by_call group by report
)
select (select coalesce(sum(told), 0)::int from by_report) as accepted,
       count(*) filter (where state = 'in_doubt')::int as in_doubt_batches, count(*) filter (where state in ('ready', 'sent'))::int as open,
       count(*) filter (where state = 'refused')::int as refused, coalesce(sum(customers) filter (where state = 'too_late'), 0)::int as too_late,
       max(answered_at) as last_at
from report_batch where tenant = %(tenant)s and campaign = any(%(campaigns)s);

-- name: untold
-- Of these rows those of which something may not be told.
select c.campaign from unnest(%(campaigns)s::bigint[]) as c (campaign)
where exists (
  select from counted_batch b where b.tenant = %(tenant)s and b.campaign = c.campaign and b.told is null and (b.accepted > 0 or b.refused <> '{}')
) or exists (select from tellable t where t.tenant = %(tenant)s and t.campaign = c.campaign)
order by 1;

-- name: untold_facts
-- How many are accepted, refused or have had something else happen of which no report tells.
select (
  (select coalesce(sum(accepted + (select coalesce(sum(value::int), 0) from jsonb_each_text(refused))), 0)
   from counted_batch where tenant = %(tenant)s and campaign = %(campaign)s and told is null)
  - (select count(*) from event e
     join message m on m.tenant = e.tenant and m.planned_on = e.planned_on and m.id = e.message
     join batch b on b.tenant = m.tenant and b.id = m.batch
     join outcome o on o.tenant = e.tenant and o.planned_on = e.planned_on and o.message = e.message
     where e.tenant = %(tenant)s and e.campaign = %(campaign)s and e.told is not null and b.told is null
       and (o.state::text, e.kind) in (('accepted', 'sent'), ('refused', 'dropped')))
  + (select count(*) from tellable t
     join message m on m.tenant = t.tenant and m.planned_on = t.planned_on and m.id = t.message
     join batch b on b.tenant = m.tenant and b.id = m.batch
     where t.tenant = %(tenant)s and t.campaign = %(campaign)s
       and (b.told is not null or (t.state::text, t.kind) not in (('accepted', 'sent'), ('refused', 'dropped'))))
)::int as untold;
