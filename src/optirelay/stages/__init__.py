"""What is decided, in the order data passes; plain functions without I/O."""
