"""From an artifact to a deployment: what should be, what is, and the steps between."""
