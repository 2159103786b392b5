"""What nodes tell: events as JSON lines. Never a secret; the cores decide what is in them."""
