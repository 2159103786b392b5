"""What a link or a network would give, before anybody switches it on."""
