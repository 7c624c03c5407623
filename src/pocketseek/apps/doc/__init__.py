"""Documents: reading them, cutting them into chunks, summarising, finding and answering with citations."""
