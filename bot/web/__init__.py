"""What happens to every request before a page sees it: policy, guard, sessions, sign-in, limits."""
