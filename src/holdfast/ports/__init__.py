"""What the application needs of the outside, in its own words: one Protocol a file, one conformance suite each."""
