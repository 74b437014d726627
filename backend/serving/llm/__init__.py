"""The llm replica: one process around llama.cpp's own HTTP server."""
