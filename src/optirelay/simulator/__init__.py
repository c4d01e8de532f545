"""A small Optimove on this machine, to try things against; it shares no code with the rest."""

from optirelay.simulator.errors import BadEntry, CannotListen
from optirelay.simulator.server import Simulator

__all__ = ["BadEntry", "CannotListen", "Simulator"]
