"""The speed benchmark, ``make bench``: this project beside the trainers that would be used in its place."""
