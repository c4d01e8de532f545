-- Opt-ins that Optimove is told; every statement is one tenant's. Rows of `subscription` are locked in the order of their customers.
-- Those that change are found by an array: joined, while PostgreSQL takes the table for a small one, each is compared with all others.

-- name: route
select route, waits, waits_until, file_at, checked_to from opt_in_route where tenant = %(tenant)s and channel = %(channel)s;

-- name: keep_route
insert into opt_in_route (tenant, channel, route) values (%(tenant)s, %(channel)s, %(route)s)
on conflict (tenant, channel) do update set route = excluded.route, waits = 0, waits_until = null, file_at = null, checked_to = '';

-- name: waits
update opt_in_route set waits = waits + 1, waits_until = %(until)s where tenant = %(tenant)s and channel = %(channel)s;

-- name: works
update opt_in_route set waits = 0, waits_until = null where tenant = %(tenant)s and channel = %(channel)s and (waits > 0 or waits_until is not null);

-- name: untell
-- Of at most so many customers after this one, nothing is known to have arrived. The last of them; null: there were none.
with here as materialized (
  select customer_id from subscription
  where tenant = %(tenant)s and channel = %(channel)s and customer_id > %(after)s order by customer_id limit %(limit)s for update
), untold as (
  update subscription s set told = null, call = null, failed = null, tries = 0, again_at = null, bulk = true
  where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = any(array(select customer_id from here))
)
select max(customer_id) as last from here;

-- name: untell_failed
with here as materialized (
  select customer_id from subscription
  where tenant = %(tenant)s and channel = %(channel)s and failed is not null order by customer_id for update
)
update subscription s set told = null, call = null, failed = null, tries = 0, again_at = null
where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = any(array(select customer_id from here));

-- name: open_call
insert into opt_in_call (tenant, channel, call, made_at, file) values (%(tenant)s, %(channel)s, %(call)s, %(now)s, %(file)s) returning id;

-- name: take
-- The next customers of whom Optimove knows something else than they said, marked as told by this call: those of many that came at once
-- after the others, and in the order of their ids after this one.
with next as materialized (
  select customer_id from subscription
  where tenant = %(tenant)s and channel = %(channel)s and told is distinct from opted_in
    and bulk = %(bulk)s and customer_id > %(after)s and (again_at is null or again_at <= %(now)s)
  order by customer_id limit %(limit)s for update skip locked
)
update subscription s set told = s.opted_in, call = %(call)s, failed = null, again_at = null
where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = any(array(select customer_id from next))
returning s.customer_id, s.opted_in;

-- name: count_call
update opt_in_call set customers = customers + %(customers)s where tenant = %(tenant)s and id = %(call)s;

-- name: answered
update opt_in_call set state = 'answered', request_id = %(request_id)s, answered_at = %(now)s where tenant = %(tenant)s and id = %(call)s;

-- name: written
update opt_in_call set state = 'written', answered_at = %(now)s where tenant = %(tenant)s and id = %(call)s;

-- name: file_written
update opt_in_route set file_at = %(now)s where tenant = %(tenant)s and channel = %(channel)s;

-- name: close_call
delete from opt_in_call where tenant = %(tenant)s and id = %(call)s;

-- name: take_back
-- Nobody knows whether the call arrived: its customers are told again.
with here as materialized (
  select customer_id from subscription
  where tenant = %(tenant)s and channel = %(channel)s and call = %(call)s and (%(customers)s::text[] is null or customer_id = any(%(customers)s))
  order by customer_id for update
), untold as (
  update subscription s set told = null, call = null
  where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = any(array(select customer_id from here))
)
delete from opt_in_call where tenant = %(tenant)s and id = %(call)s;

-- name: fail
-- Why customers of a call were not taken. With `again_at` they are told again then, else when they say something new.
with here as materialized (
  select customer_id from subscription
  where tenant = %(tenant)s and channel = %(channel)s and customer_id = any(%(customers)s) and call = %(call)s and told = opted_in
  order by customer_id for update
)
update subscription s set failed = %(whys)s::jsonb ->> s.customer_id, tries = s.tries + 1, again_at = (%(again_ats)s::jsonb ->> s.customer_id)::timestamptz,
  told = case when %(again_ats)s::jsonb ->> s.customer_id is null then s.told end
where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = any(array(select customer_id from here));

-- name: tries
-- How often customers of a call were tried in vain, one after the other, at most.
select coalesce(max(tries), 0) as tries from subscription
where tenant = %(tenant)s and channel = %(channel)s and customer_id = any(%(customers)s);

-- name: calls
select id, call, customers, state, request_id, made_at, answered_at, file from opt_in_call
where tenant = %(tenant)s and channel = %(channel)s order by id;

-- name: call_of
-- The call that a result is of: as the address says that it came to, or as Optimove had answered.
select id, channel, call, customers from opt_in_call
where tenant = %(tenant)s and (id = %(call)s or (request_id = %(request_id)s and %(request_id)s <> ''))
order by id desc limit 1;

-- name: counts
select count(*) filter (where s.failed is null and s.told is distinct from s.opted_in) as pending,
       count(*) filter (where s.failed is null and s.told = s.opted_in and c.id is not null) as sent,
       count(*) filter (where s.failed is null and s.told = s.opted_in and c.id is null) as confirmed,
       count(*) filter (where s.failed is not null) as failed
from subscription s left join opt_in_call c on c.tenant = s.tenant and c.id = s.call
where s.tenant = %(tenant)s and s.channel = %(channel)s;

-- name: failures
select failed as why, count(*) as customers from subscription
where tenant = %(tenant)s and channel = %(channel)s and failed is not null group by 1 order by 2 desc, 1;

-- name: failed_customers
select customer_id, failed as why, again_at from subscription
where tenant = %(tenant)s and channel = %(channel)s and failed is not null order by customer_id limit %(limit)s;

-- name: shared
-- How the sharing of one customer's opt-ins stands, channel by channel.
select s.channel, s.failed as why, case when s.failed is not null then 'failed' when s.told is distinct from s.opted_in then 'pending'
       when c.id is not null then 'sent' else 'confirmed' end as state
from subscription s left join opt_in_call c on c.tenant = s.tenant and c.id = s.call
where s.tenant = %(tenant)s and s.customer_id = %(customer_id)s;

-- name: told_by
-- Some customers whom a call told, and what it told of them.
select customer_id, told from subscription
where tenant = %(tenant)s and channel = %(channel)s and call = %(call)s and failed is null and told = opted_in order by customer_id limit %(limit)s;

-- name: confirmed_after
-- Customers, after this one, of whom Optimove has confirmed what they said.
select s.customer_id, s.told from subscription s
where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id > %(after)s and s.failed is null and s.told = s.opted_in
  and not exists (select from opt_in_call c where c.tenant = s.tenant and c.id = s.call)
order by s.customer_id limit %(limit)s;

-- name: checked_to
update opt_in_route set checked_to = %(customer_id)s where tenant = %(tenant)s and channel = %(channel)s;

-- name: drifted
-- Optimove has something else than we told: it is told again.
with here as materialized (
  select customer_id from subscription
  where tenant = %(tenant)s and channel = %(channel)s and customer_id = any(%(customers)s) and told = opted_in order by customer_id for update
)
update subscription s set told = null, call = null
where s.tenant = %(tenant)s and s.channel = %(channel)s and s.customer_id = any(array(select customer_id from here));

-- name: file_rows
-- What customers said, of one call or of all, as it is now.
select customer_id, opted_in, at from subscription
where tenant = %(tenant)s and channel = %(channel)s and (%(call)s::bigint is null or call = %(call)s) order by customer_id;

-- name: attribute
select asked_at, added from opt_in_attribute where tenant = %(tenant)s and name = %(name)s;

-- name: ask_attribute
insert into opt_in_attribute (tenant, name, asked_at) values (%(tenant)s, %(name)s, %(now)s)
on conflict (tenant, name) do update set asked_at = excluded.asked_at, added = false;

-- name: attribute_added
insert into opt_in_attribute (tenant, name, added) values (%(tenant)s, %(name)s, true)
on conflict (tenant, name) do update set added = true;

-- name: forget_attribute
-- Optimove does not tell capitals apart, and may write it otherwise than we.
delete from opt_in_attribute where tenant = %(tenant)s and lower(name) = lower(%(name)s);

-- name: results
-- What Optimove posted of attribute calls and nobody has read, locked until the transaction ends.
select id, call, body, received_at from attribute_result
where tenant = %(tenant)s and state = 'new' order by id limit %(limit)s for update skip locked;

-- name: settle_results
update attribute_result set state = %(state)s where tenant = %(tenant)s and id = any(%(ids)s);
