"""From the Java objects of a `data.qpdata` to the nouns of the field."""
