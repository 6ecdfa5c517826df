"""From what a network says about nuclei to objects; loads no torch, since worker processes do it."""
