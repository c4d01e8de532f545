-- The ledger. `tenant` leads every key, so that a tenant can move to another database; `planned_on` comes with it where rows
-- are many, so that these tables can be partitioned by day. Messages are only inserted, outcomes only appended.

create table tenant (
  id int generated always as identity primary key,
  name text not null unique
);

-- A process that works, so that /readyz and clocks can be judged.
create table worker (
  id text primary key,
  host text not null,
  pid int not null,
  started_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp()
);

-- What all workers must know of a channel: its next free slot in the rate, and how long it waits for its provider.
create table channel (
  tenant int not null references tenant,
  name text not null,
  next_slot_at timestamptz not null default '-infinity',
  waits_until timestamptz,
  waits int not null default 0,
  primary key (tenant, name)
);

-- The calls that a tenant's key has made lately: Optimove allows so many in a sliding window.
create table budget (
  tenant int primary key references tenant,
  calls timestamptz[] not null default '{}'
);

-- One request of Optimove, raw. Committed before it is answered.
create table notification (
  tenant int not null,
  id bigint generated always as identity,
  hash bytea not null,
  body bytea not null,
  received_at timestamptz not null default clock_timestamp(),
  state text not null default 'new' check (state in ('new', 'done', 'set_aside')),
  primary key (tenant, id),
  unique (tenant, hash)
);
create index notification_new on notification (id) where state = 'new';

-- One campaign on one channel.
create table campaign (
  tenant int not null,
  id bigint generated always as identity,
  channel text not null,
  kind text not null check (kind in ('scheduled')),
  campaign_id text not null,
  planned_on date not null,
  state text not null default 'open' check (state in ('open', 'complete', 'cancelled')),
  created_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  primary key (tenant, id),
  unique (tenant, campaign_id, channel, kind)
);

-- What one notification starts: a pass through the campaign's pages, in one reading or, where rows repeat, up to three.
create table pass (
  tenant int not null,
  id bigint generated always as identity,
  campaign bigint not null,
  number int not null,
  occasion text not null, -- the notification's time stamp, or the hash of its bytes
  reading int not null default 1,
  state text not null default 'waiting' check (state in ('waiting', 'reading', 'done')),
  primary key (tenant, id),
  unique (tenant, campaign, number),
  unique (tenant, campaign, occasion)
);

create table page (
  tenant int not null,
  pass bigint not null,
  reading int not null,
  skip int not null,
  received int not null,
  new int not null,        -- rows that were not in the ledger, unreadable ones too
  known int not null,      -- rows that were
  changed int not null,    -- of the known: another template or time than an earlier pass had
  repeated int not null,   -- of the known: this same pass had them already
  unreadable int not null, -- of the received
  primary key (tenant, pass, reading, skip)
);

create table template (
  tenant int not null,
  channel text not null,
  template_id int not null,
  key text not null,
  name text not null,
  version int not null,
  primary key (tenant, channel, template_id),
  unique (tenant, channel, key)
);

create table template_version (
  tenant int not null,
  channel text not null,
  template_id int not null,
  version int not null,
  content jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (tenant, channel, template_id, version)
);

-- At most 1,000 messages of one campaign and one template, by send time; closed when committed.
create table batch (
  tenant int not null,
  id bigint generated always as identity,
  campaign bigint not null,
  channel text not null,
  template_id int,
  template_version int,             -- null: the template is not ours yet, the batch is held
  due_at timestamptz not null,      -- held: the first expiry
  owner text,                       -- a worker; stays when it dies, so that its successor knows of it
  lease_until timestamptz,
  fence int not null default 0,     -- grows with every owner; a late one finds it changed
  started bigint not null default 0, -- the highest message that began or was skipped; never goes back
  tries int not null default 0,     -- tries that each of its messages has behind it
  first_tried_at timestamptz,
  total int not null,
  begun int not null default 0,
  accepted int not null default 0,
  in_doubt int not null default 0,
  skipped jsonb not null default '{}',
  refused jsonb not null default '{}',
  done_at timestamptz,
  told bigint,                      -- the report that took it
  primary key (tenant, id)
) with (fillfactor = 60);
create index batch_due on batch (tenant, channel, due_at) where done_at is null;
create index batch_campaign on batch (tenant, campaign);

create table message (
  tenant int not null,
  planned_on date not null,
  id bigint not null,               -- batch of birth * 1000 + place in it
  campaign bigint not null,
  batch bigint not null,            -- the only column that changes: when the message is to go again
  pass bigint not null,
  template_id int,
  customer_id text not null,
  address text,
  send_at timestamptz,
  occurrence bytea not null,        -- what tells two messages of one template to one customer apart
  primary key (tenant, planned_on, id),
  unique nulls not distinct (tenant, planned_on, campaign, customer_id, template_id, occurrence)
);
create index message_batch on message (tenant, batch);

-- Apart from the message, because it goes sooner.
create table personalization (
  tenant int not null,
  planned_on date not null,
  message bigint not null,
  tags jsonb not null,
  primary key (tenant, planned_on, message)
);

create type outcome_state as enum ('accepted', 'skipped', 'refused', 'in_doubt');

create table outcome (
  tenant int not null,
  planned_on date not null,
  message bigint not null,
  state outcome_state not null,
  reason text,
  provider_id text,
  at timestamptz not null,
  primary key (tenant, planned_on, message)
);

create index outcome_in_doubt on outcome (tenant, planned_on, message) where state = 'in_doubt';

-- A try that did not end in acceptance, with the provider's words.
create table attempt (
  tenant int not null,
  planned_on date not null,
  message bigint not null,
  at timestamptz not null,
  outcome text not null,
  detail text not null
);
create index attempt_message on attempt (tenant, planned_on, message);

-- Where each message stands: the one place that says so.
create view message_state as
select m.tenant, m.planned_on, m.id, m.campaign, m.batch, m.pass, m.template_id, m.customer_id, m.address, m.send_at,
       coalesce(o.state::text, case when m.id <= b.started then 'sending' else 'planned' end) as state,
       o.reason, o.provider_id, o.at
from message m
join batch b on b.tenant = m.tenant and b.id = m.batch
left join outcome o on o.tenant = m.tenant and o.planned_on = m.planned_on and o.message = m.id;

-- What one call of a report carries, frozen.
create table report_batch (
  tenant int not null,
  id bigint generated always as identity,
  campaign bigint not null,
  call text not null,
  event text not null,
  customers int not null,
  body bytea not null,
  state text not null default 'ready' check (state in ('ready', 'sent', 'answered', 'in_doubt', 'refused')),
  frozen_at timestamptz not null default clock_timestamp(),
  sent_at timestamptz,
  answered_at timestamptz,
  answer text,
  primary key (tenant, id)
);
create index report_batch_campaign on report_batch (tenant, campaign);

-- What the operator is told, with the mend; gone when mended.
create table problem (
  id bigint generated always as identity primary key,
  kind text not null,
  tenant int references tenant,
  channel text not null default '',
  campaign_id text not null default '',
  subject text not null default '', -- what tells two problems of one kind and place apart
  since timestamptz not null default clock_timestamp(),
  problem text not null,
  mend text not null,
  unique nulls not distinct (kind, tenant, channel, campaign_id, subject)
);
