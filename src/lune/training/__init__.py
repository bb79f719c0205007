"""The one training loop and what feeds and steers it."""
