"""The ledger, and Procrastinate's tables as its version 3.10 has them."""

from pathlib import Path

from alembic import op
from procrastinate import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table on an empty database."""
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text())
    driver.execute(schema.SchemaManager.get_schema())
