"""Agents that come back after a crash."""
