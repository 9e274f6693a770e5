"""The techniques, one module each, behind the protocol of :mod:`.technique`."""
