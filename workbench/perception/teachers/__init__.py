"""Where teachers come from: an encoder trained on sound alone."""
