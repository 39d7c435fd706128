"""What an avatar's keys mean over time: sampled, driven, evaluated, played, baked."""
