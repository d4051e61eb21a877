"""Runs what a control plane has queued, each in a process and an environment of its own."""
