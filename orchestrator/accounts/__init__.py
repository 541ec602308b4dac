"""What is decided about accounts. Pure: no I/O, no clock, and no imports but the standard library."""
