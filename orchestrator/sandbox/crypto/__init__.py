"""The cryptography of both ends: Noise and pairing as the server, Signal as the phones."""
