-- Every recipient, and reports for as long as Optimove takes them.

-- False: only a notification without a channel (type 1) named it, and no row of it was seen on this channel yet: nobody is shown it.
alter table campaign add column announced boolean not null default true;
-- When Optimove is told of it next; null: not before something is sent, and not after the last time.
alter table campaign add column report_at timestamptz;
create index campaign_report on campaign (report_at) where report_at is not null;

-- When the last of its groups began.
alter table batch add column begun_at timestamptz;

-- The part of the campaign's people that the recipient belongs to, where Optimove says so; else 1.
alter table message add column recipient_group int;

-- Whether the same call twice would count twice.
alter table report_batch add column additive boolean not null default true;
update report_batch set additive = false where call = 'UpdateCampaignMetrics';

-- What Optimove was told of a metric, where each call adds to the one before.
create table told_metric (
  tenant int not null,
  campaign bigint not null,
  template_id int not null,
  event text not null,
  told int not null,
  primary key (tenant, campaign, template_id, event)
);

-- A call with the tenant's key: it waits for its turn, is made, is answered, and counts for a window after that.
create table key_call (
  tenant int not null,
  id bigint generated always as identity,
  share text not null,
  seen_at timestamptz not null default clock_timestamp(), -- while it waits: when its process last looked
  made_at timestamptz,
  answered_at timestamptz,
  primary key (tenant, id)
);
alter table budget drop column calls;
-- Optimove refused calls all the same (429): how many in a row, since when, and until when nobody calls.
alter table budget add column refusals int not null default 0, add column refused_since timestamptz, add column waits_until timestamptz;
