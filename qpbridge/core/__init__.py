"""Nouns of the field and pure geometry: no torch, no Java, no I/O."""
