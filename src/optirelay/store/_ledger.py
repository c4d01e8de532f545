"""One tenant's rows inside one transaction."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from psycopg import AsyncConnection

from optirelay.model import TenantId
from optirelay.store.audit import Audit
from optirelay.store.batches import Batches
from optirelay.store.budget import Budget
from optirelay.store.campaigns import Campaigns
from optirelay.store.channels import Channels
from optirelay.store.contacts import Contacts
from optirelay.store.events import Events
from optirelay.store.forgetting import Forgetting
from optirelay.store.listeners import Listeners
from optirelay.store.looks import Looks
from optirelay.store.opt_outs import OptOuts
from optirelay.store.pages import Pages
from optirelay.store.problems import Problems
from optirelay.store.reports import Reports
from optirelay.store.sharing import Sharing
from optirelay.store.templates import Templates
from optirelay.store.triggers import Triggers


class Ledger:
    """One tenant's rows inside one transaction: all of it is written, or nothing."""

    def __init__(self, connection: AsyncConnection[Any], name: TenantId, tenant: int) -> None:
        self.tenant = name
        self.number = tenant  # in every key
        self.connection = connection  # for jobs, which commit with the rows they speak of
        self.campaigns = Campaigns(connection, tenant)
        self.pages = Pages(connection, tenant)
        self.batches = Batches(connection, tenant)
        self.channels = Channels(connection, tenant)
        self.reports = Reports(connection, tenant)
        self.templates = Templates(connection, tenant)
        self.listeners = Listeners(connection, tenant)
        self.problems = Problems(connection, tenant)
        self.budget = Budget(connection, tenant)
        self.looks = Looks(connection, tenant)
        self.events = Events(connection, tenant)
        self.opt_outs = OptOuts(connection, tenant)
        self.triggers = Triggers(connection, tenant)
        self.contacts = Contacts(connection, tenant)
        self.sharing = Sharing(connection, tenant)
        self.audit = Audit(connection, tenant)
        self.forgetting = Forgetting(connection, tenant)

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """What goes wrong inside is undone, and the transaction goes on."""
        return self.connection.transaction()
