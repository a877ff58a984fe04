"""Articles in, ranked passages and prompt messages out."""
