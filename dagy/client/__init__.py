"""The calls of the control plane, from Python."""
