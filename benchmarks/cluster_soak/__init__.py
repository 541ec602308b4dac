"""Lets everything go wrong, at random, with three machines that share a database."""
