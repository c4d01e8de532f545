-- Templates, apps and listeners in step with Optimove's lists.

-- Beside the content, which may be long and is read for each version once: reports name the app of every message.
alter table template_version add column app text generated always as (content ->> 'app') stored;

-- Not ours any more, and still in one of Optimove's lists; until it is in none, messages are made of it.
alter table template add column dropped_at timestamptz;

-- What a list of Optimove's holds because of us, as it was told or seen: another name, or none, is somebody else's doing.
create table told_template (
  tenant int not null,
  channel_id bigint not null,
  template_id int not null,
  name text not null,
  app text,
  primary key (tenant, channel_id, template_id)
);

-- Which apps Optimove was told of: it has no call that lists them.
create table told_app (
  tenant int not null,
  channel_id bigint not null,
  app_id text not null,
  name text not null,
  primary key (tenant, channel_id, app_id)
);

-- Listeners that we have registered at Optimove: so that one that is gone or leads elsewhere is noticed, our old ones are known,
-- and campaigns of before are never taken for ours.
create table listener (
  tenant int not null,
  event_type int not null,
  channel_id int,                   -- null: registered without one
  channel text not null default '', -- which of ours has that id; empty: none
  url bytea not null,               -- the hash of the address that Optimove has
  wanted_by text not null,          -- the worker that wanted it last: as long as it lives nobody removes the listener
  executed_before text[],           -- of a scheduled channel id: campaigns that were executed when we came, and of which somebody else was told; null: not known yet
  unique nulls not distinct (tenant, event_type, channel_id)
);
