"""What people write who need messages in their program: each is posted as it comes in.

Run as ``python script.py SESSION URL``. It is what is measured against, so it is as short as it can be.
"""

import sys

import requests
from neonize.client import NewClient
from neonize.events import MessageEv

client = NewClient(sys.argv[1])


@client.event(MessageEv)  # type: ignore[untyped-decorator,unused-ignore]
def on_message(_: NewClient, message: MessageEv) -> None:
    """Post a message."""
    text = message.Message.conversation or message.Message.extendedTextMessage.text
    requests.post(
        sys.argv[2], json={"id": message.Info.ID, "text": text}, headers={"webhook-id": message.Info.ID}
    )


client.connect()
