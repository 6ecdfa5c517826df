"""What stays when a process ends: the folder, the journal, and how one starts again from them."""
