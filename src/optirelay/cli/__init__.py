"""What an operator types, one file a noun; each command parses, calls one function and prints."""
