"""Probes: prompts with expected answers, used only to measure."""
