-- Opt-ins shared with Optimove, contacts, and people forgotten.

-- What Optimove was told of a subscription: `told` is null where nothing, or nothing that is known to have arrived. What differs from
-- `opted_in` is to be told. `call` is the call, or the file, that tells it; once there is no such call any more, it is confirmed.
alter table subscription
  add column told boolean,
  add column call bigint,
  add column failed text,                    -- why it was not taken; null: it was, or nobody knows yet
  add column tries smallint not null default 0,
  add column again_at timestamptz,           -- not before then
  add column bulk boolean not null default false; -- one of many that came at once: others go first
create index subscription_untold on subscription (tenant, channel, bulk, customer_id) where told is distinct from opted_in;
create index subscription_failed on subscription (tenant, channel) where failed is not null;

-- How a channel's opt-ins are shared, and how far that is.
create table opt_in_route (
  tenant int not null,
  channel text not null,
  route text not null,                       -- as the settings have it; another one begins anew
  waits int not null default 0,              -- how often it was tried in vain, one after the other
  waits_until timestamptz,
  file_at timestamptz,                       -- when the last file was written
  checked_to text not null default '',       -- the last customer whose value was read back
  primary key (tenant, channel)
);

-- Calls and files whose customers are not confirmed yet. Gone: they are.
create table opt_in_call (
  tenant int not null,
  id bigint generated always as identity,
  channel text not null,
  call text not null,                        -- the function at Optimove, or "file"
  customers int not null default 0,
  state text not null default 'made' check (state in ('made', 'answered', 'written')),
  request_id text,                           -- as Optimove answered, where it did
  made_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz,
  file text,                                 -- the name of its files without part and ending
  primary key (tenant, id)
);

-- Attributes that were asked for with AddCustomerAttribute.
create table opt_in_attribute (
  tenant int not null,
  name text not null,
  asked_at timestamptz not null default clock_timestamp(),
  added boolean not null default false,
  primary key (tenant, name)
);

-- What Optimove posts of attribute calls, raw.
create table attribute_result (
  tenant int not null,
  id bigint generated always as identity,
  call bigint,                               -- as the address it was posted to says
  body bytea not null,
  received_at timestamptz not null default clock_timestamp(),
  state text not null default 'new' check (state in ('new', 'done', 'set_aside')),
  primary key (tenant, id)
);
create index attribute_result_new on attribute_result (id) where state = 'new';

-- Our directory of people.
create table contact (
  tenant int not null,
  customer_id text not null,
  email text,
  phone text,                                -- E.164
  push_token text,
  attributes jsonb not null default '{}',    -- of the tenant's own
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant, customer_id)
);
create index contact_email on contact (tenant, lower(email)) where email is not null;
create index contact_phone on contact (tenant, phone) where phone is not null;
create index contact_push_token on contact (tenant, push_token) where push_token is not null;

-- People who were forgotten: the keyed hash of their customer id.
create table erased (
  tenant int not null,
  hash bytea not null,
  at timestamptz not null default clock_timestamp(),
  done_at timestamptz,                       -- when nothing of them was left; null: `erase` was ended before that
  primary key (tenant, hash)
);
create index suppression_erased on suppression (tenant) where starts_with(address, 'erased:');

-- What was done with a batch's addresses and personalization: they are gone.
alter table batch add column forgotten boolean not null default false;
create index batch_to_forget on batch (done_at) where done_at is not null and not forgotten;
-- They come in this order, so that a small index does.
create index notification_received on notification using brin (received_at);
create index callback_received on callback using brin (received_at);

-- It is forgotten, piece by piece; nobody is shown it any more, and its id is free.
alter table campaign add column going boolean not null default false;
create index campaign_going on campaign (tenant, id) where going;
