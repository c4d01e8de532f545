"""Our directory of people: what it says of somebody whom Optimove chose."""

import msgspec
from msgspec.structs import replace

from optirelay.model import Contact, Recipient, Skip

_ATTRIBUTES = msgspec.json.Decoder(dict[str, str])


def addressed(recipient: Recipient, contact: Contact | None, *, any_case: bool) -> Recipient:
    """The recipient with the contact's address, and its attributes where Optimove gave no value of that name.

    Without a contact, or one that has no such address, nobody is written to. With `any_case` names do not go by case.
    """
    if recipient.skip is not None:
        return replace(recipient, address=None)
    if contact is None or contact.address is None:
        return replace(recipient, address=None, skip=Skip.NO_ADDRESS)
    return replace(recipient, address=contact.address, personalization=_both(recipient, contact, any_case=any_case))


def _both(recipient: Recipient, contact: Contact, *, any_case: bool) -> dict[str, str]:
    own, said = _ATTRIBUTES.decode(contact.attributes), recipient.personalization
    if any_case:
        known = {name.lower() for name in said}
        own = {name: value for name, value in own.items() if name.lower() not in known}
    return {**own, **said}
