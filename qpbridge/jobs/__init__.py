"""Long work: journal, states, progress, queue, cancelling and worker processes; no pathology inside."""
