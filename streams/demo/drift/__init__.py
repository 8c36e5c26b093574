"""The drift example: digits get worse half way, and three pipelines beside each other on one broker go through it.

`pictures.py` has the data and the ladder, `systems.py` the three pipelines, `playing.py` what goes in and comes out
of them with the labeller, `heard.py` what is known of one pipeline by its records, `report.py` the figures and the
picture, `live.py` and `page.py` the page that shows them while they run, `run.py` the whole story.
"""
