"""The parts of a training: what it learns from, what it goes on from."""
