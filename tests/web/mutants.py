"""Notifications with something wrong: malformed, mutated, or of a shape that nobody expects."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.conftest import LISTENER_SECRET
from tests.triggers import TRIGGERED_ID

from optirelay.web.ingest import LARGEST_BODY

Fields = list[tuple[str, str]]
"""Keys, each with its value as JSON text: also what no JSON writer would write, and the same key again."""

ODD = (
    *(
        "null",
        "true",
        "false",
        "0",
        "-1",
        "-0",
        "1.5",
        "1e308",
        "1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "1" + "0" * 24,
    ),
    *("9" * 400, "9" * 5000, "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "11.0", "1e1"),
    *('""', '"  "', '"NULL"', '"null"', r'"\u0000"', r'"a\u0000b"', r'"\ud800"', r'"\udc00 x"', r'"\u2028\u202e"'),
    *(
        '"٣"',
        '"0017"',
        '" 17 "',
        '"17.0"',
        '"-17"',
        '"1e1"',
        '"{{ FIRST_NAME }}"',
        '"\'; drop table message"',
        '"\r\n"',
    ),
    *("[]", "{}", "[[]]", '[null, 1, "A", {"b": []}, true, 1.5]', '{"a": {"b": [1]}}', '{"": ""}', '["17"]', "[17]"),
    *(json.dumps("x" * 101), json.dumps("y" * 501), json.dumps("z" * (64 * 1024 + 1)), json.dumps("ß" * 40_000)),
    *('"ana@example.com\\nBcc: eve@example.com"', '"Ana <ana@example.com>"', '"@"', '"ana@example.com"', '"a@b"'),
)
STAMPS = (
    *("2031-04-02", "2031-04-02 12:44", "2031-04-02T12:44:09Z", "2031-04-02T12:44:09.123456789+02:00", "1712038322"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-W01-1T00+01", "0000-00-00 00:00:00"),
    *(
        "1999-12-31 23:59:59",
        "2199-12-31 23:59:59",
        "2031-02-30 10:00:00",
        "2031-04-02 24:00:00",
        "soon",
        "-1",
        "x" * 65,
    ),
)
CAMPAIGNS = ("70001", "70002", "winback", "70002", "070001")
TYPES = ("1", "13", "4", "5", "3", "99", '"11"', '"eleven"')
CONTENT_TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "x", "multipart/form-data", "")
PATHS = (
    *("/optimove/acme/wrong", "/optimove/nobody/{}", "/optimove/acme", "/optimove/acme/{}/more", "/optimove//{}"),
    "/optimove/acme/{}%00",
)
PATH = f"/optimove/acme/{LISTENER_SECRET}"


class Mutant(NamedTuple):
    """What is posted, and what may be answered."""

    body: bytes
    answers: frozenset[int]
    path: str = PATH
    content_type: str = "application/json"
    chunked: bool = False


def mutants(dice: random.Random) -> Iterator[Mutant]:
    """For ever; the same ones from the same dice. One of hundreds is as large as may be, or larger."""
    number = 0
    while True:
        number += 1
        if not dice.randrange(400):
            yield Mutant(dice.choice(_LARGE)(dice), frozenset({200, 400, 413}), chunked=dice.random() < 0.5)
            continue
        body = dice.choice(_WAYS)(dice, _genuine(dice, number))
        if not dice.randrange(40):
            yield Mutant(body, frozenset({404}), dice.choice(PATHS).format(LISTENER_SECRET))
            continue
        content_type = dice.choice(CONTENT_TYPES) if dice.random() < 0.1 else CONTENT_TYPES[0]
        yield Mutant(body, frozenset({200, 400}), PATH, content_type, chunked=dice.random() < 0.1)


def _genuine(dice: random.Random, number: int) -> Fields:
    address = f"c{number}@example.com"
    return [
        ("eventTypeID", "11"),
        ("timeStamp", f'"2031-04-02 12:{number // 60 % 60:02}:{number % 60:02}"'),
        ("tenantID", "7001"),
        ("triggerName", '"Viewed loans page three times"'),
        ("customerID", f'"C-{number}"'),
        ("campaignID", json.dumps(dice.choice(CAMPAIGNS))),
        ("actionID", "214"),
        ("actionName", '"Loan nudge"'),
        ("channelID", str(TRIGGERED_ID)),
        ("templateID", "17"),
        ("promoCode", '["LOAN5"]'),
        ("notes", '""'),
        ("personalization", json.dumps({"FIRST_NAME": "Ana", "EMAIL": address, "page_title": "Loans"})),
    ]


def _written(fields: Fields) -> bytes:
    return f"{{{', '.join(f'{json.dumps(key)}: {value}' for key, value in fields)}}}".encode()


# --- what goes wrong: octets ------------------------------------------------------------------------------------------


def _flipped(dice: random.Random, fields: Fields) -> bytes:
    body = bytearray(_written(fields))
    for _ in range(dice.choice((1, 1, 2, 8))):
        body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    return bytes(body)


def _cut(dice: random.Random, fields: Fields) -> bytes:
    body, at = _written(fields), dice.randrange(200)
    return dice.choice((body[:at], body[at:], body[:at] + body[at + dice.randrange(1, 20) :]))


def _inserted(dice: random.Random, fields: Fields) -> bytes:
    body, at = _written(fields), dice.randrange(400)
    more = (
        dice.randbytes(dice.randrange(1, 9)),
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"{",
        b"]",
        b",",
        b'"',
        b"\\",
        b" " * 999,
    )
    return body[:at] + dice.choice(more) + body[at:]


def _at_random(dice: random.Random, fields: Fields) -> bytes:
    return dice.choice((dice.randbytes(dice.randrange(400)), b"\xef\xbb\xbf" + _written(fields), _written(fields) * 2))


def _no_object(dice: random.Random, fields: Fields) -> bytes:
    return dice.choice((b"", b"  ", b"null", b"11", b'"11"', b"[%b]" % _written(fields), dice.choice(ODD).encode()))


# --- what goes wrong: keys and values ---------------------------------------------------------------------------------


def _keys(dice: random.Random, fields: Fields) -> bytes:
    """Renamed, doubled, left out, in another case."""
    for _ in range(dice.randrange(1, 4)):
        place = dice.randrange(len(fields))
        key, value = fields[place]
        case = dice.choice((key.upper(), key.lower(), key.title(), key.swapcase()))
        changed: Sequence[Fields] = (
            [(f"{key}s", value)],
            [(f"\0{key}", value)],
            [(key, dice.choice(ODD)), (key, value)],
            [(case, value), (key, dice.choice(ODD))],
            [("", value)],
            [],
            [(case, value)],
            [("k" * 70_000, value)],
        )
        fields[place : place + 1] = dice.choice(changed)
        if not fields:
            break
    return _written(fields)


def _values(dice: random.Random, fields: Fields) -> bytes:
    for _ in range(dice.choice((1, 1, 2, 5))):
        place = dice.randrange(1, len(fields))
        fields[place] = (fields[place][0], dice.choice(ODD))
    return _written(fields)


def _changed(fields: Fields, key: str, value: str) -> bytes:
    return _written([(k, value if k == key else v) for k, v in fields])


def _type(dice: random.Random, fields: Fields) -> bytes:
    kind = dice.choice((*TYPES, *ODD)) if dice.random() < 0.3 else dice.choice(TYPES[3:])
    return _changed(fields, "eventTypeID", kind)


def _stamp(dice: random.Random, fields: Fields) -> bytes:
    return _changed(fields, "timeStamp", json.dumps(dice.choice(STAMPS)))


def _ids(dice: random.Random, fields: Fields) -> bytes:
    key = dice.choice(("customerID", "campaignID", "actionID", "channelID", "templateID"))
    wrong = ("18", "504", "1", '"raw:00"', json.dumps("i" * 500), json.dumps("i" * 501), r'"\u0007"', '"C-\U0001f600"')
    return _changed(fields, key, dice.choice((*wrong, *ODD)))


def _personalization(dice: random.Random, fields: Fields) -> bytes:
    tags = {name: dice.choice(ODD) for name in ("FIRST_NAME", "EMAIL", "page_title") if dice.random() < 0.5}
    tags |= {dice.choice(("", "\0", "\ud800", "email", "n" * 70_000, "ключ")): dice.choice(ODD)}
    inside = _written(list(tags.items())).decode()
    values = (inside, inside, inside, f"[{inside}]", f'{{"EMAIL": {inside}}}', *_TAGS, dice.choice(ODD))
    return _changed(fields, "personalization", dice.choice(values))


_TAGS = (
    json.dumps('{"EMAIL": "ana@example.com"}'),
    '{"a": ' * 31 + '"b"' + "}" * 31,
    json.dumps({f"tag {n}": "value" for n in range(2000)}),
)
_MANY_CODES = json.dumps([f"CODE{n}" for n in range(5000)])


def _promo_codes(dice: random.Random, fields: Fields) -> bytes:
    codes = f"[{', '.join(dice.choices(ODD, k=dice.randrange(6)))}]"
    return _changed(fields, "promoCode", dice.choice((codes, codes, _MANY_CODES, dice.choice(ODD))))


def _deep(dice: random.Random, fields: Fields) -> bytes:
    depth, (opening, closing) = dice.choice((31, 32, 33, 1000, 20_000)), dice.choice((("[", "]"), ('{"a": ', "}")))
    return _written([*fields, ("more", opening * depth + "1" + closing * depth)])


_WAYS: Sequence[Callable[[random.Random, Fields], bytes]] = (
    *(_flipped, _flipped, _cut, _inserted, _at_random, _no_object, _keys, _keys, _values, _values),
    *(_type, _stamp, _ids, _personalization, _promo_codes, _deep),
)


# --- as large as may be, or larger ------------------------------------------------------------------------------------


def _long_text(dice: random.Random) -> bytes:
    short = _changed(_genuine(dice, 0), "notes", '""')
    more = LARGEST_BODY - len(short) + dice.choice((-1, 0, 1, 1000))
    return short.replace(b'"notes": ""', b'"notes": "%b"' % (b"n" * more))


def _many_lists(dice: random.Random) -> bytes:
    return _written([*_genuine(dice, 0), ("more", "[" + "[]," * 340_000 + "1]")])


def _many_tags(dice: random.Random) -> bytes:
    return _written([*_genuine(dice, dice.randrange(9)), *((str(n), '""') for n in range(50_000))])


_LARGE: Sequence[Callable[[random.Random], bytes]] = (_long_text, _many_lists, _many_tags)
