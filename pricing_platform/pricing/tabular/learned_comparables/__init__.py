"""The technique that learns which items are comparable: its inputs, network and training."""
