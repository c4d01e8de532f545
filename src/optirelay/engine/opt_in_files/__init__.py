"""Opt-ins as files in a directory: written, uploaded, and freed of somebody who is to be forgotten.

Of one channel's files one at a time may be at work, over all processes: callers hold an advisory lock.
"""

from optirelay.engine.opt_in_files._removing import remove_person
from optirelay.engine.opt_in_files._uploading import upload
from optirelay.engine.opt_in_files._writing import PART_BYTES, manifest_of, next_name, write
from optirelay.stages.opt_in_files import Manifest, OptInRow, Part

__all__ = [
    "PART_BYTES",
    "Manifest",
    "OptInRow",
    "Part",
    "manifest_of",
    "next_name",
    "remove_person",
    "upload",
    "write",
]
