-- One page of recipients into the ledger; every statement is one tenant's.

-- name: has_page
select exists (
  select from page where tenant = %(tenant)s and pass = %(pass_)s and reading = %(reading)s and skip = %(skip)s
) as known;

-- name: add_page
insert into page (tenant, pass, reading, skip, received, new, known, changed, repeated, unreadable, digest)
values (%(tenant)s, %(pass_)s, %(reading)s, %(skip)s, %(received)s, %(new)s, %(known)s, %(changed)s, %(repeated)s, %(unreadable)s, %(digest)s);

-- name: so_far
select count(*) filter (where g.digest = %(digest)s and here)::int as same,
       coalesce(sum(g.received) filter (where here), 0)::int as received, coalesce(sum(g.new), 0)::int as handed_over
from pass p join page g on g.tenant = p.tenant and g.pass = p.id
cross join lateral (select g.pass = %(pass_)s and g.reading = %(reading)s as here) h
where p.tenant = %(tenant)s and p.campaign = %(campaign)s;

-- name: incoming
create temporary table if not exists incoming (place int, customer_id text, template_id int, occurrence bytea) on commit delete rows;

-- name: known_rows
-- Of the rows in `incoming`: the same message already there, by this pass or not, and customers that an earlier pass had.
select i.place, k.same, k.same_pass, k.earlier
from incoming i
cross join lateral (
  select coalesce(bool_or(m.occurrence = i.occurrence and m.template_id is not distinct from i.template_id), false) as same,
         coalesce(bool_or(m.occurrence = i.occurrence and m.template_id is not distinct from i.template_id and m.pass = %(pass_)s), false) as same_pass,
         coalesce(bool_or(m.pass <> %(pass_)s), false) as earlier
  from message m
  where m.tenant = %(tenant)s and m.planned_on = %(planned_on)s and m.campaign = %(campaign)s and m.customer_id = i.customer_id
) k
where k.same or k.earlier;

-- name: copy_messages
copy message (tenant, planned_on, id, campaign, batch, pass, template_id, customer_id, address, send_at, occurrence, recipient_group) from stdin (format binary);

-- name: copy_personalization
copy personalization (tenant, planned_on, message, tags) from stdin (format binary);

-- name: copy_outcomes
copy outcome (tenant, planned_on, message, state, reason, at) from stdin (format binary);

-- name: copy_batches
copy batch (tenant, id, campaign, channel, template_id, template_version, due_at, total, skipped, done_at) from stdin;

-- name: copy_incoming
copy incoming (place, customer_id, template_id, occurrence) from stdin (format binary);
