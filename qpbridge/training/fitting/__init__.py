"""The loop that fits a network, and what it keeps and tells."""
