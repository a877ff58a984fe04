"""Feedback in, a gated and deployed LoRA adapter out."""
