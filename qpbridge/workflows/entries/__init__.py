"""The slides that a workflow works on: where they are, what is known of them, and which of them failed."""
