"""Whether a promise still holds, told from labels as they come: the alarm, and an interval to be looked at any time.

Pure functions over counts and arrays. What a promise is, and how it is made, is in `supervision/`.
"""
