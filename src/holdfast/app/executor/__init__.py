"""The one place where an author's function is called: on the loop, in a thread, or in a child process."""
