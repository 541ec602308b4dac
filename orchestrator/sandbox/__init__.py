"""A WhatsApp server in a box: the real client pairs, logs in and fails on demand, without a phone."""
