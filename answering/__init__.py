"""A question and its conversation in, a grounded answer out."""
