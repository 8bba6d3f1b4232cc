"""Who may decide, what was decided, and what is in force. Every decision is an entry of the audit chain."""
