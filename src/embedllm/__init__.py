"""EmbedLLM, studied: vectors of LLMs from a table of who answered which question correctly."""

from embedllm.machine import bound_spinning

bound_spinning()  # before numpy and torch load, so before everything else of this package
