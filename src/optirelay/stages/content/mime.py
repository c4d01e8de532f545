"""What a mail is made of: quoted-printable made piece by piece, and header lines that nobody's value can break."""

import binascii
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache

SOFT_BREAK = b"=\r\n"  # a line end that readers do not see
MAX_ENCODED_LINE = 76  # RFC 2045, without the line end
MAX_HEADER_LINE = 78  # RFC 5322: should
_WORD_BYTES = 42  # of text in one encoded word, so that a line with it keeps within MAX_HEADER_LINE

_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]+")
_NOT_BARE = re.compile(r"[^\x20-\x7e]|=\?|  |\S{60}")  # what an unstructured header cannot hold as it is
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


def encoded(text: str) -> bytes:
    """Quoted-printable of UTF-8, 7-bit, lines ended by CRLF and at most 76 octets long. What is no text becomes "?"."""
    data = text.encode("utf-8", "replace").replace(b"\r\n", b"\n")
    if b"\n" not in data:
        return _encoded_line(data)
    return b"\r\n".join(map(_encoded_line, data.split(b"\n")))


def _encoded_line(line: bytes) -> bytes:
    return binascii.b2a_qp(line, istext=False).replace(b"\n", b"\r\n")  # what ends a line in it is a soft break


def closed(piece: bytes) -> bytes:
    """Encoded text after which other encoded text may follow: the next piece begins a line that readers do not see."""
    if not piece or piece.endswith(b"\r\n"):
        return piece
    if len(piece) - (piece.rfind(b"\n") + 1) < MAX_ENCODED_LINE:
        return piece + SOFT_BREAK
    cut = len(piece) - (3 if piece[-3:-2] == b"=" else 1)
    return piece[:cut] + SOFT_BREAK + piece[cut:] + SOFT_BREAK


class Body:
    """The constants of a text, encoded once; the recipient's part goes between them, on lines of its own."""

    def __init__(self, constants: Sequence[str], places: Sequence[int]) -> None:
        """`places`: which of the rendered texts stands after each constant but the last."""
        first, *others = (encoded(constant) for constant in constants)
        pieces = [first, *(SOFT_BREAK + other for other in others)]
        self.constants = [*(closed(piece).decode() for piece in pieces[:-1]), pieces[-1].decode()]
        self._places = tuple(places)

    def between(self, rendered: Sequence[str]) -> list[str]:
        """What was rendered, encoded, in the order of its places."""
        encoded_once = [_between(text) for text in rendered]
        return [encoded_once[place] for place in self._places]


def needs_no_encoding(texts: Sequence[str]) -> bool:
    """Whether each of some texts can stand between the constants of a Body as it is."""
    together = "".join(texts)
    return (
        together.isascii()
        and together.isprintable()
        and "=" not in together
        and (len(together) < MAX_ENCODED_LINE or max(map(len, texts)) < MAX_ENCODED_LINE)
    )


def _between(text: str) -> str:
    """Encoded text that a soft line break follows."""
    return text if needs_no_encoding((text,)) else closed(encoded(text)).removesuffix(SOFT_BREAK).decode()


def one_line(text: str) -> str:
    """The text without anything that could end a header: each run of control characters is a space."""
    return text.strip() if text.isprintable() else _UNPRINTABLE.sub(" ", text).strip()


def unstructured(name: str, text: str) -> str:
    """A header line with free text, encoded and folded where needed, CRLF at its end."""
    return _short_unstructured(name, text) if len(text) < MAX_HEADER_LINE else _unstructured(name, text)


@lru_cache(maxsize=4096)
def _short_unstructured(name: str, text: str) -> str:
    """Many recipients share theirs."""
    return _unstructured(name, text)


def _unstructured(name: str, text: str) -> str:
    text = one_line(text)
    shown = _encoded_words(text) if _NOT_BARE.search(text) else text
    return _folded(name, shown)


def mailbox(name: str, display_name: str, address: str) -> str:
    """A header line with one address and whose it is, CRLF at its end."""
    display_name = one_line(display_name)
    if not display_name:
        return _folded(name, address)
    shown = _encoded_words(display_name) if _NOT_BARE.search(display_name) else quoted_name(display_name)
    return _folded(name, f"{shown} <{address}>")


def quoted_name(display_name: str) -> str:
    """A display name as it stands before an address, in quotes where it needs them; what is not ASCII stays."""
    if _ATOMS.fullmatch(display_name):
        return display_name
    return '"' + display_name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _folded(name: str, text: str) -> str:
    """A header of single spaces; a line is longer than MAX_HEADER_LINE only where one word is."""
    lines = [f"{name}:"]
    for word in text.split(" "):
        if len(lines[-1]) + 1 + len(word) > MAX_HEADER_LINE and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines) + "\r\n"


def _encoded_words(text: str) -> str:
    """RFC 2047, with a space between two words that readers leave out; no character is cut in two."""
    words, rest = [], text.encode("utf-8", "replace")
    while rest:
        cut = min(_WORD_BYTES, len(rest))
        while cut < len(rest) and rest[cut] & 0xC0 == 0x80:  # inside a character of UTF-8
            cut -= 1
        words.append(f"=?utf-8?b?{b64encode(rest[:cut]).decode()}?=")
        rest = rest[cut:]
    return " ".join(words)
