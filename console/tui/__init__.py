"""The Textual side of the console: widgets, views, dialogs, keys and the terminal's hygiene."""
