"""What runs a method: contaminations, heads, the loop."""
