"""The processes beside the accounts': the gateway and the bots. None of them is ever in an account's way."""
