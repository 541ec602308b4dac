"""Tries, from inside a process, what that process must not be able to do, and says what it could do.

A process that parses what strangers send is to be worth nothing to whoever takes it over. The probe is code
that such an attacker would run: tests put it into real processes, and nothing else does. No setting, no
variable of the environment and no message starts it.

The probe does no harm where a door is open. It opens files without writing, asks with signal 0, sends
requests that must fail behind the check that matters, and removes what it has made. Only files that are named
as decoys may be lost.

The package needs nothing but the standard library, so that programs that are not of this project can load it.
"""
