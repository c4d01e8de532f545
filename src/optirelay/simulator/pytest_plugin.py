"""A simulated Optimove as a fixture of pytest, for the tests of anyone's integration.

Nothing of the simulator is imported before a test asks for the fixture.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from optirelay.simulator import Simulator


@pytest.fixture
def optimove_scenario() -> Any:
    """The scenario of the fixture `optimove`: none; override it with the path of a TOML file or a mapping."""
    return None


@pytest.fixture
def optimove(request: pytest.FixtureRequest, optimove_scenario: Any) -> "Iterator[Simulator]":
    """A fresh simulator on a free port, in a thread of its own, until the test is over.

    `@pytest.mark.optimove_scenario(…)` has the scenario of one test, class or module, as a path, a mapping or keywords;
    without it the fixture `optimove_scenario` has it.
    """
    from optirelay.simulator import Simulator

    marker = request.node.get_closest_marker("optimove_scenario")
    scenario = optimove_scenario if marker is None else (marker.args[0] if marker.args else marker.kwargs)
    with Simulator(scenario=scenario) as simulator:
        yield simulator


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "optimove_scenario(scenario): what the fixture `optimove` simulates.")
