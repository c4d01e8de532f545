"""In: what Optimove posts about an attribute call, read."""

from dataclasses import dataclass, field

from optirelay.nesting import NoObject, read_object
from optirelay.optimove import AttributeNotAdded, Unreadable, read_attribute_added, read_attributes_updated


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one attribute that was asked for."""

    name: str
    ok: bool
    exists_already: bool = False  # which is as good
    reason: str = ""  # why it is not ok, in Optimove's words


@dataclass(frozen=True, slots=True)
class NotTaken:
    """One value that Optimove did not take, and its word for why."""

    customer_id: str = field(repr=False)
    attribute: str
    reason: str


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of one call with new values: all were taken but those of `errors`; where it is not ok and names
    none, nobody can say which were."""

    request_id: str
    ok: bool
    errors: tuple[NotTaken, ...] = ()


def read(body: bytes) -> Added | Updated | None:
    """What came of a call of AddCustomerAttribute or UpdateCustomerAttributes, told apart by its keys, without regard
    to case; None for what cannot be read.

    https://developer.optimove.com/reference/post_customers-addcustomerattribute
    https://developer.optimove.com/reference/post_customers-updatecustomerattributes
    """
    try:
        keys = {key.lower() for key in read_object(body)}
        return _read_added(body) if "attributename" in keys else _read_updated(body)
    except (NoObject, Unreadable):
        return None


def _read_added(body: bytes) -> Added:
    added = read_attribute_added(body)
    exists = not added.is_success and added.why_not == AttributeNotAdded.NAME_EXISTS
    reason = added.message or ("" if added.why_not is None else f"error {int(added.why_not)}")
    return Added(added.attribute_name, added.is_success, exists, "" if added.is_success else reason)


def _read_updated(body: bytes) -> Updated:
    updated = read_attributes_updated(body)
    errors = (NotTaken(one.customer_id, one.real_field_name, str(one.why)) for one in updated.errors)
    return Updated(updated.request_id, updated.is_success, tuple(errors))
