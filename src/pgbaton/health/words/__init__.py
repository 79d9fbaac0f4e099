"""Every finding in words, a theme a module; docs/operations.md has the same as its index (``make api``)."""

from pgbaton.health.words import adoption, engine, postgres, rows, stages, table
from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    **rows.WORDS,
    **stages.WORDS,
    **engine.WORDS,
    **postgres.WORDS,
    **table.WORDS,
    **adoption.WORDS,
}

__all__ = ["WORDS", "Words"]
