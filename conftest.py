"""The fixtures `cluster` and `empty_database`, for the tests of the engine and of the application alike."""

pytest_plugins = ["postgres"]
