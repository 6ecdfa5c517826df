"""Large parts of networks: encoders, segmentation networks, and how maps of several scales are brought together."""
