"""Train and run pathology segmentation networks on QuPath projects."""

__version__ = "0.1.0"
