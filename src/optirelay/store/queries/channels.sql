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
-- whatever rate that one was reserved for: a rate that grew is followed at once. Triggered ones are also counted at half the rate.
update channel set last_slot_at = greatest(last_slot_at + %(interval)s::interval, clock_timestamp()) + (%(count)s - 1) * %(interval)s::interval,
  triggered_slot_at = case when %(triggered)s then greatest(triggered_slot_at, clock_timestamp()) + %(count)s * 2 * %(interval)s::interval
                      else triggered_slot_at end
where tenant = %(tenant)s and name = %(channel)s
returning extract(epoch from last_slot_at - (%(count)s - 1) * %(interval)s::interval - clock_timestamp())::float8 as wait;

-- name: next_slots
-- How long until the next free slot, and until triggered messages have had no more than half of the slots; and whether scheduled ones wait.
select extract(epoch from greatest(last_slot_at + %(interval)s::interval - clock_timestamp(), interval '0'))::float8 as wait,
       extract(epoch from greatest(triggered_slot_at - clock_timestamp(), interval '0'))::float8 as triggered_wait,
       exists (
         select from batch b join campaign c on c.tenant = b.tenant and c.id = b.campaign
         where b.tenant = h.tenant and b.channel = h.name and not b.triggered and b.done_at is null and b.due_at <= clock_timestamp()
           and c.state <> 'paused'
       ) as scheduled_wait
from channel h where tenant = %(tenant)s and name = %(channel)s;
