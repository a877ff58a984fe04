"""Ratios measured side by side in one run; `ratchet bench NAME` prints them."""
