"""The channel of the benchmarks."""

from collections.abc import AsyncIterator

import pytest

from optirelay.channels import Channel, ChannelSetup
from optirelay.channels.null import NullChannel
from optirelay.model import Sid

from .contract import ChannelContract


class TestNull(ChannelContract):
    reported = True

    @pytest.fixture
    async def channel(self) -> AsyncIterator[Channel]:
        channel = NullChannel(ChannelSetup("acme", "newsletter", 30.0, None, print))
        yield channel
        await channel.aclose()

    def arrived(self) -> list[Sid] | None:
        return None
