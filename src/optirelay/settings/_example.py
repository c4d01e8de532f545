"""The commented file that `optirelay init` writes: every setting of this version, most of them commented out."""

import secrets
from base64 import b64encode

SECRET_BYTES = 32


def example(tenant: str = "acme") -> str:
    """A settings file with fresh secrets; it works once the tenant's API key is in the environment.

    What is commented out with "#" and no space is a default, or an example where there is none.
    """
    variable = tenant.upper().replace("-", "_")
    return _EXAMPLE.format(
        tenant=tenant,
        variable=variable,
        listener=secrets.token_urlsafe(SECRET_BYTES),
        callback=secrets.token_urlsafe(SECRET_BYTES),
        signing="whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode(),
    )


_EXAMPLE = """\
# Settings of optirelay. `optirelay check` tells what cannot work.
# A line that begins with "#" and no space is a setting at its default, or an example: take the "#" away and change it.
# Durations: 500ms 30s 15m 4h 7d; rates: 100/s 20/10s 5000/min. Relative paths count from this file's folder.
# Any secret is a text, {{ env = "NAME" }} for an environment variable, or {{ file = "path" }}. This file holds
# fresh ones (listener_secret and, commented out, two of a webhook): let nobody else read it.

[service]
#database = "embedded"                   # or postgresql://user:password@host/db, or {{ env = "DATABASE_URL" }}
#data_dir = "./optirelay-data"           # embedded database, journals, files
#listen = "127.0.0.1:8400"
#public_url = "https://relay.example.com"    # what Optimove and others call; default: http:// and what listen says
#allow_networks = ["127.0.0.0/8"]        # private networks that a webhook may lead to all the same; default: none
#workers = 1                             # worker processes that `serve` starts beside the web process; 0: web only
#takeover_after = "30s"                  # batches of a worker that was silent for so long are taken over
#heal_every = "15m"                      # listeners and templates compared with Optimove's
#sweep_every = "1h"                      # campaigns that never announced themselves are looked for
#keep_personal = "30d"                   # addresses, personalization, what came in; counts and states stay
#keep_messages = "400d"                  # who got what

# One table for each Optimove customer; the name is yours.
[tenants.{tenant}]
api_url = "https://api5.optimove.net"    # Optimove tells you the number; /current is added unless a path is given
api_key = {{ env = "{variable}_API_KEY" }}
#admin_api_key = {{ env = "{variable}_ADMIN_KEY" }}    # changes attributes; default: api_key does
listener_secret = "{listener}"    # part of the listener's URL
#listen_also = [1, 5]                     # event types beside 13, 11 and 4; default: none
#timezone = "UTC"                        # for quiet hours and display
#default_country = "FR"                  # of phone numbers without "+"; default: none
#page_size = 10000                       # recipients asked of Optimove at once
#rate_limit = "50/10s"                   # Optimove's budget for this key, shared by all workers
#report = "interactions"                 # | save_event: signed, to metrics_url | both
#report_every = "4h"                     # Optimove is told so often what is new,
#report_for = "7d"                       # for so long after a campaign's last message, then once more
#metrics_url = "https://metric-777.optimove.net/api/saveEvent"    # with save_event and both
#metrics_token = {{ env = "{variable}_METRICS_TOKEN" }}

# What Optimove's documents leave open.
[tenants.{tenant}.optimove]
# What we call which number; what is left out stays: sent = 0, delivered = 1, opened = 2, clicked = 3, unsubscribed = 4,
# dropped = 5, complained = 6, and bounced as here.
#metric_ids = {{ bounced = 9 }}
#interaction_ids = {{ bounced = 7 }}
#metrics_are = "totals"                  # | increments
#rename = "delete_then_add"              # | add: where adding a template under its id renames it
#templates_per_call = 100
#metrics_per_call = 100
#interactions_per_call = 10000
#attributes_per_call = 1000              # customers; Optimove's pages say 1,000 and 10,000
#preferences_per_call = 50000            # customers

# One table for each way to reach people; the name is yours, and template files use it.
[tenants.{tenant}.channels.newsletter]
scheduled_id = 504                       # Optimove's id of this channel, as it told you
#triggered_id = 604                      # its second id, for triggered campaigns: a message for each notification
#kind = "email"                          # email | sms | push | inapp
provider = "console"                     # prints, sends nothing | null: neither | smtp, webhook: each has a table below
#address = "attribute:EMAIL"             # where Optimove has the address | contacts: our own directory has it
personalization = ["FIRST_NAME"]         # other attributes that templates use
from = "Example <news@example.com>"      # a template may say otherwise
#rate = "100/s"                          # default: as fast as it goes
#quiet_hours = "22:00-08:00"             # default: none; nothing is handed over then, by the clocks of timezone
#expire_after = "24h"                    # up to this late a message still goes; later it is skipped
#expire_triggered_after = "1h"           # the same of a triggered message, from when its notification came
#timeout = "30s"                         # one call to the provider
#tries = 12
#retry_within = "4h"
#in_doubt = "hold"                        # hold | repeat | give_up; default by what the provider can
#only_to = ["*@example.com"]             # default: everybody; for trials: nobody else is written to
#require_opt_in = false                  # true: who never said yes is not written to, either
#opt_in = "attributes:EMAIL_OPTIN"       # how Optimove is told who opted in | channel_preference | batch_file:optins
#opt_in_values = ["true", "false"]       # attributes: what is written for in, out
#communication_modes = [1, 2]            # channel_preference: in, out; ask Optimove for the numbers

#[tenants.{tenant}.channels.newsletter.smtp]    # with provider = "smtp"
#host = "smtp.example.com"
#port = 587
#security = "starttls"                   # starttls | tls | none
#username = "{tenant}"
#password = {{ env = "{variable}_SMTP_PASSWORD" }}
#connections = 10

# A channel that hands over to a delivery system of your own, signed.
#[tenants.{tenant}.channels.texts]
#kind = "sms"
#scheduled_id = 505
#provider = "webhook"
#address = "contacts"                     # our own directory, or "attribute:MOBILE"; needed for sms
#match = "attribute:EMAIL"               # what finds somebody in our directory; default: customer_id
#opt_in = "batch_file:optins"            # a directory; see batch_file
#from = "ACME"                            # the sender id; needed for e-mail alone
#callback_secret = "{callback}"    # part of the URL that delivery events come to

#[tenants.{tenant}.channels.texts.webhook]
#url = "https://gateway.example.com/send"
#secret = "{signing}"    # the other side has it too; signs both ways
#batch = 1                               # messages a request, at most 500
#concurrency = 50                        # requests at once, each worker's
#contract = "keyed"                      # keyed: the receiver takes an id twice for the same message | hold

#[tenants.{tenant}.channels.texts.batch_file]    # with opt_in = "batch_file:optins"
#format = "csv"                          # csv | jsonl; gzipped
#columns = ["Customer_ID", "Allow_SMS", "LastUpdated"]    # customer, permission, when; default by the kind
#values = ["Yes", "No"]                  # in, out
#content = "changes"                     # changes | full
#every = "24h"
#upload = "sftp://{tenant}@files.example.com/optins"    # where files are uploaded; default: nowhere

# A push channel; a template's front matter says which of its apps it is for.
#[tenants.{tenant}.channels.push]
#kind = "push"
#scheduled_id = 506
#address = "attribute:PUSH_TOKEN"
#apps = {{ ios-main = "Example iOS" }}     # AppID = name; what marketers can pick
"""
