"""What the rooms share: settings, errors, values, SQL by table; imports none of them."""
