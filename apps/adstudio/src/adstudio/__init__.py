"""adstudio (``app-yh``): five HTTP stages that turn a product photo and a line of copy into a finished ad."""
