"""Fuzzers: each parser of ours is given valid input that was damaged, and must say what is wrong.

Short runs with fixed seeds are tests (`test_fuzz.py`); `make fuzz` runs each with a fresh seed. The
damaged input is for our own parsers, and for no other program.
"""
