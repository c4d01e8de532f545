"""Our directory of people: whose address and attributes a recipient has."""

import json

import pytest

from optirelay.model import Contact, CustomerId, Recipient, Skip, TemplateId
from optirelay.stages.contacts import addressed

SAID = {"FIRST_NAME": "Ana", "City": "Rome"}
ANA = Recipient(CustomerId("C-1"), TemplateId(17), None, None, SAID)


def contact(address: str | None = "ana@example.com", **attributes: str) -> Contact:
    return Contact(address, json.dumps(attributes))


def test_a_recipient_has_the_address_and_the_attributes_of_their_contact() -> None:
    found = addressed(ANA, contact(TIER="gold"), any_case=False)
    assert (found.customer_id, found.address, found.skip) == ("C-1", "ana@example.com", None)
    assert found.personalization == {**SAID, "TIER": "gold"}


@pytest.mark.parametrize(("any_case", "city"), [(False, {"CITY": "Oslo"}), (True, {})])
def test_what_optimove_says_comes_first(any_case: bool, city: dict[str, str]) -> None:
    found = addressed(ANA, contact(FIRST_NAME="Bea", CITY="Oslo"), any_case=any_case)
    assert found.personalization == {**SAID, **city}


@pytest.mark.parametrize("nobody", [None, contact(None, TIER="gold")])
def test_who_has_no_contact_or_one_without_the_address_is_skipped(nobody: Contact | None) -> None:
    sought = Recipient(CustomerId("C-1"), TemplateId(17), None, "found-by@example.com", SAID)
    found = addressed(sought, nobody, any_case=False)
    assert (found.skip, found.address, found.personalization) == (Skip.NO_ADDRESS, None, SAID)


def test_who_is_skipped_already_stays_so_and_what_found_them_is_no_address() -> None:
    skipped = Recipient(CustomerId("C-1"), TemplateId(17), None, "found-by@example.com", SAID, Skip.CONTROL_GROUP)
    found = addressed(skipped, contact(), any_case=True)
    assert (found.skip, found.address) == (Skip.CONTROL_GROUP, None)
