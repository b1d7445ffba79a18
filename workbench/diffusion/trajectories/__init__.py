"""What a model believes the final image to be, kept at every step."""
