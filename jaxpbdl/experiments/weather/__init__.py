"""Flow on the rotating sphere."""
