"""Pixels of any region at any mpp, in the coordinates that QuPath shows."""
