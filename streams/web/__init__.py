"""What a worker shows: the page, its data, health and metrics. Read only; everything else is refused."""
