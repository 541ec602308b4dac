"""Webhooks: how events get to receivers of HTTP requests.

`connection.py` speaks HTTP over one connection, `client.py` makes connections and uses them again,
`endpoint.py` sends events. What an answer means is decided in `consumers/answers.py`.
"""
