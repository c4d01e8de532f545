"""What stops a run."""


class Failed(Exception):
    """The run could not be carried out; nothing is said about the promises."""


class Missing(Failed):
    """This machine lacks a tool; the text names it, and how to get it."""
