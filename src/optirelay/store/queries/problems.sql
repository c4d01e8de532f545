-- What one tenant's operator is told; every statement is one tenant's.

-- name: tell
insert into problem (kind, tenant, channel, campaign_id, subject, problem, mend)
values (%(kind)s, %(tenant)s, %(channel)s, %(campaign_id)s, %(subject)s, %(problem)s, %(mend)s)
on conflict (kind, tenant, channel, campaign_id, subject) do update set problem = excluded.problem, mend = excluded.mend;

-- name: shown_enough
-- What mended itself and was told so long ago; of these subjects it is so anew.
delete from problem
where tenant is not distinct from %(tenant)s::int and kind = %(kind)s and since < clock_timestamp() - %(lasts)s::interval
  and subject <> all(%(but)s) and (%(subject)s::text is null or subject = %(subject)s);

-- name: mended
delete from problem
where tenant is not distinct from %(tenant)s::int and kind = any(%(kinds)s) and (%(channel)s::text is null or channel = %(channel)s)
  and (%(campaign_id)s::text is null or campaign_id = %(campaign_id)s) and (%(subject)s::text is null or subject = %(subject)s);
