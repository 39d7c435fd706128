"""What every backbone makes of a tracked portrait: how the person stands and rests, what the picture shows of the head,
and Gaussians that are led to look like it."""
