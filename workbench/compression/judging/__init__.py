"""How large a compressed network is."""
