-- What Optimove is told: frozen, numbered, once; every statement is one tenant's.

-- name: take_told
-- Whole batches that are done and of which nothing was told yet, and what changed since others were told. How many of either.
with batches as (
  update batch set told = %(report)s
  where tenant = %(tenant)s and campaign = %(campaign)s and done_at is not null and told is null
    and (accepted > 0 or refused <> '{}')
  returning id
), events as (
  update event set told = %(report)s where tenant = %(tenant)s and campaign = %(campaign)s and told is null returning message
)
select (select count(*) from batches) + (select count(*) from events) as taken;

-- name: report_number
select nextval(pg_get_serial_sequence('report_batch', 'id')) as id where %(tenant)s is not null;

-- name: told_customers
-- Who was sent to and who was refused, in the order in which calls are cut; nobody of whom the same was told before.
select case told.state when 'accepted' then 'sent' else 'dropped' end as event, told.template_id, (told.at at time zone 'UTC')::date as on_date, told.customer_id
from (
  select m.id, m.template_id, m.customer_id, o.state::text as state, o.at
  from batch b
  join message m on m.tenant = b.tenant and m.batch = b.id
  join outcome o on o.tenant = m.tenant and o.planned_on = m.planned_on and o.message = m.id
  where b.tenant = %(tenant)s and b.campaign = %(campaign)s and b.told = %(report)s and o.state in ('accepted', 'refused')
    and not exists (select from event e where e.tenant = m.tenant and e.planned_on = m.planned_on and e.message = m.id and e.kind = o.state::text)
  union all
  select m.id, m.template_id, m.customer_id, e.kind, o.at
  from event e
  join message m on m.tenant = e.tenant and m.planned_on = e.planned_on and m.id = e.message
  join outcome o on o.tenant = e.tenant and o.planned_on = e.planned_on and o.message = e.message
  where e.tenant = %(tenant)s and e.campaign = %(campaign)s and e.told = %(report)s
) told
order by 1 desc, 2, 3, told.id;

-- name: told_totals
-- By template, over everything told so far.
select template_id, sum(accepted)::int as sent, sum((select coalesce(sum(value::int), 0) from jsonb_each_text(refused)))::int as dropped
from batch where tenant = %(tenant)s and campaign = %(campaign)s and told is not null group by template_id order by template_id;

-- name: freeze
insert into report_batch (tenant, campaign, call, event, customers, body)
values (%(tenant)s, %(campaign)s, %(call)s, %(event)s, %(customers)s, %(body)s);

-- name: claim_report_batch
-- The next frozen batch that nobody is sending.
update report_batch set state = 'sent', sent_at = clock_timestamp(), worker = %(worker)s
where tenant = %(tenant)s and id = (
  select id from report_batch where tenant = %(tenant)s and campaign = %(campaign)s and state = 'ready' order by id limit 1 for update skip locked
)
returning id, call, body;

-- name: settle_report_batch
update report_batch set state = %(state)s, answer = %(answer)s,
  answered_at = case when %(state)s = 'answered' then clock_timestamp() end
where tenant = %(tenant)s and id = %(id)s and state in ('sent', 'in_doubt');

-- name: lost_report_batches
-- Claimed longer ago than any call takes: whoever sent them is gone.
select id, call from report_batch
where tenant = %(tenant)s and campaign = %(campaign)s and state = 'sent' and sent_at < clock_timestamp() - %(silence)s::interval
for update skip locked;

-- name: under_way
select exists (select from report_batch where tenant = %(tenant)s and campaign = %(campaign)s and state = 'sent') as under_way;

-- name: report_batches_of_worker
select id, call from report_batch where tenant = %(tenant)s and state = 'sent' and worker = %(worker)s for update;

-- name: resolve_report_batch
-- What an operator says of one in doubt; the campaign that it is about.
update report_batch set state = %(state)s, answer = %(answer)s, answered_at = case when %(state)s = 'answered' then clock_timestamp() end
where tenant = %(tenant)s and id = %(id)s and state = 'in_doubt'
returning campaign;

-- name: reported
select coalesce(sum(customers) filter (where state = 'answered' and event = 'sent' and call = %(call)s), 0)::int as accepted,
       count(*) filter (where state = 'in_doubt')::int as in_doubt_batches, count(*) filter (where state in ('ready', 'sent'))::int as open,
       count(*) filter (where state = 'refused')::int as refused, max(answered_at) as last_at
from report_batch where tenant = %(tenant)s and campaign = %(campaign)s;

-- name: untold
select exists (select from batch where tenant = %(tenant)s and campaign = %(campaign)s and done_at is not null and told is null
  and (accepted > 0 or refused <> '{}'))
  or exists (select from event where tenant = %(tenant)s and campaign = %(campaign)s and told is null) as untold;
