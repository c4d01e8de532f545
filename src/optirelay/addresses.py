"""What an address is: judged by its form alone, the same in settings, on recipients and in messages."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email_validator import ValidatedEmail

# What most addresses look like: what it lets through, email-validator would too, a hundred times slower.
_PLAIN = re.compile(
    r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?\.)+[a-z]{2,20}", re.ASCII
)
_PLAIN_LENGTH = 64
LONGEST_TOKEN = 4096  # characters, of a device
LONGEST_NAME = 500  # characters by which an in-app system knows a person
_WITH_COUNTRY = 11  # digits


def reader_of(kind: str, default_country: str | None) -> Callable[[str], str | None]:
    """What makes an address of a value, on channels of this kind: None where it is none. The country is that of phone
    numbers that do not name theirs."""
    if kind == "sms":
        return lambda value: read_phone(value, default_country)
    return {"email": read_email, "push": read_token, "inapp": read_name}[kind]


def matcher_of(default_country: str | None) -> Callable[[str], str | None]:
    """What makes of a value that which finds a person in our directory: an e-mail address where it has an "@", else a
    phone number; None where it is neither."""
    return lambda value: read_email(value) if "@" in value else read_phone(value, default_country)


def read_token(value: str) -> str | None:
    """What a device is reached by: printable, without blanks."""
    token = _read_line(value, LONGEST_TOKEN)
    return None if token is None or " " in token else token


def read_name(value: str) -> str | None:
    """What an in-app system knows a person by: printable."""
    return _read_line(value, LONGEST_NAME)


def _read_line(value: str, longest: int) -> str | None:
    """Printable text: no control characters, no halves of a character, no white space but blanks."""
    line = value.strip()
    return line if len(line) <= longest and line.isprintable() else None


def read_email(text: str) -> str | None:
    """The address, normalised, or None where its syntax is wrong. Nobody is asked whether it exists."""
    text = text.strip()
    if _is_plain(text):
        return text
    checked = _check(text)
    return None if checked is None else f"{checked.local_part}@{checked.domain}"


def read_ascii_email(text: str) -> str | None:
    """The same with its domain in ASCII, as headers and envelopes hold it; a local part stays as it is."""
    text = text.strip()
    if _is_plain(text):
        return text
    checked = _check(text)
    return None if checked is None else f"{checked.local_part}@{checked.ascii_domain}"


def _is_plain(text: str) -> bool:
    return len(text) <= _PLAIN_LENGTH and "--" not in text and _PLAIN.fullmatch(text) is not None


def _check(text: str) -> "ValidatedEmail | None":
    """A name that is reserved for tests and private networks is no fault of syntax."""
    # Takes a moment to load, and most addresses are plain.
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

    head, _, last = text.rpartition(".")
    reserved = last.lower() in SPECIAL_USE_DOMAIN_NAMES and "@" in head
    try:
        checked = validate_email(f"{head}.com" if reserved else text, check_deliverability=False)
    except EmailNotValidError:
        return None
    if reserved:
        checked.domain = checked.domain.removesuffix("com") + last
        checked.ascii_domain = (checked.ascii_domain or "").removesuffix("com") + last
    return checked


def is_country(text: str) -> bool:
    """Whether phone numbers know a country by these two letters of ISO 3166."""
    import phonenumbers

    return text in phonenumbers.SUPPORTED_REGIONS


def read_phone(text: str, country: str | None) -> str | None:
    """The number in E.164, such as +33612345678, or None where it is none: its length is judged, not whether it exists.

    Without "+" it is a number of that country. What is none there and has the 11 digits or more of a number that is
    written with its country is read as one.
    """
    text = text.strip()
    found = _phone(text, country) if country is not None or text.startswith("+") else None
    if found is None and text.isascii() and text.isdigit() and len(text) >= _WITH_COUNTRY and text[0] != "0":
        found = _phone(f"+{text}", None)
    return found


def _phone(text: str, country: str | None) -> str | None:
    import phonenumbers as phones

    try:
        number = phones.parse(text, country)
    except phones.NumberParseException:
        return None
    if number.extension or phones.is_possible_number_with_reason(number) != phones.ValidationResult.IS_POSSIBLE:
        return None
    return phones.format_number(number, phones.PhoneNumberFormat.E164)
