"""The parts of the preflight."""
