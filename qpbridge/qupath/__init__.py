"""QuPath projects, objects and GeoJSON; nothing here knows a pixel."""
