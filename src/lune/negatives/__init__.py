"""Negative examples: proposed wrong answers, checked, in every form of asking."""
