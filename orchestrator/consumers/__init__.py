"""What is decided about those who take events: webhooks, bots and pulls. Pure."""
