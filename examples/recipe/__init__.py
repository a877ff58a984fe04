"""How the demo model is made: public data and invented help centres in, a small Qwen2 out."""
