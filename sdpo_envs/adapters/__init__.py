"""Environments with feedback in the trainers and servers of others, and theirs here: a library, a file."""
