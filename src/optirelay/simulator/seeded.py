"""What looks like chance, but is the same for the same seed."""

from hashlib import blake2b


def bytes_from(text: str) -> bytes:
    """Many bytes that depend on the text alone, on every machine."""
    return blake2b(text.encode()).digest()


def fraction_from(text: str) -> float:
    """A number from 0 up to, but not including, 1 that depends on the text alone."""
    return int.from_bytes(bytes_from(text)[:4]) / 2**32
