"""Generated from `protos/qpbridge/v1` by `protos/generate.py`; never edited."""
