-- Who is not written to; every statement is one tenant's.

-- name: alone
-- No group starts until the end of the transaction: one that starts before does not know of it, one after does.
select pg_advisory_xact_lock(%(tenant)s, hashtext('opt-outs'));

-- name: said
create temporary table if not exists said (tenant int, customer_id text, channel text, at timestamptz, opted_in boolean, source text) on commit delete rows;

-- name: copy_said
copy said (tenant, customer_id, channel, at, opted_in, source) from stdin (format binary);

-- name: keep_statements
insert into subscription_statement (tenant, customer_id, channel, at, opted_in, source)
select * from said where tenant = %(tenant)s
on conflict do nothing;

-- name: keep_subscriptions
-- The newest by its own time counts; of two at the same time the no. Another answer is told to Optimove as if none had failed. In this
-- order, so that whoever else locks some of the rows waits for us or we for them.
insert into subscription as s (tenant, customer_id, channel, at, opted_in, source)
select distinct on (customer_id, channel) * from said where tenant = %(tenant)s
order by customer_id, channel, at desc, opted_in
on conflict (tenant, channel, customer_id) do update set
  at = excluded.at,
  opted_in = excluded.opted_in,
  source = excluded.source,
  failed = case when excluded.opted_in = s.opted_in then s.failed end,
  again_at = case when excluded.opted_in = s.opted_in then s.again_at end,
  tries = case when excluded.opted_in = s.opted_in then s.tries else 0 end
  where excluded.at > s.at or (excluded.at = s.at and s.opted_in and not excluded.opted_in);

-- name: subscriptions
select channel, opted_in, at, source from subscription where tenant = %(tenant)s and customer_id = %(customer_id)s order by channel;

-- name: statements
select channel, opted_in, at, source from subscription_statement where tenant = %(tenant)s and customer_id = %(customer_id)s order by at, recorded_at;

-- name: suppress
-- In small letters as PostgreSQL makes them, because it compares them so. Told again, it stays as it is.
insert into suppression (tenant, address, channel, reason, note)
select %(tenant)s, lower(address), channel, reason, note
from unnest(%(addresses)s::text[], %(channels)s::text[], %(reasons)s::text[], %(notes)s::text[]) as s (address, channel, reason, note)
on conflict do nothing;

-- name: unsuppress
delete from suppression
where tenant = %(tenant)s and address = lower(%(address)s) and (%(channel)s::text is null or channel = %(channel)s)
returning channel;

-- name: suppressions
select address, nullif(channel, '') as channel, reason, note, at from suppression
where tenant = %(tenant)s and (%(channel)s::text is null or channel = %(channel)s) order by at, address, channel;
