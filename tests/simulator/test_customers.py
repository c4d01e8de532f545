"""People made from a seed: the same again, mostly ordinary, some not, and reachable by nobody."""

import re
from datetime import date

import pytest

from optirelay.simulator.customers import Customer, Customers

RESERVED = re.compile(r"(.+\.)?example\.(com|org|net)")


def test_the_same_seed_makes_the_same_people() -> None:
    people, again, others = Customers("7:7001", 500), Customers("7:7001", 500), Customers("8:7001", 500)
    assert [people.at(number) for number in range(500)] == [again.at(number) for number in range(500)]
    assert [people.at(number) for number in range(500)] != [others.at(number) for number in range(500)]


def test_a_few_have_no_address_and_a_few_are_odd() -> None:
    people = [Customers("7:7001", 5000).at(number).attributes for number in range(5000)]
    emails = [person["EMAIL"] for person in people]
    missing = [email for email in emails if email is None or not email.strip() or email == "NULL"]
    assert 50 <= len(missing) <= 100
    assert {None, "", "NULL"} <= set(missing)
    names = [person["FIRST_NAME"] for person in people]
    odd = [name for name in names if not (name.isascii() and name.isalpha())]
    assert 20 <= len(odd) <= 60
    assert any("<script>" in name for name in odd)
    assert any("\r\n" in name for name in odd)
    assert any(not name.isascii() for name in odd)
    no_addresses = [email for email in emails if email not in missing and email.split("@")[0].count(".") != 2]
    assert 5 <= len(no_addresses) <= 40


def test_addresses_reach_nobody() -> None:
    people = Customers("7:7001", 5000)
    for number in range(5000):
        email = people.at(number).attributes["EMAIL"] or ""
        domain = email.rpartition("@")[2] if "@" in email else ""
        assert not domain or RESERVED.fullmatch(domain), email


def test_ids_are_told_apart_by_zeros_in_front_and_found_again() -> None:
    people = Customers("7:7001", 2000)
    ids = [people.at(number).customer_id for number in range(2000)]
    assert len(set(ids)) == 2000
    assert ids[0] == "C-000001"
    assert {"0000000041", "41"} <= set(ids)
    assert [people.position_of(customer_id) for customer_id in ids] == list(range(2000))


@pytest.mark.parametrize("customer_id", ["", "C-", "C-1", "000041", "C-002001", "nobody", "C-\u0661", "0"])
def test_an_id_that_nobody_has_is_not_found(customer_id: str) -> None:
    assert Customers("7:7001", 2000).position_of(customer_id) is None


def test_people_are_added_at_the_end_or_replaced() -> None:
    people = Customers("7:7001", 2)
    people.put(Customer("VIP", {"EMAIL": "v@example.com"}))
    people.put(Customer("C-000002", {"EMAIL": "two@example.com"}))
    people.put(Customer("VIP", {"EMAIL": "vip@example.com"}))
    assert [people.at(number).customer_id for number in range(len(people))] == ["C-000001", "C-000002", "VIP"]
    assert people.at(1).attributes == {"EMAIL": "two@example.com"}
    assert people.at(2).attributes == {"EMAIL": "vip@example.com"}


def test_changes_lie_over_a_customer_until_it_is_replaced() -> None:
    people, monday, tuesday = Customers("7:7001", 2, {"OPT_IN": "no"}), date(2031, 4, 7), date(2031, 4, 8)
    people.put(Customer("VIP", {"TIER": "Silver"}))
    for position, tier, day in (
        (2, "Bronze", monday),
        (2, "Iron", tuesday),
        (2, "Gold", tuesday),
        (0, "Gold", tuesday),
    ):
        people.change(position, {"TIER": tier}, day)
    assert people.at(2).attributes == {"OPT_IN": "no", "TIER": "Gold"}
    assert people.at(1).attributes["OPT_IN"] == "no"
    changed = [(customer.customer_id, before) for customer, before in people.changed("TIER", tuesday)]
    assert changed == [("C-000001", None), ("VIP", "Bronze")]
    assert list(people.changed("TIER", monday)) == []
    people.put(Customer("VIP", {"TIER": "None"}))
    assert people.at(2).attributes["TIER"] == "None"
