-- People who are erased: what of them goes, and how they are known again; every statement is one tenant's.

-- name: remember
-- What stands for the customer from now on, whether that is new, and whether all of them was gone already.
insert into erased as e (tenant, hash)
select t.id, sha256(t.link_key || convert_to('customer ' || %(customer_id)s, 'UTF8')) from tenant t where t.id = %(tenant)s
on conflict (tenant, hash) do update set hash = excluded.hash
returning 'erased:' || encode(e.hash, 'hex') as customer_id, xmax = 0 as new, e.done_at is not null as done;

-- name: all_gone
update erased set done_at = case when %(gone)s then clock_timestamp() end
where tenant = %(tenant)s and 'erased:' || encode(hash, 'hex') = %(erased)s;

-- name: has_erased
select exists (select from erased where tenant = %(tenant)s) as has_erased;

-- name: erased_of
-- Of these customers those who were erased, and what stands for them.
select c.customer_id as known_as, 'erased:' || encode(e.hash, 'hex') as customer_id
from tenant t
cross join unnest(%(customers)s::text[]) as c (customer_id)
join erased e on e.tenant = t.id and e.hash = sha256(t.link_key || convert_to('customer ' || c.customer_id, 'UTF8'))
where t.id = %(tenant)s;

-- name: suppressed_of
-- Of these addresses those that nobody writes to on the channel, also where only a keyed hash is kept.
select a.address from tenant t cross join unnest(%(addresses)s::text[]) as a (address)
where t.id = %(tenant)s and exists (
  select from suppression s where s.tenant = t.id and s.channel in ('', %(channel)s)
    and s.address in (lower(a.address), 'erased:' || encode(sha256(t.link_key || convert_to('address ' || lower(a.address), 'UTF8')), 'hex'))
);

-- name: rename
-- Messages of these campaigns to these customers are to a keyed hash from now on; how many.
with renamed as (
  update message m set customer_id = n.customer_id
  from unnest(%(known_as)s::text[], %(customer_ids)s::text[]) as n (known_as, customer_id)
  where m.tenant = %(tenant)s and m.campaign = any(%(campaigns)s) and m.customer_id = n.known_as returning m.id
)
select count(*)::int as messages from renamed;

-- name: moment
select clock_timestamp() as moment where %(tenant)s is not null;

-- name: older_at_work
-- Whether a transaction that writes, in this database, began before that.
select exists (
  select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
    and backend_xid is not null and xact_start <= %(before)s
) as at_work where %(tenant)s is not null;

-- name: campaigns_of
-- Campaigns with a message to the customer, under either name; each by the index of messages to a customer.
select c.id as campaign from campaign c
cross join lateral (select from message m where m.tenant = %(tenant)s and m.campaign = c.id and m.customer_id = any(%(names)s) limit 1) m
where c.tenant = %(tenant)s order by c.id;

-- name: open_batches_of
-- Batches of the campaign that are not done and have a message to the customer.
select distinct m.batch from message m join batch b on b.tenant = m.tenant and b.id = m.batch
where m.tenant = %(tenant)s and m.campaign = %(campaign)s and m.customer_id = %(erased)s and b.done_at is null order by 1;

-- name: unstarted_of
with here as materialized (select id, customer_id from message where tenant = %(tenant)s and batch = %(batch)s)
select m.id from here m
where m.id > %(started)s and m.customer_id = %(erased)s
  and (select o.state from outcome o where o.tenant = %(tenant)s and o.planned_on = %(planned_on)s and o.message = m.id) is null
order by m.id;

-- name: standing_of
-- The customer's messages of the campaign, and which of them are being sent.
select s.planned_on, s.id, s.state = 'sending' as sending, s.address from message_state s
where s.tenant = %(tenant)s and s.campaign = %(campaign)s and s.customer_id = %(erased)s order by s.id;

-- name: reachable_by
-- Where the directory says that the customer is reached.
select a.address from contact c cross join lateral (values (c.email), (c.phone), (c.push_token)) as a (address)
where c.tenant = %(tenant)s and c.customer_id = %(customer_id)s and a.address is not null;

-- name: forget_messages
-- What of the customer's messages of the campaign is personal; of how many there was something.
with theirs as materialized (
  select tenant, planned_on, id from message where tenant = %(tenant)s and campaign = %(campaign)s and customer_id = %(erased)s
), tags as (
  delete from personalization p using theirs t where p.tenant = t.tenant and p.planned_on = t.planned_on and p.message = t.id returning p.message
), words as (
  update attempt a set detail = '' from theirs t
  where a.tenant = t.tenant and a.planned_on = t.planned_on and a.message = t.id and a.detail <> '' returning a.message
), names as (
  update outcome o set provider_id = null from theirs t
  where o.tenant = t.tenant and o.planned_on = t.planned_on and o.message = t.id and o.provider_id is not null returning o.message
), addresses as (
  update message m set address = null from theirs t
  where m.tenant = t.tenant and m.planned_on = t.planned_on and m.id = t.id and m.address is not null returning m.id
)
select count(*)::int as messages from (
  select message from tags union select message from words union select message from names union select id from addresses
) touched;

-- name: erase_suppressions
-- Of suppressions of these addresses keyed hashes stay; what was said of them.
with theirs as (
  delete from suppression s using unnest(%(addresses)s::text[]) as a (address)
  where s.tenant = %(tenant)s and s.address = lower(a.address) returning s.*
), kept as (
  insert into suppression (tenant, address, channel, reason, at)
  select s.tenant, 'erased:' || encode(sha256(t.link_key || convert_to('address ' || s.address, 'UTF8')), 'hex'), s.channel, s.reason, s.at
  from theirs s join tenant t on t.id = s.tenant
  on conflict do nothing
)
select address, note from theirs;

-- name: erase_reasons
-- Why an address was suppressed, which is as much as its note.
update audit a set reason = '' from unnest(%(subjects)s::text[], %(notes)s::text[]) as n (subject, note)
where a.tenant = %(tenant)s and a.action = 'suppress' and a.subject = n.subject and a.reason = n.note and n.note <> '';

-- name: erase_contact
delete from contact where tenant = %(tenant)s and customer_id = %(customer_id)s;

-- name: erase_opt_ins
delete from subscription where tenant = %(tenant)s and customer_id = %(customer_id)s;

-- name: erase_statements
delete from subscription_statement where tenant = %(tenant)s and customer_id = %(customer_id)s;

-- name: erase_place
-- How far the values were read back.
update opt_in_route set checked_to = '' where tenant = %(tenant)s and checked_to = %(customer_id)s;

-- name: raw
-- Requests, as they arrived, in which one of these words stands, capitals or not; JSON may spell it in several ways.
with words as materialized (
  select lower(encode(convert_to(w, 'UTF8'), 'escape') collate "C") as word from unnest(%(words)s::text[]) w
)
select r.kind, r.id, r.state, r.body from (
  select 'notification' as kind, id, state, body from notification where tenant = %(tenant)s
  union all
  select 'callback', id, state, body from callback where tenant = %(tenant)s
  union all
  select 'attribute_result', id, state, body from attribute_result where tenant = %(tenant)s
) r
where r.body <> '' and exists (select from words where position(word in lower(encode(r.body, 'escape') collate "C")) > 0);

-- name: empty_notifications
update notification set body = '' where tenant = %(tenant)s and id = any(%(ids)s);

-- name: empty_callbacks
update callback set body = '' where tenant = %(tenant)s and id = any(%(ids)s);

-- name: empty_new_callbacks
update callback set body = '' where tenant = %(tenant)s and id = any(%(ids)s) and state = 'new';

-- name: write_attribute_result
update attribute_result set body = %(body)s where tenant = %(tenant)s and id = %(id)s;

-- name: reports_with
-- Frozen calls of these campaigns in which one of these words stands.
with words as materialized (
  select lower(encode(convert_to(w, 'UTF8'), 'escape') collate "C") as word from unnest(%(words)s::text[]) w
)
select id from report_batch
where tenant = %(tenant)s and campaign = any(%(campaigns)s)
  and exists (select from words where position(word in lower(encode(body, 'escape') collate "C")) > 0)
order by id;

-- name: lock_report
select id, call, customers, body, state from report_batch where tenant = %(tenant)s and id = %(id)s for update;

-- name: write_report
update report_batch set body = %(body)s, customers = case when state in ('ready', 'sent', 'in_doubt') then %(customers)s else customers end
where tenant = %(tenant)s and id = %(id)s;

-- name: drop_report
delete from report_batch where tenant = %(tenant)s and id = %(id)s;

-- name: clean_problems
update problem set problem = regexp_replace(problem, %(pattern)s, 'erased', 'gi') where tenant = %(tenant)s and problem ~* %(pattern)s;

-- name: clean_answers
update report_batch set answer = regexp_replace(answer, %(pattern)s, 'erased', 'gi')
where tenant = %(tenant)s and campaign = any(%(campaigns)s) and answer ~* %(pattern)s;

-- name: clean_decisions
update audit set reason = regexp_replace(reason, %(pattern)s, 'erased', 'gi'), subject = regexp_replace(subject, %(pattern)s, 'erased', 'gi')
where tenant = %(tenant)s and (reason ~* %(pattern)s or subject ~* %(pattern)s);
