"""Speaking HTTP with a server outside: its address, our tokens, patience, and a breaker that all workers share."""
