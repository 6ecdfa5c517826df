"""Results as projects: put into that of their slides, or made into a new one."""
