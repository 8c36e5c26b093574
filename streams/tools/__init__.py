"""Tools for people: put requests in, watch outcomes, and handle the fallback topic."""
