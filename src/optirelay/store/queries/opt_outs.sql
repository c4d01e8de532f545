-- Who is not written to; every statement is one tenant's.

-- name: alone
-- No group starts until the end of the transaction: one that starts before does not know of it, one after does.
select pg_advisory_xact_lock(%(tenant)s, hashtext('opt-outs'));

-- name: erased_among
-- Of these customers those who were erased.
select c from unnest(%(customers)s::text[]) c
where starts_with(c, 'erased:')
   or case when (select exists (select from erased where tenant = %(tenant)s)) then exists (
     select from erased e where e.tenant = %(tenant)s and e.hash = sha256(
       (select link_key from tenant where id = %(tenant)s) || convert_to('customer ' || c, 'UTF8'))
   ) else false end;

-- name: said
create temporary table if not exists said (tenant int, customer_id text, channel text, at timestamptz, opted_in boolean, source text) on commit delete rows;

-- name: copy_said
copy said (tenant, customer_id, channel, at, opted_in, source) from stdin (format binary);

-- name: leave_out_erased
delete from said s where s.tenant = %(tenant)s and (
  starts_with(s.customer_id, 'erased:')
  or case when (select exists (select from erased where tenant = %(tenant)s)) then exists (
    select from erased e where e.tenant = %(tenant)s and e.hash = sha256(
      (select link_key from tenant where id = %(tenant)s) || convert_to('customer ' || s.customer_id, 'UTF8'))
  ) else false end
);

-- name: keep_statements
insert into subscription_statement (tenant, customer_id, channel, at, opted_in, source)
select * from said where tenant = %(tenant)s
on conflict do nothing;

-- name: keep_subscriptions
-- The newest by its own time counts; of two at the same time the no. Another answer is told to Optimove as if none had failed. In this
-- order, so that whoever else locks some of the rows waits for us or we for them.
insert into subscription as s (tenant, customer_id, channel, at, opted_in, source, bulk)
select distinct on (customer_id, channel) *, %(bulk)s from said where tenant = %(tenant)s
order by customer_id, channel, at desc, opted_in
on conflict (tenant, channel, customer_id) do update set
  at = excluded.at,
  opted_in = excluded.opted_in,
  source = excluded.source,
  bulk = case when excluded.opted_in = s.opted_in then s.bulk else excluded.bulk end,
  failed = case when excluded.opted_in = s.opted_in then s.failed end,
  again_at = case when excluded.opted_in = s.opted_in then s.again_at end,
  tries = case when excluded.opted_in = s.opted_in then s.tries else 0 end
  where excluded.at > s.at or (excluded.at = s.at and s.opted_in and not excluded.opted_in);

-- name: subscriptions
select channel, opted_in, at, source from subscription where tenant = %(tenant)s and customer_id = %(customer_id)s order by channel;

-- name: statements
select channel, opted_in, at, source from subscription_statement where tenant = %(tenant)s and customer_id = %(customer_id)s order by at, recorded_at;

-- name: suppress
-- In small letters as PostgreSQL makes them, because it compares them so. Told again, it stays as it is; so does one of somebody erased,
-- of whom only a keyed hash is kept.
insert into suppression (tenant, address, channel, reason, note)
select %(tenant)s, case when s.erased then h.hashed else lower(s.address) end, s.channel, s.reason, s.note
from unnest(%(addresses)s::text[], %(channels)s::text[], %(reasons)s::text[], %(notes)s::text[], %(erased)s::boolean[])
  as s (address, channel, reason, note, erased)
cross join tenant t
cross join lateral (select 'erased:' || encode(sha256(t.link_key || convert_to('address ' || lower(s.address), 'UTF8')), 'hex') as hashed) h
where t.id = %(tenant)s and not exists (select from suppression o where o.tenant = t.id and o.address = h.hashed and o.channel = s.channel)
on conflict do nothing;

-- name: unsuppress
-- Also where only a keyed hash of the address is kept.
delete from suppression s using tenant t
where s.tenant = %(tenant)s and t.id = s.tenant and (%(channel)s::text is null or s.channel = %(channel)s)
  and s.address in (lower(%(address)s), 'erased:' || encode(sha256(t.link_key || convert_to('address ' || lower(%(address)s), 'UTF8')), 'hex'))
returning s.channel;

-- name: suppressions
select address, nullif(channel, '') as channel, reason, note, at from suppression
where tenant = %(tenant)s and (%(channel)s::text is null or channel = %(channel)s) order by at, address, channel;
