"""What is compared with annotations, and what came out."""
