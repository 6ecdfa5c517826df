"""The parts of a prediction: one model, one slide, and the record of a run."""
