"""How messages get to programs: how fast, how many, and what is lost when something ends."""
