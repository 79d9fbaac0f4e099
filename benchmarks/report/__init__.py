"""The figures, told: tables, targets, a picture, the document. Pure but for the document's file."""
