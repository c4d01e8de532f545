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
select channel, template_id, key, name, version from template where tenant = %(tenant)s order by channel, template_id;

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
on conflict (tenant, channel, template_id) do update set key = excluded.key, name = excluded.name, version = excluded.version;

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
