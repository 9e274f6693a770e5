"""The small language model that the platform trains itself, where no other is named."""
