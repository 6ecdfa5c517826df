"""The server: one door (gRPC) to the board of jobs and to quick answers; who may ask, for what, and for how much."""
