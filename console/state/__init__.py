"""What the screen knows: the fleet's state as the console sees it, tables, filters, log rings. No terminal here."""
