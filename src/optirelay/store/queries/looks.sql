-- What listings read; every statement is one tenant's.

-- name: messages
-- Of all days of a triggered campaign; of somebody erased those that are to the keyed hash of their id.
select s.planned_on, s.id, s.channel_name as channel, s.campaign_id, s.kind, s.customer_id, s.template_id,
       (select v.app from batch b join template_version v
          on v.tenant = b.tenant and v.channel = b.channel and v.template_id = b.template_id and v.version = b.template_version
        where b.tenant = m.tenant and b.id = m.batch) as app_id,
       m.trigger_name as trigger, m.action_id,
       s.send_at, s.state, s.reason, s.at, s.provider_id,
       (select d.kind from delivery_event d where d.tenant = s.tenant and d.planned_on = s.planned_on and d.message = s.id and d.rank > 0
        order by d.rank desc limit 1) as furthest
from (
  select v.*, c.channel as channel_name, c.campaign_id, c.kind from campaign c
  join message_state v on v.tenant = c.tenant and v.planned_on = c.planned_on and v.campaign = c.id
  where c.tenant = %(tenant)s and c.campaign_id = %(campaign_id)s and (%(channel)s::text is null or c.channel = %(channel)s)
    and (%(kind)s::text is null or c.kind = %(kind)s) and v.customer_id in (
      %(customer_id)s,
      (select 'erased:' || encode(sha256(t.link_key || convert_to('customer ' || %(customer_id)s::text, 'UTF8')), 'hex') from tenant t where t.id = %(tenant)s)
    )
) s join message m on m.tenant = s.tenant and m.planned_on = s.planned_on and m.id = s.id
order by s.id;

-- name: personalization
-- What a message is made of; the newest of its campaign to the customer.
select c.kind, m.address, coalesce(p.tags, '{}') as tags, p.promo_codes, m.trigger_name as trigger, m.action_id
from campaign c
join message m on m.tenant = c.tenant and m.planned_on = c.planned_on and m.campaign = c.id
left join personalization p on p.tenant = m.tenant and p.planned_on = m.planned_on and p.message = m.id
where c.tenant = %(tenant)s and c.campaign_id = %(campaign_id)s and c.channel = %(channel)s and m.customer_id = %(customer_id)s
order by m.id desc limit 1;

-- name: attempts
select at, outcome, detail from attempt
where tenant = %(tenant)s and planned_on = %(planned_on)s and message = %(message)s order by at;

-- name: events
-- What a message's provider told, and what came by its link.
select name as event, at from delivery_event
where tenant = %(tenant)s and planned_on = %(planned_on)s and message = %(message)s order by at, rank, identity;

-- name: doubts
select o.planned_on, o.message as id, m.batch, c.channel, c.campaign_id, c.kind, m.customer_id, m.address, o.at as since
from outcome o
join message m on m.tenant = o.tenant and m.planned_on = o.planned_on and m.id = o.message
join campaign c on c.tenant = m.tenant and c.id = m.campaign
where o.tenant = %(tenant)s and o.state = 'in_doubt' order by o.at, o.message;

-- name: report_doubts
select r.id, c.campaign_id, c.kind, r.call, r.customers, r.sent_at as since from report_batch r
join campaign c on c.tenant = r.tenant and c.id = r.campaign
where r.tenant = %(tenant)s and r.state = 'in_doubt' order by r.id;

-- name: report_days
-- Of each day of a campaign: when Optimove is told next, when the last of its messages began, and whether a call is left to be made or answered.
select c.id, c.report_at as next_at,
       (select max(b.begun_at) from counted_batch b where b.tenant = c.tenant and b.campaign = c.id) as handed_off_at,
       exists (select from report_batch r where r.tenant = c.tenant and r.campaign = c.id and r.state in ('ready', 'sent')) as open
from campaign c where c.tenant = %(tenant)s and c.id = any(%(days)s) order by c.id;

-- name: export
-- Every message of one day of a campaign, as it was handed over; by the order of their batches.
select v.planned_on, v.id, %(channel)s::text as channel, %(campaign_id)s::text as campaign_id, v.customer_id, v.address, v.template_id, v.send_at,
       v.state, v.reason, v.at, v.provider_id, (coalesce(a.tries, 0) + case v.state when 'accepted' then 1 else 0 end)::int as attempts,
       d.furthest
from message_state v
left join (
  select message, count(*) as tries from attempt where tenant = %(tenant)s and planned_on = %(planned_on)s group by message
) a on a.message = v.id
left join (
  select message, (array_agg(kind order by rank desc))[1] as furthest from delivery_event
  where tenant = %(tenant)s and planned_on = %(planned_on)s and rank > 0 group by message
) d on d.message = v.id
where v.tenant = %(tenant)s and v.planned_on = %(planned_on)s and v.campaign = %(campaign)s order by v.id;
