"""The reader: a process that reads and renders what strangers have sent, so that the gateway need not."""
