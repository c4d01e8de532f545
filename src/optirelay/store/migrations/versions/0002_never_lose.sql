-- What a kill, a pause and an operator's decision leave behind.

alter table campaign drop constraint campaign_state_check,
  add constraint campaign_state_check check (state in ('open', 'paused', 'complete', 'cancelled'));
-- True: by the operator, on this channel; else by Optimove, which means every channel.
alter table campaign add column cancelled_by_operator boolean not null default false;

alter table channel add column paused_at timestamptz;

-- Times that its messages were begun before and nothing was heard: what of them cannot go again is in doubt.
alter table batch add column repeats int not null default 0;

-- In doubt: the worker that had the message in hand, where it ended or went silent; what it saw still settles the doubt.
alter table outcome add column worker text;

-- The worker that sent it last, so that its end is noticed.
alter table report_batch add column worker text;

-- What became of a message after Optimove was told of its batch. With `told`, by the report of that number.
create table event (
  tenant int not null,
  planned_on date not null,
  message bigint not null,
  campaign bigint not null,
  kind text not null check (kind in ('accepted', 'refused')),
  at timestamptz not null default clock_timestamp(),
  told bigint,
  primary key (tenant, planned_on, message, kind)
);
create index event_campaign on event (tenant, campaign);

-- What an operator decided.
create table audit (
  tenant int not null,
  id bigint generated always as identity,
  at timestamptz not null default clock_timestamp(),
  account text not null,
  action text not null,
  subject text not null, -- a campaign and channel, a message's sid, a report batch
  reason text not null default '',
  primary key (tenant, id)
);
