"""May a candidate replace what is live? Both are asked the same, and rules decide."""
