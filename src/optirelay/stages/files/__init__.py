"""Files that operators import: rows, what they say, and why some are rejected."""

from optirelay.stages.files.contacts import CONTACT_COLUMNS, BadContact, SaidOfContact, read_contact
from optirelay.stages.files.opt_ins import OPT_IN_COLUMNS, OptIn, read_opt_in
from optirelay.stages.files.rows import (
    LONGEST_ROW,
    BadFile,
    Columns,
    FileKind,
    Reject,
    Rejection,
    Row,
    Rows,
    kind_of,
    rejects_header,
)

__all__ = [
    "CONTACT_COLUMNS",
    "LONGEST_ROW",
    "OPT_IN_COLUMNS",
    "BadContact",
    "BadFile",
    "Columns",
    "FileKind",
    "OptIn",
    "Reject",
    "Rejection",
    "Row",
    "Rows",
    "SaidOfContact",
    "kind_of",
    "read_contact",
    "read_opt_in",
    "rejects_header",
]
