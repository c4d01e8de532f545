"""A small Optimove on this machine, to try things against; it shares no code with the rest.

`Simulator` is imported when it is first asked for: a pytest that never uses the fixture pays nothing for it.
"""

from typing import TYPE_CHECKING, Any

from optirelay.simulator.errors import BadEntry, CannotListen

if TYPE_CHECKING:
    from optirelay.simulator.server import Simulator

__all__ = ["BadEntry", "CannotListen", "Simulator"]


def __getattr__(name: str) -> Any:
    if name != "Simulator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optirelay.simulator.server import Simulator

    return Simulator
