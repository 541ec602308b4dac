"""What the redaction takes out, by kind: phone numbers, secrets, and what people write."""
