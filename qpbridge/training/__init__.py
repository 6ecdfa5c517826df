"""Targets, sampling, augmentation and the loop."""
