"""The fixtures `cluster` and `empty_database`, for the tests of the engine and of the application alike."""

# Imported before any test runs: where hypothesis imports it at the end of a run, Python 3.11 can fail in the parser
# when the tests before have used the stack deeply.
import hypothesis.internal.observability

pytest_plugins = ["postgres"]
__all__ = ["hypothesis"]
