"""Learning from which classes occur somewhere, without knowing where."""
