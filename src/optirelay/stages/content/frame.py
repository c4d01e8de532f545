"""Constants with room between one and the next."""

from collections.abc import Sequence


class Frame:
    """Constant texts that are filled with others, again and again."""

    def __init__(self, constants: Sequence[str]) -> None:
        self._pieces = [""] * (2 * len(constants) - 1)
        self._pieces[::2] = constants

    def filled(self, between: Sequence[str]) -> str:
        """All of it; `between` has one less than there are constants."""
        pieces = self._pieces.copy()
        pieces[1::2] = between
        return "".join(pieces)
