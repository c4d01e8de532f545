"""What `scripts/bench` runs: our speed as ratios, each against a baseline measured in turn with it."""
