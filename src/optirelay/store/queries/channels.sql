-- Channels: whether anything of them may start, and when; every statement is one tenant's.

-- name: standing
select waits, case when waits_until > clock_timestamp() then waits_until end as waits_until, paused_at is not null as paused,
       stopped_at is not null as stopped
from channel
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

-- name: stop
update channel set stopped_at = clock_timestamp() where tenant = %(tenant)s and name = %(channel)s and stopped_at is null;

-- name: start_again
update channel set stopped_at = null where tenant = %(tenant)s and name = %(channel)s and stopped_at is not null;

-- name: slots
-- The channel's next free slot; the caller's messages get it and those behind it. Each lies `interval` behind the one before it,
-- whatever rate that one was reserved for: a rate that grew is followed at once.
update channel set last_slot_at = greatest(last_slot_at + %(interval)s::interval, clock_timestamp()) + (%(count)s - 1) * %(interval)s::interval
where tenant = %(tenant)s and name = %(channel)s
returning extract(epoch from last_slot_at - (%(count)s - 1) * %(interval)s::interval - clock_timestamp())::float8 as wait;

-- name: slot_wait
select extract(epoch from last_slot_at + %(interval)s::interval - clock_timestamp())::float8 as wait from channel
where tenant = %(tenant)s and name = %(channel)s and last_slot_at + %(interval)s::interval > clock_timestamp();
