-- Listeners of ours at Optimove; every statement is one tenant's.

-- name: known
-- `kept`: another worker that is alive wants it, or wanted it last.
select l.event_type, l.channel_id, l.channel, l.url, l.executed_before,
       l.wanted_by <> %(worker)s and exists (select from worker w where w.id = l.wanted_by and w.seen_at > clock_timestamp() - interval '1 minute') as kept
from listener l where l.tenant = %(tenant)s;

-- name: keep
insert into listener (tenant, event_type, channel_id, channel, url, wanted_by, executed_before)
values (%(tenant)s, %(event_type)s, %(channel_id)s, %(channel)s, %(url)s, %(worker)s, %(executed_before)s)
on conflict (tenant, event_type, channel_id) do update
  set channel = excluded.channel, url = excluded.url, wanted_by = excluded.wanted_by, executed_before = excluded.executed_before;

-- name: forget
delete from listener where tenant = %(tenant)s and event_type = %(event_type)s and channel_id is not distinct from %(channel_id)s::int;

-- name: executed_before
-- Of a channel's id for scheduled campaigns.
select executed_before from listener
where tenant = %(tenant)s and event_type = %(event_type)s and channel_id = %(channel_id)s and channel = %(channel)s and executed_before is not null;
