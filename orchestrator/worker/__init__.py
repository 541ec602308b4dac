"""The child: the reconnect loop of one account, in a process of its own."""
