-- What comes back from providers, and who is not written to.

-- The provider takes nothing until a person changes something.
alter table channel add column stopped_at timestamptz;

-- The day behind what is told apart: with it in front PostgreSQL took this index, and with it a whole day, for a single message of a
-- table that it had no statistics of.
alter table message drop constraint message_tenant_planned_on_campaign_customer_id_template_id__key;
alter table message add constraint message_once unique nulls not distinct (tenant, campaign, customer_id, template_id, occurrence, planned_on);

-- Signs what stands in links of this tenant's messages; made once.
alter table tenant add column link_key bytea;

-- One request of a provider, raw. Committed before it is answered.
create table callback (
  tenant int not null,
  channel text not null,
  key bytea not null, -- the hash of its webhook-id, or of its bytes where it has none; "link " and the sid where it came by a link of ours
  id bigint generated always as identity,
  body bytea not null,
  received_at timestamptz not null default clock_timestamp(),
  state text not null default 'new' check (state in ('new', 'done', 'set_aside')),
  primary key (tenant, channel, key)
) with (fillfactor = 70);
create index callback_new on callback (id) where state = 'new';

-- What a provider told of a message, each event once.
create table delivery_event (
  tenant int not null,
  channel text not null,
  identity bytea not null,
  planned_on date,           -- null, like the message: it is none of this channel's
  message bigint,
  name text not null,        -- as the provider spells it
  kind text,                 -- null: unrecognised
  rank smallint not null,    -- how far it carries the message; 0: nowhere
  at timestamptz not null,
  open boolean not null,     -- the message was in doubt, or had no outcome yet: once it has one, they are compared
  callback bigint not null,  -- where the raw is
  primary key (tenant, channel, identity)
);
create index delivery_event_message on delivery_event (tenant, planned_on, message) where message is not null;
create index delivery_event_open on delivery_event (tenant, planned_on, message) where open;

-- What Optimove is told of a message beside the outcome that its batch was told with; each kind once a message.
alter table event drop constraint event_kind_check;
update event set kind = case kind when 'accepted' then 'sent' else 'dropped' end;
alter table event add constraint event_kind_check
  check (kind in ('sent', 'delivered', 'opened', 'clicked', 'unsubscribed', 'dropped', 'complained', 'bounced'));

-- How many messages of a campaign have an event of a kind.
create table counted_event (
  tenant int not null,
  campaign bigint not null,
  kind text not null,
  messages int not null,
  primary key (tenant, campaign, kind)
);

-- The outcome was in doubt, or given up, until an event told it.
alter table outcome add column by_event boolean;

-- Events of which Optimove is to be told: of messages that arrived, or that are refused because of the event.
create view tellable as
select e.*, o.state from event e
cross join lateral (
  select (select o.state from outcome o where o.tenant = e.tenant and o.planned_on = e.planned_on and o.message = e.message) as state offset 0
) o
where e.told is null and (o.state = 'accepted' or (o.state = 'refused' and e.kind = 'dropped'));

-- What customers said of a channel; the newest by its own time counts, and of two at the same time the no.
create table subscription (
  tenant int not null,
  channel text not null,
  customer_id text not null,
  opted_in boolean not null,
  at timestamptz not null,
  source text not null,
  primary key (tenant, channel, customer_id)
);
-- All that they ever said.
create table subscription_statement (
  tenant int not null,
  customer_id text not null,
  channel text not null,
  at timestamptz not null,
  opted_in boolean not null,
  source text not null,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (tenant, customer_id, channel, at, opted_in, source)
);

-- Addresses that are not written to, whatever Optimove chose.
create table suppression (
  tenant int not null,
  address text not null,            -- e-mail in small letters
  channel text not null default '', -- empty: every channel of the tenant
  reason text not null check (reason in ('hard_bounce', 'complaint', 'manual')),
  note text not null default '',
  at timestamptz not null default clock_timestamp(),
  primary key (tenant, address, channel)
);
