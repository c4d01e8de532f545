"""Customer attributes: reading and changing them, and what Optimove posts back about a change."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec

from ._call import PAGE_SIZE, Call, PagedCall, page_query
from ._read import (
    BOM,
    Unreadable,
    fold,
    read_bool,
    read_json,
    read_list,
    read_note,
    read_nothing,
    read_object,
    read_optional_id,
    read_text,
)
from ._rows import attributes_query, read_asked, read_customer, read_value, without_null
from ._write import AttributeValue, attributes_to_wire, check_limit

MAX_CHANGED_CUSTOMERS = 1_000  # a call of UpdateCustomerAttributes; another page of Optimove's says 10,000
MAX_CHANGED_ATTRIBUTES = 10  # of one customer
TYPE = re.compile(r"DECIMAL\(19,4\)|INT|BIGINT|DATE|N?VARCHAR\([1-9]\d*\)", re.ASCII)


class AttributeNotAdded(IntEnum):
    """Why AddCustomerAttribute did not add (wire: errorId)."""

    TOO_MANY = 1  # a tenant may add 40
    NAME_EXISTS = 2
    BAD_TYPE = 3
    BAD_DEFAULT_VALUE = 4
    GENERAL = 5


class AttributeNotChanged(StrEnum):
    """Why UpdateCustomerAttributes did not change one value (wire: error)."""

    INVALID_CUSTOMER = "INVALID_CUSTOMER"
    INVALID_FIELD = "INVALID_FIELD"
    INVALID_VALUE = "INVALID_VALUE"
    TEMPORARILY_UNAVAILABLE = "UPDATE_FIELD_TEMPORARY_UNAVAILABLE"  # Optimove's support has to open the attribute


BY_NUMBER = dict(zip("1234", AttributeNotChanged, strict=True))


@dataclass(frozen=True)
class CustomerAttribute:
    """One attribute of one customer. Its value is text whatever the type; None for null."""

    real_field_name: str
    alias: str
    field_type: str  # such as "Varchar", "Bigint", "Decimal"
    value: str | None = field(repr=False)


@dataclass(frozen=True)
class AttributeName:
    """An attribute that customers have, with the words that describe it."""

    real_field_name: str
    description: str


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One customer whose attribute is another today than it was the day before."""

    customer_id: str
    initial: str | None = field(repr=False)
    final: str | None = field(repr=False)
    attributes: tuple[str | None, ...] = field(default=(), repr=False)  # in the order asked for


@dataclass(frozen=True)
class NewAttributeValues:
    """What is new about one customer: values by real field name."""

    customer_id: str
    values: Mapping[str, AttributeValue] = field(repr=False)


@dataclass(frozen=True)
class AttributeAdded:
    """What became of one AddCustomerAttribute. `why_not` is None where it was added, or where Optimove did not say."""

    attribute_name: str
    is_success: bool
    why_not: AttributeNotAdded | int | None = None
    message: str = ""


@dataclass(frozen=True)
class UnchangedAttribute:
    """One value that UpdateCustomerAttributes did not change."""

    why: AttributeNotChanged | str  # a text that we have no name for stays as it is
    customer_id: str = field(repr=False)
    real_field_name: str


@dataclass(frozen=True)
class AttributesUpdated:
    """What became of one UpdateCustomerAttributes."""

    request_id: str
    is_success: bool
    errors: tuple[UnchangedAttribute, ...] = ()


def get_customer_attributes(customer_id: str) -> Call[list[CustomerAttribute]]:
    """All attributes of one customer.

    ValueError for an id that no path can carry: empty, "." or "..". An error in words can come with a 2xx: it is Broken
    like any answer that is no list.

    Seen in public connectors: github sylenaid/optimove-integration
    """
    if customer_id.strip() in ("", ".", ".."):
        raise ValueError("A customer's id is not empty and no dots alone")
    return Call(
        "GET",
        f"/Customers/{quote(customer_id, safe='')}/Attributes",
        read_list(_read_attribute),
        function="GetCustomerAttributes",
    )


def get_customer_attribute_list() -> Call[list[AttributeName]]:
    """The attributes that customers have. The names of the fields are INFERRED from those of the other calls.

    https://docs.optimove.com/api-usage-guide
    """
    return Call("GET", "/model/GetCustomerAttributeList", read_list(_read_name))


def get_customer_attribute_changers(
    changed_attribute: str, *, attributes: Sequence[str] = (), skip: int = 0, top: int = PAGE_SIZE
) -> PagedCall[list[AttributeChange]]:
    """One page of the customers whose attribute changed from the previous to the current day. Slow at Optimove.

    The older names of fields (with an "s" at the end) and the text "NULL" for no value are read, too. ValueError for
    the name of an attribute that is empty or holds ";", a negative `skip` and a `top` below 1. A row without customer
    is unreadable.

    https://developer.optimove.com/reference/get_customers-getcustomerattributechangers; paging: github
    nicolasramy/optimove
    """
    attributes_query([changed_attribute])
    asked = len(attributes)
    return PagedCall(
        "GET",
        "/customers/GetCustomerAttributeChangers",
        read_list(lambda row: _read_change(row, asked)),
        query={
            "ChangedCustomerAttribute": changed_attribute,
            **attributes_query(attributes),
            **page_query(skip, top),
        },
    )


def add_customer_attribute(
    name: str, type_: str, *, default_value: str | None = None, callback_url: str | None = None
) -> Call[None]:
    """Have customers get one more attribute; a tenant may add 40 so, and only UpdateCustomerAttributes changes them.

    What came of it is posted to `callback_url` within about a minute: read it with `read_attribute_added`. Needs a key
    with the client's own rights. ValueError for an empty name and for a type other than "DECIMAL(19,4)", "INT",
    "BIGINT", "DATE", "VARCHAR(X)" and "NVARCHAR(X)". Repeatable: a name that exists is not added again.

    https://developer.optimove.com/reference/post_customers-addcustomerattribute
    """
    if not name.strip():
        raise ValueError("An attribute of customers has a name")
    if not TYPE.fullmatch(type_):
        raise ValueError(f"An attribute is DECIMAL(19,4), INT, BIGINT, DATE, VARCHAR(X) or NVARCHAR(X), not {type_!r}")
    body = {"Name": name, "Type": type_}
    if default_value is not None:
        body["DefaultValue"] = default_value
    if callback_url is not None:
        body["CallbackURL"] = callback_url
    return Call("POST", "/Customers/AddCustomerAttribute", read_nothing, body=body)


def update_customer_attributes(
    changes: Sequence[NewAttributeValues],
    *,
    callback_url: str | None = None,
    limit: int = MAX_CHANGED_CUSTOMERS,
    attributes_limit: int = MAX_CHANGED_ATTRIBUTES,
) -> Call[str | None]:
    """Change attributes of customers; the answer is the request's id, if Optimove tells one.

    A new value replaces the old, so the call is repeatable. What came of it is posted to `callback_url` within about a
    minute, with the same id: read it with `read_attributes_updated`. True, numbers and dates go as Optimove's text of
    them ("true", "7", "2031-04-02"). Needs a key with the client's own rights.

    At most `limit` customers a call and `attributes_limit` attributes a customer; more is a ValueError, and so is an
    attribute without a name. Where the id stands in the answer is not documented: that of the callback is expected.

    https://developer.optimove.com/reference/post_customers-updatecustomerattributes
    """
    check_limit(changes, limit, "customers")
    for change in changes:
        check_limit(change.values, attributes_limit, "attributes of a customer")
    body: dict[str, Any] = {
        "CustomerNewAttributesValuesList": [
            {"CustomerID": change.customer_id, "Attributes": attributes_to_wire(change.values)} for change in changes
        ]
    }
    if callback_url is not None:
        body["CallbackURL"] = callback_url
    return Call("POST", "/Customers/UpdateCustomerAttributes", _read_request_id, body=body)


def upsert_customer(new: NewAttributeValues, *, callback_url: str | None = None) -> Call[None]:
    """Change attributes of one customer, who is made if Optimove does not have them; until the next batch says better.

    A new value replaces the old, so the call is repeatable. Errors in the answer make it Broken. ValueError for a
    customer without a name and an attribute without one. Not open to every account yet; the path is INFERRED from that
    of the page, and what is posted to `callback_url` is not documented.

    https://developer.optimove.com/reference/put_customers-upsertcustomer
    """
    if not new.customer_id.strip():
        raise ValueError("A customer's id is not empty")
    body: dict[str, Any] = {"CustomerId": new.customer_id, "Attributes": attributes_to_wire(new.values)}
    if callback_url is not None:
        body["CallbackUrl"] = callback_url
    return Call("PUT", "/Customers/UpsertCustomer", read_nothing, body=body)


def read_attribute_added(body: bytes) -> AttributeAdded:
    """What Optimove posts to the `callback_url` of AddCustomerAttribute. Unreadable, a ValueError, for anything else.

    https://developer.optimove.com/reference/post_customers-addcustomerattribute
    """
    told = read_object(body)
    number = read_optional_id(told.get("errorid"), "errorId")
    return AttributeAdded(
        read_text(told.get("attributename"), "attributeName"),
        _read_success(told),
        AttributeNotAdded(number) if number in list(AttributeNotAdded) else number,
        read_note(told.get("errormsg"), "errorMsg"),
    )


def read_attributes_updated(body: bytes) -> AttributesUpdated:
    """What Optimove posts to the `callback_url` of UpdateCustomerAttributes. Unreadable, a ValueError, for anything
    else.

    https://developer.optimove.com/reference/post_customers-updatecustomerattributes
    """
    told = read_object(body)
    errors = told.get("errors") or []
    if not isinstance(errors, list):
        raise Unreadable("errors is not a list")
    return AttributesUpdated(
        read_text(told.get("requestid"), "requestId"),
        _read_success(told),
        tuple(_read_unchanged(fold(error)) for error in errors),
    )


def _read_success(told: Mapping[str, Any]) -> bool:
    is_success = read_bool(told.get("issuccess"), "isSuccess")
    if is_success is None:
        raise Unreadable("isSuccess is missing")
    return is_success


def _read_unchanged(error: Mapping[str, Any]) -> UnchangedAttribute:
    why = read_note(error.get("error"), "error")
    why = BY_NUMBER.get(why, why)
    return UnchangedAttribute(
        AttributeNotChanged(why) if why in list(AttributeNotChanged) else why,
        read_customer(error) if error.get("customerid") not in (None, "") else "",
        read_note(error.get("realfieldname"), "realFieldName"),
    )


def _read_request_id(body: bytes) -> str | None:
    """The id as a field, or alone as a text, which is otherwise an error; None for any other way to say nothing."""
    body = body.removeprefix(BOM)
    try:
        return str(UUID(msgspec.json.decode(body, type=str)))
    except (ValueError, msgspec.MsgspecError):
        read_nothing(body)
    told = read_json(body) if body.strip() else None
    return read_note(fold(told).get("requestid"), "requestId") or None if isinstance(told, dict) else None


def _read_attribute(row: Mapping[str, Any]) -> CustomerAttribute:
    return CustomerAttribute(
        read_text(row.get("realfieldname"), "RealFieldName"),
        read_note(row.get("alias"), "Alias"),
        read_note(row.get("fieldtype"), "FieldType"),
        read_value(row.get("value"), "Value"),
    )


def _read_name(row: Mapping[str, Any]) -> AttributeName:
    return AttributeName(
        read_text(row.get("realfieldname"), "RealFieldName"), read_note(row.get("description"), "Description")
    )


def _read_change(row: Mapping[str, Any], asked: int) -> AttributeChange:
    def value(end: str) -> str | None:
        key = f"{end}customerattribute"
        return without_null(read_value(row.get(key, row.get(f"{key}s")), key))

    return AttributeChange(read_customer(row), value("initial"), value("final"), read_asked(row, asked))
