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

-- Too late: kept and never sent, because Optimove does not take what happened so long ago.
alter table report_batch drop constraint report_batch_state_check,
  add constraint report_batch_state_check check (state in ('ready', 'sent', 'answered', 'in_doubt', 'refused', 'too_late'));
-- The report that it is a part of: the number in `told`.
alter table report_batch add column report bigint;
-- When it last left for Optimove: until then its sender only waits for its turn.
alter table report_batch add column made_at timestamptz;
update report_batch set made_at = sent_at;
-- When the first of what it tells happened, where that must not be long ago.
alter table report_batch add column oldest_at timestamptz;
-- Of Optimove's answer: pages without end are known by it. Null: read before this was kept.
alter table page add column digest bytea;

-- Whether the same call twice would count twice.
alter table report_batch add column additive boolean not null default true;
update report_batch set additive = false where call = 'UpdateCampaignMetrics';

-- The total of a metric that Optimove was told, all at once or in increments.
create table told_metric (
  tenant int not null,
  campaign bigint not null,
  template_id int not null,
  event text not null,
  told int not null,
  primary key (tenant, campaign, template_id, event)
);

-- The last slot that is reserved, no longer the one behind it: how far that lies off depends on the rate, which a reload changes.
alter table channel rename column next_slot_at to last_slot_at;

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
