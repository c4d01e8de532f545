-- The calls that a tenant's key may make at Optimove: who waits, and what counts; every statement is one tenant's.

-- name: own
insert into budget (tenant) values (%(tenant)s) on conflict do nothing;

-- name: lock
select refusals, refused_since, waits_until from budget where tenant = %(tenant)s for update;

-- name: now
-- Apart from the lock, which may have taken its time.
select clock_timestamp() as now from budget where tenant = %(tenant)s;

-- name: forget
-- What no longer counts, and whose process is gone.
delete from key_call where tenant = %(tenant)s
  and (answered_at <= clock_timestamp() - %(window)s::interval
    or answered_at is null and made_at <= clock_timestamp() - %(window)s::interval - %(unanswered)s::interval
    or made_at is null and seen_at <= clock_timestamp() - %(unseen)s::interval);

-- name: wait
insert into key_call (tenant, share) values (%(tenant)s, %(share)s) returning id;

-- name: see
update key_call set seen_at = clock_timestamp() where tenant = %(tenant)s and id = %(id)s;

-- name: calls
select id, share, made_at, answered_at from key_call where tenant = %(tenant)s order by id;

-- name: make
update key_call set made_at = clock_timestamp() where tenant = %(tenant)s and id = %(id)s;

-- name: answered
update key_call set answered_at = clock_timestamp() where tenant = %(tenant)s and id = %(id)s;

-- name: leave
delete from key_call where tenant = %(tenant)s and id = %(id)s and made_at is null;

-- name: refused
update budget set refusals = %(refusals)s, refused_since = coalesce(refused_since, clock_timestamp()),
  waits_until = greatest(waits_until, clock_timestamp() + %(pause)s::interval)
where tenant = %(tenant)s
returning clock_timestamp() - refused_since as lasting;

-- name: taken
update budget set refusals = 0, refused_since = null, waits_until = null where tenant = %(tenant)s and refusals > 0;
