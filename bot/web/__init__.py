"""What stands around every request: policy, guard, sessions, sign-in, limits."""
