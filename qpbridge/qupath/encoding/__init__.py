"""Image data as QuPath 0.6 and 0.7 write it, for images that have none yet."""
