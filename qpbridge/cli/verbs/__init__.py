"""The verbs, each a request and how its report is shown."""
