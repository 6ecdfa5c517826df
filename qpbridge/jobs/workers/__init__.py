"""Processes that do the work: what is said to them, what they do, and how they are started and ended."""
