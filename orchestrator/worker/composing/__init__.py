"""Makes the messages that an account sends: protobufs of our own making only.

The library opens and fetches what it is given as text (a path, a link), and looks for people and groups in
plain texts. So it is given finished messages, and bytes of files, and never a text.
"""
