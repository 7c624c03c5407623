"""Every other kind of file: DOCX, EPUB, HTML, Markdown and plain text become pieces of a document."""
