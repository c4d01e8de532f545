"""Optimove's side of our listener: notifications posted one by one, and whether each that was answered 200 was kept."""

import hashlib
import json

import httpx2

from crash.house import House

NOT_OURS = 77  # an event type that is kept, and starts nothing


class Listener:
    """Posts notifications and remembers which were answered with 200."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._number = 0
        self._kept: list[bytes] = []
        self.answers: list[int] = []  # one status for each notification; 0: no answer

    async def post(self) -> int:
        """One more notification; the status, 0 where there was no answer. Only the first try counts."""
        self._number += 1
        body = json.dumps({"EventTypeID": NOT_OURS, "Number": self._number}).encode()
        url = f"http://127.0.0.1:{self._house.listen}/optimove/acme/{self._house.secret}"
        try:
            status = (await self._house.optimove.post(url, content=body)).status_code
        except httpx2.TransportError:
            status = 0
        if status == 200:
            self._kept.append(body)
        self.answers.append(status)
        return status

    async def lost(self) -> list[str]:
        """A sentence for each notification that was answered 200 and is not in the ledger."""
        there = {bytes(found) for (found,) in await self._house.rows("select hash from notification")}
        return [
            f"a notification was answered 200 and not kept: {body.decode()}"
            for body in self._kept
            if hashlib.sha256(body).digest() not in there
        ]
