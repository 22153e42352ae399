"""Images and what is true about them."""
