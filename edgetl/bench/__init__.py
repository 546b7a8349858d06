"""The bench: latency measured side by side, cold starts, and the machine they were measured on."""
