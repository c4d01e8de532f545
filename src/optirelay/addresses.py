"""What an e-mail address is: judged by its syntax alone, the same in settings, on recipients and in mails."""

import re

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, ValidatedEmail, validate_email

# What most addresses look like: what it lets through, email-validator would too, a hundred times slower.
_PLAIN = re.compile(
    r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?\.)+[a-z]{2,20}", re.ASCII
)
_PLAIN_LENGTH = 64


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


def _check(text: str) -> ValidatedEmail | None:
    """A name that is reserved for tests and private networks is no fault of syntax."""
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
