"""The commands of `rounds`, one module per reader's want. Heavy rooms are imported inside the command that needs them."""
