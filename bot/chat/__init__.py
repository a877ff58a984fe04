"""The customers' page: one chat turn, what it shows, its events, thumbs and corrections."""
