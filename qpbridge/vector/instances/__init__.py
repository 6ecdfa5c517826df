"""Label maps in which every object has a number of its own."""
