"""What both sides of a connection share: messages and nouns, causes and status, the discovery file."""
