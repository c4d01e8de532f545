"""The dry run: one line a message, nothing private and nothing that plays tricks on a terminal."""

from collections.abc import AsyncIterator

import pytest

from optirelay.channels import Channel, ChannelSetup
from optirelay.channels.console import ConsoleChannel
from optirelay.model import Sid

from .contract import ChannelContract, RecordingWire, outgoing


class TestConsole(ChannelContract):
    reported = False
    lines: list[str]

    @pytest.fixture
    async def channel(self) -> AsyncIterator[Channel]:
        self.lines = []
        channel = ConsoleChannel(ChannelSetup("acme", "newsletter", 30.0, None, self.lines.append))
        yield channel
        await channel.aclose()

    def arrived(self) -> list[Sid]:
        return [Sid(line.split()[0]) for line in self.lines]

    async def test_a_message_is_one_line_with_its_ids_and_the_address_masked(self, channel: Channel) -> None:
        await channel.send([outgoing("s1", to="ann@example.com", subject="Welcome back")], RecordingWire())
        assert self.lines == ["s1 campaign 90211 customer 00042 template 17 to a…@example.com: Welcome back"]

    @pytest.mark.parametrize(
        ("subject", "shown"),
        [
            ("one\r\ntwo", "one\\r\\ntwo"),
            ("\x1b[31mred\x1b[0m\x07", "\\x1b[31mred\\x1b[0m\\x07"),
            ("turned \u202earound", "turned \\u202earound"),
            ("half \ud800", "half \\ud800"),
            ("Grüße an 東京 🎉", "Grüße an 東京 🎉"),
        ],
    )
    async def test_characters_that_do_not_print_are_shown_as_escapes(
        self, channel: Channel, subject: str, shown: str
    ) -> None:
        await channel.send([outgoing("s1", subject=subject, content=b"")], RecordingWire())
        [line] = self.lines
        assert line.endswith(f": {shown}")

    @pytest.mark.parametrize("to", ["ann", "@example.com", ""])
    async def test_what_is_no_address_is_masked_too(self, channel: Channel, to: str) -> None:
        await channel.send([outgoing("s1", to=to)], RecordingWire())
        assert "ann" not in self.lines[0]
