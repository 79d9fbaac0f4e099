"""The fixtures `cluster` and `empty_database`, for the tests of the engine and of the application alike."""

# Hypothesis is imported before any test runs: where it is imported at the end of a run, Python 3.11 can fail in the
# parser when the tests before have used the stack deeply.
import os

import hypothesis.internal.observability

# The same examples in every run, so that a red run means a change; a soak (PGBATON_EXAMPLES) looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True)
if "PGBATON_EXAMPLES" not in os.environ:
    hypothesis.settings.load_profile("steady")

pytest_plugins = ["postgres"]
__all__ = ["hypothesis"]
