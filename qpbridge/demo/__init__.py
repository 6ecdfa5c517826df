"""The demonstration: makes a slide and a project, trains, predicts, reports."""
