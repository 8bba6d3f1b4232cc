"""The commands of `rounds`, one module per want. Heavy rooms are imported inside the command that needs them."""
