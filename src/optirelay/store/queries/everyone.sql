-- Statements over all tenants: what arrives, who works, and the names behind numbers.

-- name: keep_tenants
insert into tenant (name) select unnest(%(names)s::text[]) on conflict (name) do nothing;

-- name: tenant_numbers
select name, id from tenant;

-- name: keep_channels
insert into channel (tenant, name)
select t.id, c.name from unnest(%(tenants)s::text[], %(channels)s::text[]) as c (tenant, name) join tenant t on t.name = c.tenant
on conflict do nothing;

-- name: keep_notifications
-- The same bytes twice are one notification.
insert into notification (tenant, hash, body)
select * from unnest(%(tenants)s::int[], %(hashes)s::bytea[], %(bodies)s::bytea[])
on conflict do nothing;

-- name: take_notifications
select tenant, id, hash, body, received_at from notification
where state = 'new' and tenant = any(%(tenants)s) order by id limit %(limit)s for update skip locked;

-- name: settle_notifications
update notification n set state = %(state)s
from unnest(%(tenants)s::int[], %(ids)s::bigint[]) as s (tenant, id)
where n.tenant = s.tenant and n.id = s.id;

-- name: seen_worker
insert into worker (id, host, pid) values (%(id)s, %(host)s, %(pid)s)
on conflict (id) do update set seen_at = clock_timestamp()
returning extract(epoch from clock_timestamp())::float8 as now;

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
update batch b set lease_until = clock_timestamp() + %(lease)s::interval
from unnest(%(tenants)s::int[], %(batches)s::bigint[]) as h (tenant, id)
where b.tenant = h.tenant and b.id = h.id and b.owner = %(owner)s and b.done_at is null;

-- name: problems
select p.kind, t.name as tenant, nullif(p.channel, '') as channel, nullif(p.campaign_id, '') as campaign_id, p.since, p.problem, p.mend
from problem p left join tenant t on t.id = p.tenant order by p.since, p.id;
