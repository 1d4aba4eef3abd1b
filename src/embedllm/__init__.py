"""EmbedLLM, studied: vectors of LLMs from a table of who answered which question correctly."""
