"""Work on pixels: pure functions and the two models, with no database and no HTTP server in sight."""
