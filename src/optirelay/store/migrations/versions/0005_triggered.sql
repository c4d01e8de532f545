-- Triggered campaigns: one message for each notification.

-- A triggered campaign has a row for each day: that of its notifications' time stamps.
alter table campaign drop constraint campaign_kind_check, add constraint campaign_kind_check check (kind in ('scheduled', 'triggered'));
create unique index campaign_scheduled on campaign (tenant, campaign_id, channel) where kind = 'scheduled';
create unique index campaign_triggered on campaign (tenant, campaign_id, channel, planned_on) where kind = 'triggered';
alter table campaign drop constraint campaign_tenant_campaign_id_channel_kind_key;

-- Triggered ones are taken by a loop of their own.
alter table batch add column triggered boolean not null default false;
-- Its counters are in `day_total`.
alter table batch add column added_up boolean not null default false;
drop index batch_due;
create index batch_due on batch (tenant, channel, triggered, due_at) where done_at is null;
create index batch_counting on batch (tenant, campaign) where not added_up;
create index batch_to_add_up on batch (done_at) where triggered and not added_up and done_at is not null and in_doubt = 0;

-- What triggered batches come to that are done: there may be one for each message.
create table day_total (
  tenant int not null,
  campaign bigint not null,
  template_id int,
  state text not null check (state in ('accepted', 'skipped', 'refused')),
  reason text not null default '',
  messages int not null,
  untold int not null,  -- of these: no report took their batch yet
  begun_at timestamptz, -- when the last of them began
  unique nulls not distinct (tenant, campaign, template_id, state, reason)
);

-- What counts of a campaign: its batches, and what those come to that are added up.
create view counted_batch as
select tenant, campaign, template_id, template_version, due_at, done_at, begun_at, told, total, begun, accepted, in_doubt, skipped, refused
from batch where not added_up
union all
select d.tenant, d.campaign, d.template_id, 0, null, '-infinity', d.begun_at, p.told, p.messages,
       case d.state when 'skipped' then 0 else p.messages end, case d.state when 'accepted' then p.messages else 0 end, 0,
       case d.state when 'skipped' then jsonb_build_object(d.reason, p.messages) else '{}' end,
       case d.state when 'refused' then jsonb_build_object(d.reason, p.messages) else '{}' end
from day_total d cross join lateral (values (0::bigint, d.messages - d.untold), (null, d.untold)) as p (told, messages)
where p.messages > 0;

-- What fired a triggered message.
alter table message add column trigger_name text, add column action_id text;
alter table personalization add column promo_codes jsonb;

-- The last slot that triggered messages have while scheduled ones wait: then they may have every other one.
alter table channel add column triggered_slot_at timestamptz not null default '-infinity';

-- Of each tenant, so that nobody's flood stands before another's few.
drop index notification_new;
create index notification_new on notification (tenant, id) where state = 'new';
