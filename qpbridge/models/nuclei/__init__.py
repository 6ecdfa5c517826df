"""What networks learn about single nuclei: targets and loss."""
