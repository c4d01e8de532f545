-- Templates and their versions; every statement is one tenant's.

-- name: own_templates
-- Until the end of the transaction nobody plans batches of this channel.
select pg_advisory_xact_lock(%(tenant)s, hashtext(%(channel)s));

-- name: share_templates
-- Until the end of the transaction nobody pushes a template of this channel.
select pg_advisory_xact_lock_shared(%(tenant)s, hashtext(%(channel)s));

-- name: versions
select template_id, version from template
where tenant = %(tenant)s and channel = %(channel)s and template_id = any(%(template_ids)s);

-- name: templates
select t.channel, t.template_id, t.key, t.name, t.version, v.app, t.dropped_at is not null as dropped from template t
join template_version v on v.tenant = t.tenant and v.channel = t.channel and v.template_id = t.template_id and v.version = t.version
where t.tenant = %(tenant)s order by t.channel, t.template_id;

-- name: current
select t.version, v.content from template t
join template_version v on v.tenant = t.tenant and v.channel = t.channel and v.template_id = t.template_id and v.version = t.version
where t.tenant = %(tenant)s and t.channel = %(channel)s and t.template_id = %(template_id)s;

-- name: free_key
-- A file whose id changed is another template; the old one stays, since marketers may still have picked it.
update template set key = key || ' (' || template_id || ')'
where tenant = %(tenant)s and channel = %(channel)s and key = %(key)s and template_id <> %(template_id)s;

-- name: keep_template
insert into template (tenant, channel, template_id, key, name, version)
values (%(tenant)s, %(channel)s, %(template_id)s, %(key)s, %(name)s, %(version)s)
on conflict (tenant, channel, template_id) do update
set key = excluded.key, name = excluded.name, version = excluded.version, dropped_at = null;

-- name: drop_templates
update template set dropped_at = clock_timestamp()
where tenant = %(tenant)s and channel = %(channel)s and template_id = any(%(template_ids)s) and dropped_at is null;

-- name: forget_dropped
-- They are in none of Optimove's lists any more.
delete from template
where tenant = %(tenant)s and channel = %(channel)s and template_id = any(%(template_ids)s) and dropped_at is not null;

-- name: in_use
-- What campaigns need that are not over; of one whose rows are still being read it may be any: null.
select distinct b.template_id, c.campaign_id from batch b join campaign c on c.tenant = b.tenant and c.id = b.campaign
where b.tenant = %(tenant)s and b.channel = %(channel)s and b.done_at is null and b.template_id is not null
union
select null, c.campaign_id from pass p join campaign c on c.tenant = p.tenant and c.id = p.campaign
where p.tenant = %(tenant)s and c.channel = %(channel)s and p.state <> 'done' and c.state = 'open'
order by 1, 2;

-- name: told_templates
select channel_id, template_id, name, app from told_template where tenant = %(tenant)s;

-- name: tell_templates
insert into told_template (tenant, channel_id, template_id, name, app)
select %(tenant)s, %(channel_id)s, t.template_id, t.name, t.app
from unnest(%(template_ids)s::int[], %(names)s::text[], %(apps)s::text[]) as t (template_id, name, app)
on conflict (tenant, channel_id, template_id) do update set name = excluded.name, app = excluded.app;

-- name: untell_templates
delete from told_template where tenant = %(tenant)s and channel_id = %(channel_id)s and template_id = any(%(template_ids)s);

-- name: told_apps
select channel_id, app_id, name from told_app where tenant = %(tenant)s;

-- name: tell_apps
insert into told_app (tenant, channel_id, app_id, name)
select %(tenant)s, %(channel_id)s, t.app_id, t.name from unnest(%(app_ids)s::text[], %(names)s::text[]) as t (app_id, name)
on conflict (tenant, channel_id, app_id) do update set name = excluded.name;

-- name: untell_apps
delete from told_app where tenant = %(tenant)s and channel_id = %(channel_id)s and app_id = any(%(app_ids)s);

-- name: last_version
select coalesce(max(version), 0)::int as version from template_version
where tenant = %(tenant)s and channel = %(channel)s and template_id = %(template_id)s;

-- name: keep_version
insert into template_version (tenant, channel, template_id, version, content)
values (%(tenant)s, %(channel)s, %(template_id)s, %(version)s, %(content)s);

-- name: version
select content from template_version
where tenant = %(tenant)s and channel = %(channel)s and template_id = %(template_id)s and version = %(version)s;

-- name: unhold
-- Batches that waited for this template go on.
update batch set template_version = %(version)s, due_at = clock_timestamp()
where tenant = %(tenant)s and channel = %(channel)s and template_id = %(template_id)s and template_version is null and done_at is null
returning id;
