"""Checks whether this machine has what the service needs. It looks, and changes nothing.

The checks stand below `service`, because they are about what the service needs, and because nobody may import
`cli`: a command shows the findings today, and other programs may. No check prints, and none imports the
supervisor. `examine` runs the checks.
"""
