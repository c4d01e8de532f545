-- Our directory of people; every statement is one tenant's.
-- `limit` inside of `lateral` keeps the join out of the planner's hands: each person is looked up by an index, however many are asked for and
-- whatever PostgreSQL knows of its tables.

-- name: alone
-- One writes at a time: what a row does not say is taken from what is there.
select pg_advisory_xact_lock(%(tenant)s, hashtext('contacts'));

-- name: keep
-- What is not said stays as it is, null takes away; who is told as they are there is left alone.
insert into contact as c (tenant, customer_id, email, phone, push_token, attributes, updated_at)
select %(tenant)s, i.customer_id,
       case when i.said ? 'email' then i.said->>'email' else k.email end,
       case when i.said ? 'phone' then i.said->>'phone' else k.phone end,
       case when i.said ? 'push_token' then i.said->>'push_token' else k.push_token end,
       jsonb_strip_nulls(coalesce(k.attributes, '{}') || i.attributes), statement_timestamp()
from unnest(%(customer_ids)s::text[], %(said)s::jsonb[], %(attributes)s::jsonb[]) as i (customer_id, said, attributes)
left join lateral (
  select email, phone, push_token, attributes from contact where tenant = %(tenant)s and customer_id = i.customer_id limit 1
) k on true
order by i.customer_id
on conflict (tenant, customer_id) do update
set email = excluded.email, phone = excluded.phone, push_token = excluded.push_token, attributes = excluded.attributes,
    updated_at = excluded.updated_at
where (c.email, c.phone, c.push_token, c.attributes) is distinct from (excluded.email, excluded.phone, excluded.push_token, excluded.attributes);

-- name: contact
select customer_id, email, phone, push_token, attributes, updated_at from contact where tenant = %(tenant)s and customer_id = %(customer_id)s;

-- name: of_customers
select c.customer_id, c.address, c.attributes
from unnest(%(customer_ids)s::text[]) as i (customer_id)
cross join lateral (
  select customer_id, case %(kind)s when 'email' then email when 'sms' then phone when 'push' then push_token else customer_id end as address,
         attributes::text as attributes
  from contact where tenant = %(tenant)s and customer_id = i.customer_id limit 1
) c;

-- name: of_addresses
-- Of each value, an e-mail address or a phone number, the best of those who have it; and of each customer asked for with one, the contact of
-- that very id, where it has it.
select c.value, c.customer_id, c.address, c.attributes
from unnest(%(values)s::text[]) as i (value)
cross join lateral (
  select i.value, null as customer_id, f.address, f.attributes
  from (
    select customer_id, case %(kind)s when 'email' then email when 'sms' then phone when 'push' then push_token else customer_id end as address,
           attributes::text as attributes, updated_at
    from contact where tenant = %(tenant)s and email is not null and lower(email) = lower(i.value)
    union all
    select customer_id, case %(kind)s when 'email' then email when 'sms' then phone when 'push' then push_token else customer_id end,
           attributes::text, updated_at
    from contact where tenant = %(tenant)s and phone = i.value
  ) f
  order by (f.address is null), f.updated_at desc, f.customer_id limit 1
) c
union all
select c.value, c.customer_id, c.address, c.attributes
from unnest(%(own_values)s::text[], %(customer_ids)s::text[]) as i (value, customer_id)
cross join lateral (
  select i.value, customer_id, case %(kind)s when 'email' then email when 'sms' then phone when 'push' then push_token else customer_id end as address,
         attributes::text as attributes
  from contact where tenant = %(tenant)s and customer_id = i.customer_id and (lower(email) = lower(i.value) or phone = i.value) limit 1
) c;
