"""The command line: thin verbs; each builds a request and calls one workflow, imported when the verb runs."""
