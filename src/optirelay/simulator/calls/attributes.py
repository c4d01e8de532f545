"""Attributes of customers: read, added, changed, erased; and which channels they allow."""

import re
from collections.abc import Mapping
from typing import Any

from optirelay.simulator.attributes import MAX_BY_API, PERSONAL, TYPES, Attribute, fits
from optirelay.simulator.calls.call import Call, Told, check_web_address
from optirelay.simulator.calls.customers import read_asked, read_page
from optirelay.simulator.clock import utc_now
from optirelay.simulator.customers import Customer
from optirelay.simulator.errors import Refused
from optirelay.simulator.exchange import Answer, json_answer
from optirelay.simulator.faults import FAILS_LATER
from optirelay.simulator.fields import Fields, read_text

# https://developer.optimove.com/reference/post_customers-updatecustomerattributes;
# another article says 10,000 customers.
MAX_UPDATED, MAX_ATTRIBUTES_EACH = 1000, 10
# https://developer.optimove.com/reference/post_integrations-setcustomerchannelpreference
MAX_PREFERENCES = 50_000
# https://developer.optimove.com/reference/post_customers-removecustomerpii
MAX_ERASED = 50_000
ONE_CUSTOMER = re.compile(r"(?:/current)?/customers/(.+)/attributes", re.IGNORECASE)
# What can be wrong with a new attribute: https://developer.optimove.com/reference/post_customers-addcustomerattribute.
# The texts are ours but for their beginning.
WRONG = {
    "1": f"the limit of {MAX_BY_API} attributes is exceeded",
    "2": "an attribute of this name exists",
    "3": "the type is not valid",
    "4": "the default value does not fit the type",
    "5": "a general error has occurred",
}


def get_customer_attributes(told: Told) -> list[dict[str, Any]] | str:
    """All attributes of one customer, each value as text or null (public connectors in Apex and Go).

    The Go connector met a 2xx with an error text in place of the array; here an unknown customer gets one.
    """
    path = ONE_CUSTOMER.fullmatch(told.request.path)
    assert path
    position = told.tenant.customers.position_of(path[1])
    if position is None:
        return "The customer was not found."
    values = told.tenant.customers.at(position).attributes
    return [
        {
            "RealFieldName": attribute.name,
            "Alias": _alias(attribute.name),
            "FieldType": attribute.field_type,
            "Value": None if values.get(attribute.name) is None else str(values[attribute.name]),
        }
        for attribute in told.tenant.attributes()
    ]


def get_customer_attribute_list(told: Told) -> list[dict[str, str]]:
    """The attributes that there are; the keys are those that github nicolasramy/optimove reads."""
    return [
        {"RealFieldName": attribute.name, "Description": _alias(attribute.name)}
        for attribute in told.tenant.attributes()
    ]


def get_customer_attribute_changers(told: Told) -> list[dict[str, Any]]:
    """A page of the customers whose value of one attribute is not what it was yesterday.

    https://developer.optimove.com/reference/get_customers-getcustomerattributechangers
    """
    name, asked = read_text(told.request, "ChangedCustomerAttribute"), read_asked(told)
    if told.tenant.attribute(name) is None:
        raise Refused(f"ChangedCustomerAttribute {name} is not valid.")
    if told.key.attributes is not None and name not in told.key.attributes:
        raise told.forbidden()
    skip, top = read_page(told)
    rows = [
        asked.add_to(
            {
                "CustomerID": customer.customer_id,
                "InitialCustomerAttribute": before,
                "FinalCustomerAttribute": customer.attributes.get(name),
            },
            customer,
        )
        for customer, before in told.tenant.customers.changed(name, utc_now().date())
    ]
    return rows[skip : skip + top]


def add_customer_attribute(told: Told) -> None:
    """One more attribute; whether it was added is told later, at CallbackURL.

    https://developer.optimove.com/reference/post_customers-addcustomerattribute
    """
    fields = Fields(told.body)
    attribute = Attribute(fields.text("Name"), fields.text("Type").upper(), fields.text_or_none("DefaultValue"), True)
    url, wrong = _callback_url(fields), _what_is_wrong(told, attribute)
    if wrong is None:
        told.tenant.added_attributes[attribute.name] = attribute
        if attribute.default is not None:
            told.tenant.defaults[attribute.name] = attribute.default
    result: dict[str, Any] = {"attributeName": attribute.name, "isSuccess": wrong is None}
    if wrong:
        result |= {"errorId": wrong, "errorMsg": f"Attribute was not added, {WRONG[wrong]}."}
    told.firing.call_back(told.tenant.tenant_id, url, result)


def update_customer_attributes(told: Told) -> Answer:
    """New values of customers; what could not be changed is told later, at CallbackURL, and the rest is changed.

    The answer has the request's id, which the documented callback names, too:
    https://developer.optimove.com/reference/post_customers-updatecustomerattributes
    """
    fields = Fields(told.body)
    url, errors, changes = _callback_url(fields), [], []
    for entry in fields.rows("CustomerNewAttributesValuesList", MAX_UPDATED):
        customer_id, values = entry.text("CustomerID"), _new_values(entry)
        position = told.tenant.customers.position_of(customer_id)
        wrong = {name: _why_not(told, name, value, known=position is not None) for name, value in values.items()}
        errors += [_error(why, customer_id, name) for name, why in wrong.items() if why]
        changes.append((position, {name: value for name, value in values.items() if not wrong[name]}))
    today = utc_now().date()
    for position, good in changes:
        if position is not None and good:
            told.tenant.customers.change(position, good, today)
    request_id = told.world.new_request_id()
    result = {"isSuccess": False, "errors": errors} if errors else {"isSuccess": True}
    told.firing.call_back(told.tenant.tenant_id, url, {**result, "requestId": request_id})
    return json_answer({"requestId": request_id}, told.world.quirks.update_status)


def upsert_customer(told: Told) -> dict[str, Any] | None:
    """New values of one customer, who need not be known. Errors stand in the answer, and then nothing is changed.

    https://developer.optimove.com/reference/put_customers-upsertcustomer, of which only the first part was read: the
    status of an answer with errors and what a good one says are deduced.
    """
    fields = Fields(told.body)
    customer_id, values, url = fields.text("CustomerId"), _new_values(fields), _callback_url(fields)
    wrong = {name: _why_not(told, name, value, known=True) for name, value in values.items()}
    errors = [_error(why, customer_id, name) for name, why in wrong.items() if why]
    if errors:
        return {"errors": errors}
    customers = told.tenant.customers
    if customers.position_of(customer_id) is None:
        customers.put(Customer(customer_id, {}))
    position = customers.position_of(customer_id)
    assert position is not None
    customers.change(position, values, utc_now().date())
    result = {"isSuccess": True, "requestId": told.world.new_request_id()}
    told.firing.call_back(told.tenant.tenant_id, url, result)
    return None


def remove_customer_pii(told: Told) -> dict[str, list[str]]:
    """Personal attributes become null, customers stay; those who were never known are named.

    https://developer.optimove.com/reference/post_customers-removecustomerpii
    """
    customers, unknown, today = told.tenant.customers, [], utc_now().date()
    for customer_id in _at_most(Fields(told.body).texts("CustomerIDs"), MAX_ERASED):
        position = customers.position_of(customer_id)
        if position is None:
            unknown.append(customer_id)
        else:
            customers.change(position, dict.fromkeys(PERSONAL), today)
    return {"FailedCustomerIDs": unknown}


def set_customer_channel_preference(told: Told) -> None:
    """Whether customers allow a channel; what the modes mean is not documented.

    https://developer.optimove.com/reference/post_integrations-setcustomerchannelpreference
    """
    fields = Fields(told.body)
    channel_id, mode = told.channel(fields.number("ChannelID")), fields.number("CommunicationMode")
    customers = _at_most(fields.texts("CustomerIDs"), MAX_PREFERENCES)
    told.tenant.preferences[channel_id, fields.text_or_none("AppID")].update(dict.fromkeys(customers, mode))


def _alias(name: str) -> str:
    return name.replace("_", " ").title()


def _callback_url(fields: Fields) -> str | None:
    url = fields.text_or_none("CallbackURL")
    return url and check_web_address(url, "CallbackURL")


def _what_is_wrong(told: Told, attribute: Attribute) -> str | None:
    """The errorId of an attribute that cannot be added."""
    if told.fault == FAILS_LATER:
        return "5"
    if told.tenant.attribute(attribute.name):
        return "2"
    if len(told.tenant.added_attributes) >= MAX_BY_API:
        return "1"
    if not TYPES.fullmatch(attribute.type):
        return "3"
    return None if fits(attribute.type, attribute.default) else "4"


def _new_values(fields: Fields) -> Mapping[str, Any]:
    return {one.text("RealFieldName"): one.value("Value") for one in fields.rows("Attributes", MAX_ATTRIBUTES_EACH)}


def _why_not(told: Told, name: str, value: Any, *, known: bool) -> str | None:
    if not known:
        return "INVALID_CUSTOMER"
    attribute = told.tenant.attribute(name)
    if attribute is None:
        return "INVALID_FIELD"
    if name in told.tenant.closed or told.fault == FAILS_LATER:
        return "UPDATE_FIELD_TEMPORARY_UNAVAILABLE"
    return None if fits(attribute.type, value) else "INVALID_VALUE"


def _error(why: str, customer_id: str, name: str) -> dict[str, str]:
    return {"error": why, "customerId": customer_id, "realFieldName": name}


def _at_most(customers: list[str], most: int) -> list[str]:
    if len(customers) > most:
        raise Refused(f"A call takes at most {most} customers.")
    return customers


GET_CUSTOMER_ATTRIBUTES = Call("GET", "customers", "GetCustomerAttributes", get_customer_attributes)
CALLS = (
    GET_CUSTOMER_ATTRIBUTES,
    Call("GET", "model", "GetCustomerAttributeList", get_customer_attribute_list),
    Call("GET", "customers", "GetCustomerAttributeChangers", get_customer_attribute_changers),
    Call("POST", "customers", "AddCustomerAttribute", add_customer_attribute, "attributes"),
    Call("POST", "customers", "UpdateCustomerAttributes", update_customer_attributes, "attributes"),
    Call("PUT", "customers", "UpsertCustomer", upsert_customer, "attributes"),
    Call("POST", "customers", "RemoveCustomerPII", remove_customer_pii, "attributes"),
    Call("POST", "integrations", "SetCustomerChannelPreference", set_customer_channel_preference, "preferences"),
)
