"""Classification: a label for a whole sequence, from a labelled table to a published version."""
