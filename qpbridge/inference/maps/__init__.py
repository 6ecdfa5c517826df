"""Class probabilities of every pixel, and what is made of them beside labels."""
