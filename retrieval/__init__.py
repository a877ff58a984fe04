"""Articles in, ranked evidence out."""
