"""Polygons from label maps and label maps from polygons."""
