"""Networks, their specifications and their bundles."""
