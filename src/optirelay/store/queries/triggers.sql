-- Triggered campaigns, a row for each day, and their messages; every statement is one tenant's.

-- name: hear
-- Opt-outs, campaigns cancelled and paused, and templates of the channel that are committed are seen from here on; none is committed
-- before the end of the transaction.
select pg_advisory_xact_lock_shared(%(tenant)s, hashtext('days of campaigns')), pg_advisory_xact_lock_shared(%(tenant)s, hashtext('opt-outs')),
       pg_advisory_xact_lock_shared(%(tenant)s, hashtext(%(channel)s));

-- name: days
-- Rows of these campaigns on these days; nobody closes one before the end of the transaction.
select c.id, c.campaign_id, c.planned_on, c.state, c.report_at, p.id as pass_
from campaign c join pass p on p.tenant = c.tenant and p.campaign = c.id
where c.tenant = %(tenant)s and c.channel = %(channel)s and c.kind = 'triggered'
  and (c.campaign_id, c.planned_on) in (select * from unnest(%(campaign_ids)s::text[], %(days)s::date[]))
order by c.id for share of c;

-- name: add_days
-- A day begins as the campaign stands: cancelled on any channel by Optimove, or this one of it by the operator, or paused.
insert into campaign (tenant, channel, kind, campaign_id, planned_on, state, closed_at, cancelled_by_operator, report_at)
select %(tenant)s, %(channel)s, 'triggered', d.campaign_id, d.day, s.state, case when s.state = 'cancelled' then clock_timestamp() end,
       s.state = 'cancelled' and not s.by_optimove, %(report_at)s
from (select distinct * from unnest(%(campaign_ids)s::text[], %(days)s::date[]) as d (campaign_id, day)) d
cross join lateral (
  select coalesce(bool_or(c.state = 'cancelled' and not c.cancelled_by_operator), false) as by_optimove,
         case when bool_or(c.state = 'cancelled' and (not c.cancelled_by_operator or (c.channel = %(channel)s and c.kind = 'triggered'))) then 'cancelled'
              when bool_or(c.state = 'paused' and c.kind = 'triggered' and c.channel = %(channel)s) then 'paused' else 'open' end as state
  from campaign c where c.tenant = %(tenant)s and c.campaign_id = d.campaign_id
) s
order by d.campaign_id, d.day
on conflict do nothing;

-- name: add_passes
insert into pass (tenant, campaign, number, occasion, state)
select tenant, id, 1, 'triggered', 'done' from campaign
where tenant = %(tenant)s and channel = %(channel)s and kind = 'triggered'
  and (campaign_id, planned_on) in (select * from unnest(%(campaign_ids)s::text[], %(days)s::date[]))
order by id on conflict do nothing;

-- name: add_messages
-- Those that the ledger did not have; a twin that somebody else just adds is waited for.
insert into message (tenant, planned_on, id, campaign, batch, pass, template_id, customer_id, address, send_at, occurrence, trigger_name, action_id)
select %(tenant)s, n.planned_on, n.id, n.campaign, n.batch, n.pass, n.template_id, n.customer_id, n.address, n.send_at, decode(n.occurrence, 'hex'),
       n.trigger_name, n.action_id
from jsonb_to_recordset(%(messages)s::jsonb) as n (planned_on date, id bigint, campaign bigint, batch bigint, pass bigint, template_id int,
  customer_id text, address text, send_at timestamptz, occurrence text, trigger_name text, action_id text)
order by n.campaign, n.customer_id, n.template_id, n.occurrence
on conflict do nothing
returning id;

-- name: look
-- Of each of these messages: who its customer is where they were erased, what they said of the channel, whether nobody writes to its address, its template's version, and the
-- number of a batch that it may be the first of. And whether the channel is open.
select i.place, nextval(pg_get_serial_sequence('batch', 'id')) as batch,
       case when (select exists (select from erased where tenant = %(tenant)s)) then (
         select 'erased:' || encode(e.hash, 'hex') from erased e where e.tenant = %(tenant)s and e.hash = sha256(
           (select link_key from tenant where id = %(tenant)s) || convert_to('customer ' || i.customer_id, 'UTF8'))
       ) end as erased,
       (select s.opted_in from subscription s
        where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = i.customer_id) as opted_in,
       ((select true from suppression s
        where s.tenant = %(tenant)s and s.address = lower(i.address) and s.channel in ('', %(channel)s) limit 1) is not null
        or case when (select exists (select from suppression where tenant = %(tenant)s and starts_with(address, 'erased:'))) then exists (
          select from suppression s where s.tenant = %(tenant)s and s.channel in ('', %(channel)s) and s.address = 'erased:' || encode(sha256(
            (select link_key from tenant where id = %(tenant)s) || convert_to('address ' || lower(i.address), 'UTF8')), 'hex')
        ) else false end) as suppressed,
       (select t.version from template t
        where t.tenant = %(tenant)s and t.channel = %(channel)s and t.template_id = i.template_id) as template_version,
       h.open
from (
  select paused_at is null and stopped_at is null and (waits_until is null or waits_until < clock_timestamp()) as open
  from channel where tenant = %(tenant)s and name = %(channel)s
) h,
jsonb_to_recordset(%(people)s::jsonb) as i (place int, customer_id text, address text, template_id int)
order by i.place;

-- name: add
-- Batches of messages that are added, of which somebody is the owner where some start; what is personal of their messages, or why it goes to
-- nobody; and how much
-- was received of each day, the left side of the balance: a row for each connection, because they would wait for each other's.
with personal as (
  insert into personalization (tenant, planned_on, message, tags, promo_codes)
  select %(tenant)s, n.planned_on, n.message, n.tags, n.promo_codes
  from jsonb_to_recordset(%(personal)s::jsonb) as n (planned_on date, message bigint, tags jsonb, promo_codes jsonb)
), skipped as (
  insert into outcome (tenant, planned_on, message, state, reason, at)
  select %(tenant)s, n.planned_on, n.message, 'skipped', n.reason, %(now)s
  from jsonb_to_recordset(%(skips)s::jsonb) as n (planned_on date, message bigint, reason text)
), counted as (
  insert into page (tenant, pass, reading, skip, received, new, known, changed, repeated, unreadable)
  select %(tenant)s, n.pass, 1, pg_backend_pid(), n.received, n.new, n.received - n.new, 0, 0, n.unreadable
  from jsonb_to_recordset(%(received)s::jsonb) as n (pass bigint, received int, new int, unreadable int)
  order by n.pass
  on conflict (tenant, pass, reading, skip) do update
    set received = page.received + excluded.received, new = page.new + excluded.new, known = page.known + excluded.known,
        unreadable = page.unreadable + excluded.unreadable
)
insert into batch (tenant, triggered, id, campaign, channel, template_id, template_version, due_at, owner, lease_until, fence, started, total, begun,
                   begun_at, skipped, done_at)
overriding system value
select %(tenant)s, true, n.id, n.campaign, %(channel)s, n.template_id, n.template_version, n.due_at, case when n.begun > 0 then %(owner)s end,
       case when n.begun > 0 then clock_timestamp() + %(lease)s::interval end, 1, n.started, n.total, n.begun,
       case when n.begun > 0 then %(now)s::timestamptz end, n.skipped, case when n.done then clock_timestamp() end
from jsonb_to_recordset(%(batches)s::jsonb) as n (id bigint, campaign bigint, template_id int, template_version int, due_at timestamptz,
  started bigint, total int, begun int, skipped jsonb, done bool);
