"""The application on this machine: its commands, and what runs them."""
