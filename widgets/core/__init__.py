"""What every explorer is: its Python half, how its parts become one module, its jobs and its page."""
