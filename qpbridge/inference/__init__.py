"""Slides in, label maps and objects out."""
