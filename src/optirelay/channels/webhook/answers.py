"""What a receiver's answer means for the messages of a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from optirelay.model import Accepted, Answer, Doubtful, Later, Refusal, Refused, Sid

LONGEST_PAUSE = timedelta(days=1)
"""A receiver that asks us to wait longer is asked again after that."""
WORDS_CHARACTERS = 200
"""Of a receiver's own words, and of its ids, at most so many are kept."""
STOPS = frozenset({401, 403, 410})
"""Statuses after which the receiver takes nothing until a person changes something."""
HAD_IT_ALREADY = 409
_NOT_NOW = frozenset({408, 425, 429, 503})  # 408, 425: the request was not read to its end, or may be a replay
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, without what does not matter here."""

    status: int
    body: bytes
    whole: bool  # False: the body was longer than is read, or cut
    retry_after: str = ""
    date: str = ""

    @property
    def words(self) -> str:
        """The status and how the body begins, in one line."""
        return f"{self.status} {_line(self.body[: 4 * WORDS_CHARACTERS].decode(errors='replace'))}".rstrip()

    def wait(self, now: datetime) -> timedelta | None:
        """How long the receiver asks us to wait: seconds, or until a date, which counts from the answer's own.

        At most LONGEST_PAUSE; None where it asks for nothing that can be read, or for the past.
        """
        text = self.retry_after.strip()
        if text.isascii() and text.isdecimal():
            return min(timedelta(seconds=int(text[:9])), LONGEST_PAUSE)
        until = _http_date(text)
        if until is None:
            return None
        pause = until - (_http_date(self.date) or now)
        return None if pause < timedelta(0) else min(pause, LONGEST_PAUSE)


def answers(reply: Reply, sids: Sequence[Sid], *, several: bool, now: datetime) -> list[Answer]:
    """What became of each message, in the order of `sids`. `several`: the request had a list of messages.

    A 2xx accepts. For a list, its body may say otherwise for single messages; then it must be as agreed, or those that
    it does not clearly speak of are in doubt. For one message any body will do.
    """
    status = reply.status
    if status == HAD_IT_ALREADY:
        return [Accepted()] * len(sids)
    if 200 <= status < 300:
        return _accepted(reply, sids, several=several)
    return [_not_accepted(reply, now)] * len(sids)


def _not_accepted(reply: Reply, now: datetime) -> Answer:
    status = reply.status
    if status in STOPS:
        return Later(reply.words, tried=False)
    if status in _NOT_NOW:
        return Later(reply.words, reply.wait(now))
    if 300 <= status < 400:
        return Later(f"{status}: a redirect, which is never followed; write the new address as `url`")
    if 400 <= status < 500:
        return Refused(Refusal.REJECTED, reply.words)
    return Doubtful(reply.words)


def _accepted(reply: Reply, sids: Sequence[Sid], *, several: bool) -> list[Answer]:
    said: Any = {}
    if reply.body.strip():
        try:
            said = _decode(reply.body)
        except (ValueError, RecursionError):  # msgspec's own is a ValueError, and so is text that is not UTF-8
            said = None
    if isinstance(said, dict) and "results" in said:
        return _each(said["results"], sids, reply)
    if not several:
        return [Accepted(_provider_id(said) if isinstance(said, dict) else None)]
    if reply.whole and isinstance(said, dict):
        return [Accepted()] * len(sids)
    why = "what is wrong with each message cannot be read" if reply.whole else "the answer was cut, or is too long"
    return [Doubtful(f"{why}: {reply.words}")] * len(sids)


def _each(results: Any, sids: Sequence[Sid], reply: Reply) -> list[Answer]:
    """Results by id; a message that none names was accepted, unless there are some that name nobody."""
    strange = Doubtful(f"a result that we cannot read: {reply.words}")
    if not isinstance(results, list):
        return [strange] * len(sids)
    found: dict[str, Answer] = {}
    unnamed: Answer = Accepted()
    for result in results:
        if isinstance(result, dict) and isinstance(sid := result.get("id"), str):
            found[sid] = _one(result)
        else:
            unnamed = strange
    return [found.get(sid, unnamed) for sid in sids]


def _one(result: Mapping[str, Any]) -> Answer:
    status, reason = result.get("status"), result.get("reason")
    words = "" if reason is None else _line(str(reason))
    match status:
        case "accepted":
            return Accepted(_provider_id(result))
        case "refused":
            return Refused(Refusal.REJECTED, words)
        case "retry":
            return Later(words)
    return Doubtful(f"the receiver says {_line(str(status))!r} of it, which is no status that we know")


def _provider_id(said: Mapping[str, Any]) -> str | None:
    found = said.get("provider_id")
    return _line(str(found)) or None if isinstance(found, str | int) else None


def _line(text: str) -> str:
    """The beginning of a stranger's words, in one line that prints."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:WORDS_CHARACTERS]


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
