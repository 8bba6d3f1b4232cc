"""The watch: each extract compared with its feed's own history, before anybody is scored on it."""
