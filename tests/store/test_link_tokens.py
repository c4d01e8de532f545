"""What stands in a link: the same on every try, and nobody can make one up."""

import re
from base64 import urlsafe_b64encode
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from optirelay.store.link_tokens import Linked, LinkTokens, is_genuine, read_token

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
DAY = date(2031, 4, 2)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

keys = st.binary(min_size=32, max_size=32)
tenants = st.integers(1, 2**16 - 1)
days = st.dates(date(2020, 1, 1), date(2199, 1, 1))
messages = st.integers(1, 2**63 - 1)
characters = st.sampled_from(LETTERS) | st.characters()


def token(key: bytes = KEY, tenant: int = 1, planned_on: date = DAY, message: int = 5_001) -> str:
    return LinkTokens(key, tenant, planned_on).of(message)


@given(keys, tenants, days, messages)
def test_a_token_is_36_letters_that_name_its_message_and_the_same_on_every_try(
    key: bytes, tenant: int, planned_on: date, message: int
) -> None:
    made = token(key, tenant, planned_on, message)
    assert re.fullmatch("[A-Za-z0-9_-]{36}", made)
    assert made == token(key, tenant, planned_on, message)
    assert read_token(made) == Linked(tenant, planned_on, message)
    assert is_genuine(made, key)
    assert not is_genuine(made, OTHER_KEY)


def test_another_message_day_tenant_or_key_is_another_token() -> None:
    others = [
        token(),
        token(message=5_002),
        token(planned_on=DAY + timedelta(days=1)),
        token(tenant=2),
        token(OTHER_KEY),
    ]
    assert len(set(others)) == len(others)
    assert len({made[16:] for made in others}) == len(others)  # the signature, too


@given(st.integers(0, 35), characters)
def test_a_token_with_another_character_is_not_genuine(place: int, character: str) -> None:
    made = token()
    changed = made[:place] + character + made[place + 1 :]
    assert is_genuine(changed, KEY) is (changed == made)


@given(
    st.integers(0, 36),
    st.integers(0, 36),
    st.text(characters, max_size=40),
    st.sampled_from([str, str.lower, str.upper, str.swapcase]),
)
def test_a_token_cut_or_stretched_anywhere_is_not_genuine(start: int, end: int, between: str, case: type[str]) -> None:
    made = token()
    changed = case(made[:start] + between + made[end:])
    assert is_genuine(changed, KEY) is (changed == made)


@given(messages)
def test_the_other_alphabet_of_base64_is_none_of_ours(message: int) -> None:
    made = token(message=message)
    changed = made.translate({ord("-"): "+", ord("_"): "/"})
    assert is_genuine(changed, KEY) is (changed == made)


@given(tenants, days, messages)
def test_a_signature_is_of_no_other_message(tenant: int, planned_on: date, message: int) -> None:
    forged = token(OTHER_KEY, tenant, planned_on, message)[:16] + token()[16:]
    assert is_genuine(forged, KEY) is (Linked(tenant, planned_on, message) == Linked(1, DAY, 5_001))


@given(
    st.text(characters, max_size=80) | st.binary(min_size=27, max_size=27).map(lambda o: urlsafe_b64encode(o).decode())
)
def test_whatever_stands_in_a_link_is_read_or_not_and_never_an_error(text: str) -> None:
    read = read_token(text)
    assert read is None or len(text) == 36
    assert not is_genuine(text, KEY)
