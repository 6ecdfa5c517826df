"""Java's object streams, without Java."""
