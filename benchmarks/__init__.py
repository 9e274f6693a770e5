"""Speed as ratios to named peers, both sides measured in one run and in turn.

Here belong measurements. What is measured is the platform's own code, called as its assets call it.
"""
