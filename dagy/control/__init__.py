"""The control plane: flows, deployments, runs and schedules, kept by rules over a store."""
