-- Channels: whether anything of them may start, and when; every statement is one tenant's.

-- name: standing
select waits, case when waits_until > clock_timestamp() then waits_until end as waits_until, paused_at is not null as paused from channel
where tenant = %(tenant)s and name = %(channel)s;

-- name: waits
update channel set waits = waits + 1, waits_until = clock_timestamp() + %(pause)s::interval
where tenant = %(tenant)s and name = %(channel)s and (waits_until is null or waits_until < clock_timestamp());

-- name: works
update channel set waits = 0, waits_until = null where tenant = %(tenant)s and name = %(channel)s and waits > 0;

-- name: pause
update channel set paused_at = clock_timestamp() where tenant = %(tenant)s and name = %(channel)s and paused_at is null;

-- name: resume
update channel set paused_at = null where tenant = %(tenant)s and name = %(channel)s and paused_at is not null;

-- name: slots
-- The channel's next free slot; the caller's messages get it and those behind it, `interval` apart.
update channel set next_slot_at = greatest(next_slot_at, clock_timestamp()) + %(count)s * %(interval)s::interval
where tenant = %(tenant)s and name = %(channel)s
returning extract(epoch from next_slot_at - %(count)s * %(interval)s::interval - clock_timestamp())::float8 as wait;

-- name: slot_wait
select extract(epoch from next_slot_at - clock_timestamp())::float8 as wait from channel
where tenant = %(tenant)s and name = %(channel)s and next_slot_at > clock_timestamp();
