"""What the predictions are worth: metrics, intervals, segments, the report."""
