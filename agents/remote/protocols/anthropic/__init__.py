"""What Anthropic speaks: messages, with answers as text or through a tool."""
