"""What looking in the right place is worth: one model, several ways to choose what it sees."""
