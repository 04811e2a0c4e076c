"""What the ESP adapters cost and withstand: calls for a large push, a storm of faults, attempts to resubscribe."""
