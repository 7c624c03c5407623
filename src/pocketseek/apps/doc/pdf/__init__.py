"""PDF: characters on a page become lines, paragraphs and tables."""
