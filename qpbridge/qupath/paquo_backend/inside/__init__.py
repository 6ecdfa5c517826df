"""What runs in the process of QuPath, with Java and paquo; nobody else calls it."""
