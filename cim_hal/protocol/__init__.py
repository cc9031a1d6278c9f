"""The rules of the wire, without I/O and without a clock."""
