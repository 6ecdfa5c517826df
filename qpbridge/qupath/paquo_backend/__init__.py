"""Projects read and written by a real QuPath, through paquo, in a process of its own."""
