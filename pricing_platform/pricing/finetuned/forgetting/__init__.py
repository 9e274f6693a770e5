"""What fine-tuned techniques forget: curve, gate and mitigations."""
