"""Articles in, ranked passages and their evidence out."""
