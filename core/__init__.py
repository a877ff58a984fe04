"""What two packages share; imports none of them."""
