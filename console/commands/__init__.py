"""Commands about the console itself (themes, keys): they need no fleet and no screen library."""
